"""Tasks and schedules under their names: `TaskRegistry`, whose decorators make them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from reinhardt_tasks.catalogue import Catalogue, Scheduled
from reinhardt_tasks.definition import Definition, RunsIn, TaskOptions
from reinhardt_tasks.errors import ConfigurationError, ScheduleError
from reinhardt_tasks.executor import TaskExecutor, check_executor
from reinhardt_tasks.lifespan import Provider
from reinhardt_tasks.names import check_schedule_name, check_task_name, default_name, place_of
from reinhardt_tasks.options import EnqueueOptions, optional_seconds
from reinhardt_tasks.retry import RetryStrategy, Seconds
from reinhardt_tasks.schedule import Missed, Overlap, Policy, Schedule
from reinhardt_tasks.task import AsyncTask, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E", bound=TaskExecutor)
D = TypeVar("D", bound=Task[..., Any] | type[TaskExecutor])


class TaskDecorator(Protocol):
    """What `@registry.task(…)` is before it has its function or class."""

    @overload
    def __call__(self, defined: type[E], /) -> type[E]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, defined: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, defined: Callable[P, R], /) -> SyncTask[P, R]: ...
    def __call__(self, defined: Any, /) -> Any:
        """Register it."""


class TaskRegistry:
    """A set of tasks that a TaskQueue can include, for modules that do not know the queue they will belong to."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        """The tables behind this registry."""

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The tasks by name; read only."""
        return MappingProxyType(self.catalogue.tasks)

    @property
    def providers(self) -> tuple[Provider[Any], ...]:
        """The lifespan providers, in the order they are opened."""
        return tuple(self.catalogue.providers)

    def find(self, name: str) -> Task[Any, Any] | None:
        """The task called `name`, None if there is none here."""
        return self.catalogue.tasks.get(name)

    # A class and a coroutine function are callables too, so the narrower signatures come first.
    @overload
    def task(self, defined: type[E], /) -> type[E]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, defined: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, defined: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        defined: None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 5,
        retry: RetryStrategy | None = None,
        timeout: Seconds | None = None,
        runs_in: RunsIn = "auto",
        unique: bool | Callable[..., str] = False,
        result_ttl: Seconds | None = None,
    ) -> TaskDecorator: ...
    def task(
        self,
        defined: Any = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int = 5,
        retry: RetryStrategy | None = None,
        timeout: Seconds | None = None,
        runs_in: RunsIn = "auto",
        unique: bool | Callable[..., str] = False,
        result_ttl: Seconds | None = None,
    ) -> Any:
        """Register a function, or a TaskExecutor class, as a task; bare, or with options (see TaskOptions).

        A function becomes a Task; a class stays as it is. `name` is `module.qualname` unless given. Raises
        ConfigurationError for what cannot be a task (a method, a generator, a second one of the same name, a type
        that cannot travel), saying where it stands.
        """
        options = TaskOptions(
            queue=queue,
            priority=priority,
            retry=retry,
            timeout=optional_seconds(timeout, "timeout"),
            runs_in=runs_in,
            unique=unique,
            result_ttl=optional_seconds(result_ttl, "result_ttl", zero=True),
        )

        def register(defined: Any) -> Any:
            return self._register(defined, name, options)

        return register if defined is None else register(defined)

    def lifespan(self, function: Callable[[], AsyncIterator[T]], /) -> Provider[T]:
        """Make a provider of an async generator function; a worker enters it once, tasks take it by `Depends`."""
        provider = Provider(function)
        self.catalogue.add_provider(provider)
        return provider

    @property
    def schedules(self) -> Mapping[str, Scheduled]:
        """The schedules in the code, by name; read only."""
        return MappingProxyType(self.catalogue.schedules)

    def schedule(
        self,
        when: Schedule,
        /,
        *,
        name: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        missed: Missed = "once",
        max_missed: int = 100,
        overlap: Overlap = "allow",
        jitter: Seconds = 0.0,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Callable[[D], D]:
        """Have a task enqueued by a schedule; stands above `@task`. See Policy for `missed` and what follows it.

        `name` is the task's unless given, and has to be given for a second schedule of the task. `kwargs` are the
        arguments of each call; `queue` and `priority` stand in for the task's own. Wherever a scheduler runs with
        this code (each worker has one), the schedule is kept. Raises ConfigurationError and ScheduleError, and
        ArgumentError for arguments that do not fit.
        """
        policy = Policy(missed=missed, max_missed=max_missed, overlap=overlap, jitter=jitter, start=start, end=end)
        if isinstance(when, type) or not isinstance(when, Schedule):
            raise ScheduleError(
                f"a schedule is a CronSchedule, an IntervalSchedule, a OnceSchedule or has next_after(), not {when!r}"
            )
        options = EnqueueOptions()
        if queue is not None:
            options["queue"] = queue
        if priority is not None:
            options["priority"] = priority

        def keep(defined: D) -> D:
            task = self._scheduled_task(defined)
            arguments = dict(kwargs or {})
            task.arguments.encode((), arguments)
            chosen = check_schedule_name(task.name if name is None else name)
            kept = Scheduled(name=chosen, when=when, policy=policy, task=task.using(**options), arguments=arguments)
            self.catalogue.add_schedule(kept)
            return defined

        return keep

    def _scheduled_task(self, defined: object) -> Task[..., Any]:
        """The task that stands under @schedule. Raises ConfigurationError when it is none of this registry."""
        task = self.catalogue.executors.get(defined) if isinstance(defined, type) else defined
        if isinstance(task, Task) and task.name in self.catalogue.tasks:
            return task
        raise ConfigurationError(
            f"{defined!r} is no task of this registry; @queue.schedule(…) stands above @queue.task", setting="schedule"
        )

    def _register(self, defined: Any, name: str | None, options: TaskOptions) -> Any:
        _check_definition(defined)
        place = place_of(defined)
        checked_name = check_task_name(default_name(defined) if name is None else name, place=place)
        self.catalogue.check_free(checked_name, place)
        definition = Definition(defined, name=checked_name, options=options, home=self.catalogue)
        task: Task[Any, Any] = AsyncTask(definition) if definition.is_async else SyncTask(definition)
        executor = defined if isinstance(defined, type) else None
        self.catalogue.add(task, executor)
        return task if executor is None else executor


def _check_definition(defined: Any) -> None:
    """Raise ConfigurationError unless `defined` can be a task."""
    if isinstance(defined, type):
        check_executor(defined)
        return
    wrong = _what_is_wrong(defined)
    if wrong is not None:
        shown = getattr(defined, "__qualname__", None) or repr(defined)
        raise ConfigurationError(f"{shown} at {place_of(defined)} cannot be a task: {wrong}", setting="task")


def _what_is_wrong(defined: Any) -> str | None:
    if isinstance(defined, Task):
        return f"it is the task {defined.name} already; decorate it once, and use queue.include to share a registry"
    if isinstance(defined, staticmethod | classmethod):
        return "put @staticmethod above @queue.task; a classmethod cannot be one"
    if not callable(defined) or not hasattr(defined, "__qualname__"):
        return "it is no function and no TaskExecutor class; write a function that calls it"
    if inspect.isgeneratorfunction(defined) or inspect.isasyncgenfunction(defined):
        return "it is a generator, whose values would go nowhere; return a list, or enqueue a message for each value"
    if inspect.ismethod(defined) or _takes_self(defined):
        return "it is a method, whose object would stay behind; use a plain function, or a TaskExecutor with fields"
    return None


def _takes_self(function: Callable[..., Any]) -> bool:
    """Whether a function stands in a class and takes its instance or class first."""
    outside = function.__qualname__.rpartition(".")[0]
    in_class = bool(outside) and not outside.endswith("<locals>")
    return in_class and next(iter(inspect.signature(function).parameters), None) in ("self", "cls")
