"""What tasks, queues, schedules and workflows may be called, the name a task has by default, and where it stands."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from reinhardt_tasks.errors import ConfigurationError, ScheduleError

OWN_QUEUE: Final = "reinhardt_tasks"
"""The queue of messages that hold workflows together. Every worker serves it, and no task can be put there."""
_QUEUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TASK: Final = re.compile(r"[A-Za-z0-9_.]{1,200}")
_SCHEDULE: Final = re.compile(r"[A-Za-z0-9_.:@/-]{1,200}")
_LABEL: Final = 200
_PROGRAM: Final = frozenset({"__main__", "__mp_main__"})
"""What Python calls the module it was started with, in a program and in a process spawned by it."""


def check_queue_name(name: object) -> str:
    """`name`, if a queue may be called so: 1 to 128 of `A-Z a-z 0-9 _ . -`. Raises ConfigurationError."""
    if isinstance(name, str) and _QUEUE.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{name!r} is no name for a queue; use 1 to 128 letters, digits, '_', '.' or '-', such as 'mail'",
        setting="queue",
    )


def check_own_queue(name: object) -> str:
    """`name`, if tasks may go to a queue called so. Raises ConfigurationError as well for OWN_QUEUE."""
    if name == OWN_QUEUE:
        raise ConfigurationError(
            f"queue {OWN_QUEUE!r} is for what holds workflows together, and every worker serves it; take another name",
            setting="queue",
        )
    return check_queue_name(name)


def check_task_name(name: object, *, place: str) -> str:
    """`name`, if a task may be called so: 1 to 200 of `A-Z a-z 0-9 _ .`. Raises ConfigurationError naming `place`."""
    if isinstance(name, str) and _TASK.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{name!r} is no name for the task at {place}; give it one of 1 to 200 letters, digits, '_' or '.', "
        "as in @queue.task(name='mail.send')",
        setting="name",
    )


def check_schedule_name(name: object) -> str:
    """`name`, if a schedule may be called so: 1 to 200 of `A-Z a-z 0-9 _ . : @ / -`. Raises ScheduleError."""
    if isinstance(name, str) and _SCHEDULE.fullmatch(name):
        return name
    raise ScheduleError(
        f"{name!r} is no name for a schedule; use 1 to 200 letters, digits, '_', '.', ':', '@', '/' or '-', such as "
        "'report:daily'"
    )


def check_label(name: object, what: str) -> str:
    """`name`, if a workflow or a node of a graph may be called so: 1 to 200 printable characters.

    Raises ConfigurationError, naming `what` it is for.
    """
    if isinstance(name, str) and 1 <= len(name) <= _LABEL and name.isprintable():
        return name
    raise ConfigurationError(
        f"{what}: a name is text of 1 to {_LABEL} printable characters, not {name!a:.80}", setting="name"
    )


def default_name(defined: Callable[..., Any] | type) -> str:
    """`module.qualname` of a function or class, with the name by which another process would import its module.

    What is defined inside a function is named as if it stood beside it, without `<locals>`.
    """
    return f"{module_name(defined.__module__)}.{defined.__qualname__.replace('.<locals>', '')}"


def module_name(name: str) -> str:
    """The importable name of the module called `name`: the real one of `__main__`, where the program has a file."""
    if name not in _PROGRAM:
        return name
    module = sys.modules.get(name) or sys.modules.get("__main__")
    return name if module is None else _program_name(module)


def _program_name(module: ModuleType) -> str:
    """`pkg.app` for `python -m pkg.app`, `app` for `python app.py`, `__main__` for a prompt or a notebook."""
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name not in _PROGRAM:
        return str(spec.name)
    file = getattr(module, "__file__", None)
    return Path(file).stem if file and not file.startswith("<") else "__main__"


def place_of(defined: Callable[..., Any] | type) -> str:
    """Where a function or class is written, as `file:line`; its module's name where no source is known."""
    written = defined.__dict__.get("execute", defined) if isinstance(defined, type) else inspect.unwrap(defined)
    code = getattr(written, "__code__", None)
    if isinstance(code, CodeType):
        return f"{code.co_filename}:{code.co_firstlineno}"
    return str(getattr(defined, "__module__", None) or type(defined).__module__)
