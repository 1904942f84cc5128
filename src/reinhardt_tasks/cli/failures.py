"""How a command that cannot go on ends: one clear sentence for standard error, and an exit code."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

import typer

from reinhardt_tasks.cli.text import one_sentence
from reinhardt_tasks.errors import (
    ConfigurationError,
    ScheduleError,
    ScheduleNotFoundError,
    SerializationError,
    TaskError,
    TaskExecutionError,
    TaskNotFoundError,
)

FAILED: Final = 1
"""Exit code: the command was right, but could not be carried out, or found what it was asked to look for."""
WRONG_INPUT: Final = 2
"""Exit code: an argument, a setting or a definition is wrong; repeating the command changes nothing."""
INTERRUPTED: Final = 130
"""Exit code: Ctrl-C."""


class InputError(TaskError):
    """What was typed cannot be meant."""


_WRONG_INPUT = (InputError, ConfigurationError, SerializationError, ScheduleError, TaskNotFoundError)


def exit_code(error: Exception) -> int:
    """2 for what the caller must change, 1 for everything else."""
    if isinstance(error, typer.TyperException):
        return error.exit_code
    wrong = isinstance(error, _WRONG_INPUT) and not isinstance(error, TaskExecutionError | ScheduleNotFoundError)
    return WRONG_INPUT if wrong else FAILED


def sentence(error: Exception) -> str:
    """What happened, on one line, without passwords. A bug of this package also tells its place."""
    if isinstance(error, typer.TyperException):
        return one_sentence(_of_the_command_line(error))
    if isinstance(error, TaskError):
        return one_sentence(str(error))
    if isinstance(error, FileNotFoundError) and error.filename is None:  # what os.getcwd() raises
        return "the current directory does not exist any more; change to one that does."
    if isinstance(error, OSError) and error.strerror:
        return one_sentence(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return one_sentence(f"{said(error)} (unexpected, at {place(error)})")


def _of_the_command_line(error: typer.TyperException) -> str:
    """The complaint, and the help page that says what is right."""
    context = getattr(error, "ctx", None)
    hint = f" See: {context.command_path} --help" if context is not None else ""
    return f"{one_sentence(error.format_message(), limit=1_500)}{hint}"


def said(error: BaseException) -> str:
    """The error's class and its text: `ValueError: too small`."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> str:
    """File and line where `error` was raised; of a syntax error, where the mistake stands."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short_path(error.filename)}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{short_path(frames[-1].filename)}:{frames[-1].lineno}" if frames else "an unknown place"


def short_path(path: str) -> str:
    """`path` from the current directory on, where it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path
