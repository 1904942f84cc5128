"""Where output goes: results to standard output, remarks and errors to standard error; nothing is read as markup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

from reinhardt_tasks.cli.documents import as_json
from reinhardt_tasks.cli.text import visible

_PIPE_WIDTH = 200
"""Columns of a table that no terminal shows, unless COLUMNS is set: cutting would lose what a script looks for."""


def console() -> Console:
    """A console on what is standard output now."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(markup=False, highlight=False, emoji=False, width=_PIPE_WIDTH if piped else None)


def error_console() -> Console:
    """A console on what is standard error now."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_text(value: RenderableType) -> None:
    """Print text, never cut; a plain string is made harmless first."""
    shown = Text(visible(value, keep_lines=True)) if isinstance(value, str) else value
    console().print(shown, soft_wrap=isinstance(shown, Text))


def print_wide(value: RenderableType) -> None:
    """Print a table; where no terminal shows it, without the blanks that fill its lines."""
    screen = console()
    if screen.is_terminal:
        screen.print(value)
        return
    with screen.capture() as captured:
        screen.print(value)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_lines(lines: Iterable[Text]) -> None:
    """Print lines as they are; who makes them has fitted them to the width of `console()`."""
    console().print(Text("\n").join(lines), soft_wrap=True)


def print_json(document: object) -> None:
    """Print one JSON document, whatever the terminal."""
    sys.stdout.write(as_json(document) + "\n")


def print_error(remark: str) -> None:
    """Print one line for the person at the terminal, beside the result."""
    error_console().print(Text(visible(remark)))
