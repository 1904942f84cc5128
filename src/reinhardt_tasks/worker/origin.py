"""Where a task is defined, and how a child process, which starts from nothing, gets at the same task.

Names to import come from the worker's own tasks and its TARGET, never from a message.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing.spawn
import sys
import traceback
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.task import Task
from reinhardt_tasks.worker.frames import Origin, Setup

_PROGRAM: Final = "__main__"
_importing_program: ContextVar[bool] = ContextVar("reinhardt_tasks.importing_program", default=False)


def origin_of(task: Task[Any, Any]) -> Origin:
    """Where `task` is defined in this process."""
    return Origin(task.defined.__module__, task.defined.__qualname__, task.name)


def setup_for(target: str | None) -> Setup:
    """What a child needs to know of this process, to import what is imported here."""
    program = sys.modules[_PROGRAM]
    spec = getattr(program, "__spec__", None)
    name, path = (spec.name, "") if spec is not None else ("", getattr(program, "__file__", None) or "")
    return Setup(sys.argv, name, path, target, logging.getLogger().getEffectiveLevel())


def refuse_unguarded_program() -> None:
    """Raise ConfigurationError in a child that is importing the program it came from: no worker may start there."""
    if _importing_program.get():
        raise ConfigurationError(
            "the program starts a worker whenever it is imported, also in the processes of that worker; put what "
            "starts it under `if __name__ == '__main__':`"
        )


class Finder:
    """Finds tasks in a child process: by the name they have in the queue at TARGET, else where they are defined."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._queue: TaskRegistry | None = None
        self._imported_program = False
        self._found: dict[Origin, Task[Any, Any]] = {}

    def find(self, origin: Origin) -> Task[Any, Any]:
        """The task defined at `origin`. Raises ConfigurationError, saying what failed, when it cannot be had here."""
        task = self._found.get(origin)
        if task is None:
            task = self._found[origin] = self._look_for(origin)
        return task

    def _look_for(self, origin: Origin) -> Task[Any, Any]:
        queue = self._target_queue()
        task = None if queue is None else queue.find(origin.name)
        if task is None:
            task = _task_in(self._module(origin.module), origin, queue)
        if task is not None:
            return task
        raise ConfigurationError(
            f"task {origin.name} cannot run in a process of its own: it is not found again in module {origin.module} "
            f"as {origin.path!r}, nor in a queue or registry there. Define it at the top of a module, or start the "
            "worker with TARGET, the queue's module:attribute"
        )

    def _target_queue(self) -> TaskRegistry | None:
        """The queue at TARGET; None when the worker was started without one."""
        if self._queue is None and self._setup.target is not None:
            module, _, path = self._setup.target.partition(":")
            found = _attribute(self._module(module), path)
            if not isinstance(found, TaskRegistry):
                raise ConfigurationError(f"{self._setup.target} is no queue in a process of the worker, but {found!r}")
            self._queue = found
        return self._queue

    def _module(self, name: str) -> ModuleType:
        """The module, imported now if need be. What it raises is told with its traceback: nobody sees it otherwise."""
        try:
            return self._program() if name == _PROGRAM else importlib.import_module(name)
        except BaseException as error:
            text = traceback.format_exc()
            raise ConfigurationError(f"importing {name} in a process of the worker failed: {text}") from error

    def _program(self) -> ModuleType:
        """The module that the worker's process was started with, imported as `__mp_main__`."""
        setup = self._setup
        main = {"init_main_from_name": setup.main_name} if setup.main_name else {"init_main_from_path": setup.main_path}
        if not self._imported_program and any(main.values()):
            token = _importing_program.set(True)
            try:
                multiprocessing.spawn.prepare(main)
            finally:
                _importing_program.reset(token)
            self._imported_program = True
        return sys.modules[_PROGRAM]


def _task_in(module: ModuleType, origin: Origin, queue: TaskRegistry | None) -> Task[Any, Any] | None:
    """The task in the module where it was defined: at its path, else in a queue or registry there."""
    found = _attribute(module, origin.path)
    if isinstance(found, Task):
        return found
    registries = [value for value in vars(module).values() if isinstance(value, TaskRegistry)]
    asked = registries if queue is None else [queue, *registries]
    return next((task for registry in asked if (task := registry.find(origin.name)) is not None), None)


def _attribute(module: ModuleType, path: str) -> object:
    """What stands at the dotted `path` in the module; None when nothing does."""
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
