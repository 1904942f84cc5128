"""From TARGET, written `module:queue`, to the TaskQueue it names; where it misses, an error says what was found."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from reinhardt_tasks.cli.failures import place, said, short_path
from reinhardt_tasks.errors import TargetError
from reinhardt_tasks.queue import TaskQueue

_URL_GIVEN = (
    "TARGET is a URL here; write module:queue, such as app:queue. A URL goes into the code, TaskQueue(URL), "
    "or, for commands that only look or operate, into --url"
)


class Found(NamedTuple):
    """A queue, and the whole TARGET that leads to it."""

    queue: TaskQueue
    target: str


def find_queue(target: str, *, imports: Sequence[str] = ()) -> Found:
    """The queue that `target` names, after importing its module, those of `imports` and those of the queue's own.

    `module` alone will do when exactly one TaskQueue is in it. The current directory comes first on the import path.
    Raises TargetError.
    """
    name, attribute = _parts(target)
    _look_in_current_directory()
    module = _imported(name, target)
    if attribute is None:
        attribute = _only_queue(module, target)
    queue = _queue_at(module, attribute, target)
    for other in (*imports, *queue.config.imports):
        _imported(other, target)
    return Found(queue, f"{name}:{attribute}")


def _parts(target: str) -> tuple[str, str | None]:
    """Module and attribute (None when left out) of `target`."""
    if "://" in target:
        raise TargetError(_URL_GIVEN, target=target)
    name, colon, attribute = target.partition(":")
    if name.endswith(".py") or "/" in name or os.sep in name:
        dotted = name.removesuffix(".py").replace(os.sep, "/").strip("./").replace("/", ".")
        better = f"{dotted}{colon}{attribute}"
        raise TargetError(f"TARGET {target} is a path; write the module's name instead: {better}", target=target)
    if not _is_dotted(name) or (colon and not _is_dotted(attribute)):
        raise TargetError(f"TARGET {target!r} is not module:queue, such as app:queue", target=target)
    return name, attribute if colon else None


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _look_in_current_directory() -> None:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _imported(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise _failed(name, target, error) from error
        where = f"in {os.getcwd()} or among the installed packages"  # noqa: PTH109
        raise TargetError(f"there is no module {missing!r} {where} (TARGET {target})", target=target) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, target, error) from error


def _failed(name: str, target: str, error: BaseException) -> TargetError:
    return TargetError(f"importing {name} failed at {place(error)} with {said(error)} (TARGET {target})", target=target)


def queues_in(module: ModuleType) -> dict[str, TaskQueue]:
    """The queues among the module's attributes, by name; one bound to several names counts once."""
    found: dict[int, tuple[str, TaskQueue]] = {}
    for name, value in vars(module).items():
        if isinstance(value, TaskQueue):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _only_queue(module: ModuleType, target: str) -> str:
    """The name of the module's queue, if it has one and only one."""
    queues = queues_in(module)
    if len(queues) == 1:
        return next(iter(queues))
    if queues:
        choices = ", ".join(f"{module.__name__}:{name}" for name in queues)
        raise TargetError(f"{_described(module)} holds several queues; choose one: {choices}", target=target)
    raise TargetError(f"{_described(module)} holds no TaskQueue; make one there: queue = TaskQueue(…)", target=target)


def _queue_at(module: ModuleType, attribute: str, target: str) -> TaskQueue:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{_described(module)} has no {attribute!r}{_instead(module, attribute)}", target=target)
        found = getattr(found, part)
    if isinstance(found, TaskQueue):
        return found
    raise TargetError(f"{target} is {_kind(found)}, not a TaskQueue{_instead(module, attribute)}", target=target)


def _instead(module: ModuleType, attribute: str) -> str:
    """What to write instead: the module's queues, or else the name that looks most like `attribute`."""
    if queues := queues_in(module):
        names = ", ".join(f"{module.__name__}:{name}" for name in queues)
        return f"; the {'queue' if len(queues) == 1 else 'queues'} there: {names}"
    near = difflib.get_close_matches(attribute, vars(module), n=1)
    return f"; the nearest name there is {near[0]!r}" if near and near[0] != attribute else "; no queue is there"


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _described(module: ModuleType) -> str:
    """`module app (app.py)`, so that a namesake from elsewhere is noticed."""
    file = getattr(module, "__file__", None)
    return f"module {module.__name__} ({short_path(file)})" if file else f"module {module.__name__}"
