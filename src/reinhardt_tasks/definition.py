"""What is fixed when a task is registered: its options, its code, its wire forms, and the queue it will belong to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar, get_args

import msgspec

from reinhardt_tasks.codec import ArgumentsCodec, Limits, Seal, ValueCodec
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.executor import runner_of
from reinhardt_tasks.handle import Place, TaskHandle
from reinhardt_tasks.lifespan import providers_in
from reinhardt_tasks.message import Message
from reinhardt_tasks.names import check_own_queue, place_of
from reinhardt_tasks.options import Call
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.status import TaskPriority

R = TypeVar("R")
MAX_FILLED: Final = 64 << 20
"""Bytes that a call may have at most once the results of other messages are filled in."""
RunsIn = Literal["auto", "loop", "thread", "process"]
"""Where a task runs: "auto" is the worker's loop for an async function, a thread for a plain one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What the decorator says about every message of a task.

    `queue` None is the queue's own name, `retry` None its `max_retries`, `result_ttl` None its own; `timeout` None is
    no time limit (seconds). `unique` makes a message unique by its arguments (True), or by the key that a function
    makes of them. Raises ConfigurationError naming an option that cannot work.
    """

    queue: str | None = None
    priority: int = 5
    retry: RetryStrategy | None = None
    timeout: float | None = None
    runs_in: RunsIn = "auto"
    unique: bool | Callable[..., str] = False
    result_ttl: float | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_own_queue(self.queue)
        for setting, check in _CHECKS.items():
            try:
                object.__setattr__(self, setting, check(getattr(self, setting)))
            except ValueError as error:
                raise ConfigurationError(f"option {setting} of the task: {error}", setting=setting) from None


def _retry(value: object) -> object:
    if value is None or isinstance(value, RetryStrategy):
        return value
    raise ValueError(f"a RetryStrategy or None, not {value!r}")


def _runs_in(value: object) -> object:
    if value in get_args(RunsIn):
        return value
    raise ValueError(f"one of {', '.join(get_args(RunsIn))}, not {value!r}")


def _unique(value: object) -> object:
    if isinstance(value, bool) or callable(value):
        return value
    raise ValueError(f"True, False or a function that makes a key of the arguments, not {value!r}")


_CHECKS: Final[Mapping[str, Callable[[Any], object]]] = {
    "priority": lambda value: int(TaskPriority(value)),  # a plain int, which the wire format takes
    "retry": _retry,
    "runs_in": _runs_in,
    "unique": _unique,
}


class Door(Place, Protocol):
    """What a task needs of the queue it belongs to."""

    @property
    def seal(self) -> Seal:
        """Closes envelopes."""

    @property
    def config(self) -> QueueConfig:
        """The queue's settings; another object once they have changed."""

    async def send(self, message: Message[R], returns: ValueCodec, call: Call) -> TaskHandle[R]:
        """Store the message and return its handle."""


class Home:
    """The queue that the tasks of one registry belong to, once there is one."""

    __slots__ = ("door",)

    def __init__(self) -> None:
        self.door: Door | None = None


class Codecs(msgspec.Struct, frozen=True):
    """The wire forms of one task's arguments and result, under one set of limits."""

    limits: Limits
    arguments: ArgumentsCodec
    returns: ValueCodec


class Definition:
    """What all copies of one task share: its name, its code and its wire forms.

    `defined` is what was decorated, `function` what runs: they differ for a class, whose fields are the arguments.
    Raises ConfigurationError for a type that cannot travel.
    """

    __slots__ = (
        "codecs",
        "defined",
        "function",
        "home",
        "is_async",
        "name",
        "options",
        "place",
        "providers",
        "signature",
        "wide",
    )

    def __init__(self, defined: Callable[..., Any], *, name: str, options: TaskOptions, home: Home) -> None:
        self.defined = defined
        self.function = runner_of(defined) if isinstance(defined, type) else defined
        self.name = name
        self.options = options
        self.home = home
        self.place = place_of(defined)
        self.is_async = inspect.iscoroutinefunction(self.function)
        self.signature = inspect.signature(defined)
        self.providers = providers_in(self.signature.parameters)
        self.codecs = self._codecs(Limits())
        self.wide: Codecs | None = None

    def _codecs(self, limits: Limits) -> Codecs:
        arguments = ArgumentsCodec(self.defined, task_name=self.name, skip=self.providers.keys(), limits=limits)
        returns = ValueCodec(arguments.result_type, name=self.name, where="the result", limits=limits)
        return Codecs(limits, arguments, returns)

    def codecs_now(self) -> Codecs:
        """The codecs under the limits of the queue."""
        if self.home.door is not None and self.home.door.config.max_size != self.codecs.limits.max_size:
            self.codecs = self._codecs(Limits(max_size=self.home.door.config.max_size))
        return self.codecs

    def arguments_for(self, size: int) -> ArgumentsCodec:
        """The codec of calls of `size` bytes: with results filled in, one may be larger than may be enqueued."""
        narrow = self.codecs_now()
        if size <= narrow.limits.max_size:
            return narrow.arguments
        if self.wide is None:
            self.wide = self._codecs(Limits(max_size=MAX_FILLED))
        return self.wide.arguments

    def door(self) -> Door:
        """The queue the task belongs to. Raises QueueError when no queue includes its registry yet."""
        if self.home.door is None:
            raise QueueError(
                f"task {self.name} belongs to a TaskRegistry that no queue includes; call queue.include(registry) first"
            )
        return self.home.door

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """A call by the names of its parameters, defaults written out, without what providers give."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name in self.providers:
            del bound.arguments[name]
        return bound
