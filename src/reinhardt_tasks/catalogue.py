"""What is registered, by name: the tables behind a registry, and how one catalogue includes another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reinhardt_tasks.definition import Home
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.lifespan import Provider
from reinhardt_tasks.task import Task


class Catalogue(Home):
    """Tasks by name and by class, and providers in order. `door` is the queue they belong to, once there is one.

    What is added to a catalogue that another one includes is added there as well.
    """

    __slots__ = ("executors", "owner", "providers", "tasks")

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.executors: dict[type, Task[Any, Any]] = {}
        self.providers: list[Provider[Any]] = []
        self.owner: Catalogue | None = None

    def check_free(self, name: str, place: str) -> None:
        """Raise ConfigurationError when a task is called `name` already, naming where both stand."""
        for catalogue in self._with_owner():
            if name in catalogue.tasks:
                raise _taken(name, catalogue.tasks[name].place, place)

    def add(self, task: Task[Any, Any], executor: type | None) -> None:
        """Enter a task whose name is free, under its class as well if it has one."""
        for catalogue in self._with_owner():
            catalogue.tasks[task.name] = task
            if executor is not None:
                catalogue.executors[executor] = task

    def add_provider(self, provider: Provider[Any]) -> None:
        """Enter a provider, to be opened after those before it."""
        for catalogue in self._with_owner():
            catalogue.providers.append(provider)

    def include(self, other: Catalogue) -> None:
        """Take in `other`, which belongs here from now on. Raises ConfigurationError, nothing done."""
        if other.owner is self:
            return
        if other.door is not None:
            raise ConfigurationError(
                "a registry belongs to one queue, as its tasks must know where to send their messages; make one "
                "TaskQueue, include the registry there, and give it its URL by `configure`",
                setting="include",
            )
        for name, task in other.tasks.items():
            self.check_free(name, task.place)
        self.tasks |= other.tasks
        self.executors |= other.executors
        self.providers += other.providers
        other.owner, other.door = self, self.door

    def _with_owner(self) -> Iterator[Catalogue]:
        yield self
        if self.owner is not None:
            yield self.owner


def _taken(name: str, here: str, there: str) -> ConfigurationError:
    if here == there:
        why = (
            "it is registered twice, or its module is loaded twice, as a program and by import; register it once, and "
            "start the program as `python -m` with the imported name"
        )
    else:
        why = "give one of them another name, as in @queue.task(name='…')"
    return ConfigurationError(f"two tasks are called {name}, at {here} and at {there}: {why}", setting="name")
