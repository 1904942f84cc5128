"""What is registered, by name: the tables behind a registry, and how one catalogue includes another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reinhardt_tasks.definition import Home
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.lifespan import Provider
from reinhardt_tasks.message import Message
from reinhardt_tasks.schedule import Policy, Schedule
from reinhardt_tasks.task import Task


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is due by a schedule in the code, with the arguments it is then given."""

    name: str
    when: Schedule
    policy: Policy
    task: Task[..., Any]
    arguments: Mapping[str, Any]

    def message(self) -> Message[Any]:
        """The call as a message; each firing is one like it."""
        return self.task.message(**self.arguments)


class Catalogue(Home):
    """Tasks by name and by class, schedules by name, providers in order. `door` is the queue they belong to, if any.

    What is added to a catalogue that another one includes is added there as well.
    """

    __slots__ = ("executors", "owner", "providers", "schedules", "tasks")

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.executors: dict[type, Task[Any, Any]] = {}
        self.providers: list[Provider[Any]] = []
        self.schedules: dict[str, Scheduled] = {}
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

    def add_schedule(self, scheduled: Scheduled) -> None:
        """Enter a schedule. Raises ConfigurationError when its name is taken, naming where both stand."""
        for catalogue in self._with_owner():
            catalogue.check_schedule_free(scheduled)
        for catalogue in self._with_owner():
            catalogue.schedules[scheduled.name] = scheduled

    def check_schedule_free(self, scheduled: Scheduled) -> None:
        """Raise ConfigurationError when a schedule of this name is here already."""
        other = self.schedules.get(scheduled.name)
        if other is not None:
            raise ConfigurationError(
                f"two schedules are called {scheduled.name}, of the tasks at {other.task.place} and at "
                f"{scheduled.task.place}: give one of them another name, as in @queue.schedule(…, name='…')",
                setting="name",
            )

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
        for scheduled in other.schedules.values():
            self.check_schedule_free(scheduled)
        self.schedules |= other.schedules
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
