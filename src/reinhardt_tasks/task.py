"""A registered function or class, ready to be called here or enqueued: `Task`, `AsyncTask`, `SyncTask`."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, cast

from reinhardt_tasks.codec import ArgumentsCodec, ValueCodec
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.definition import Definition, TaskOptions
from reinhardt_tasks.errors import ArgumentError, OptionError, SerializationError
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import AnyId, TaskId
from reinhardt_tasks.lifespan import Provider
from reinhardt_tasks.message import Envelope, Message, encode_envelope
from reinhardt_tasks.options import PLAIN, Call, EnqueueOptions, check_key, checked
from reinhardt_tasks.step import Step
from reinhardt_tasks.sync import blocking

P = ParamSpec("P")
Q = ParamSpec("Q")
A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Plan:
    """All that is the same in every message of one task with one set of options, worked out once."""

    __slots__ = ("config", "encode", "envelope", "key", "message", "seal")

    def __init__(self, definition: Definition, call: Call) -> None:
        door, options = definition.door(), definition.options
        codecs = definition.codecs_now()
        self.config = door.config
        self.seal = door.seal.close
        self.encode = codecs.arguments.encode
        queue = call.queue or options.queue or self.config.name
        priority = options.priority if call.priority is None else call.priority
        self.envelope: dict[str, Any] = {"p": priority, "t": call.timeout, "h": call.headers}
        self.message: dict[str, Any] = {
            "name": definition.name,
            "queue": queue,
            "priority": priority,
            "delay": call.delay,
            "run_at": call.run_at,
            "unique_for": call.unique_for,
            "result_ttl": self.config.result_ttl if options.result_ttl is None else options.result_ttl,
            "max_losses": self.config.max_losses,
            "returns": codecs.arguments.result_type,
        }
        self.key = _key_maker(definition, call)

    def made(self, encoded: bytes, key: str | None) -> Message[Any]:
        """A message with these arguments, under a fresh id."""
        id = TaskId.new()
        fields = self.message
        envelope = Envelope(bytes(id), fields["name"], fields["queue"], encoded, **self.envelope)
        return Message(id=id, body=self.seal(encode_envelope(envelope)), unique_key=key, **fields)


KeyMaker = Callable[[bytes, tuple[Any, ...], Mapping[str, Any]], str]
"""(encoded arguments, args, kwargs) → the unique key."""


def _key_maker(definition: Definition, call: Call) -> KeyMaker | None:
    """How messages get their unique key; None when they have none. The backend keeps the keys of tasks apart."""
    unique, given = definition.options.unique, call.unique_key
    if given is not None:
        return lambda *_: given
    if callable(unique):
        return lambda _, args, kwargs: _made_key(definition, unique, args, kwargs)
    if unique:
        return lambda encoded, args, kwargs: _arguments_key(definition, encoded, args, kwargs)
    return None


def _made_key(
    definition: Definition, make: Callable[..., str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str:
    if isinstance(definition.defined, type):
        args, kwargs = (definition.defined(**kwargs),), {}
    try:
        return check_key(make(*args, **kwargs))
    except OptionError as error:
        raise OptionError(f"task {definition.name}: its `unique` function: {error}", setting="unique") from None


def _arguments_key(definition: Definition, encoded: bytes, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The hash of the encoded arguments, those left out included, so that it does not matter how a call is written."""
    whole = definition.bound(args, kwargs)
    with contextlib.suppress(SerializationError):  # a default that is not of its annotation counts as left out
        encoded = definition.codecs.arguments.encode(whole.args, whole.kwargs)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


class TakesFirst(Protocol[A_contra, Q, R_co]):
    """A task that takes a first parameter, of type `A_contra`.

    Said by its `message`, as mypy does not look into the parameters of a generic class for the first of them.
    """

    def message(self, first: A_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> Message[R_co]:
        """See Task."""


class Task(Generic[P, R]):
    """A function under a name, with its options. Made by `@queue.task`; calling it runs the function here, unqueued."""

    def __init__(self, definition: Definition, call: Call = PLAIN) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), definition.defined, updated=())
        self._definition = definition
        self._call = call
        self._plan: Plan | None = None
        self.name: str = definition.name
        self.defined: Callable[..., Any] = definition.defined
        """What was decorated: the function, or a class whose fields are the arguments."""
        self.function: Callable[..., Any] = definition.function
        self.options: TaskOptions = definition.options
        self.is_async: bool = definition.is_async
        self.providers: Mapping[str, Provider[Any]] = definition.providers
        self.place: str = definition.place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def queue(self) -> str:
        """The queue its messages go to."""
        door = self._definition.home.door
        return self._call.queue or self.options.queue or (QueueConfig() if door is None else door.config).name

    @property
    def priority(self) -> int:
        """How urgent its messages are: 0 to 9, 9 first."""
        return self.options.priority if self._call.priority is None else self._call.priority

    @property
    def arguments(self) -> ArgumentsCodec:
        """The wire form of its arguments."""
        return self._definition.codecs_now().arguments

    def arguments_for(self, size: int) -> ArgumentsCodec:
        """The wire form of its arguments where they have `size` bytes, as results that are filled in may have."""
        return self._definition.arguments_for(size)

    @property
    def returns(self) -> ValueCodec:
        """The wire form of its result."""
        return self._definition.codecs_now().returns

    def using(self, **options: Unpack[EnqueueOptions]) -> Self:
        """The same task with other options for what is enqueued through it; see EnqueueOptions. Raises OptionError."""
        call = checked(options, onto=self._call)
        if call.unique_for is not None and call.unique_key is None and not self.options.unique:
            raise OptionError("unique_for needs a unique_key, or a task with `unique`", setting="unique_for")
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._call, copy._plan = call, None
        return copy

    def message(self, /, *args: P.args, **kwargs: P.kwargs) -> Message[R]:
        """One call as a value that can be enqueued later, alone or among many.

        Raises ArgumentError and other SerializationErrors for a call that does not fit or cannot travel, OptionError
        where `using` was given what concerns the sending alone, QueueError while the task belongs to no queue.
        """
        self._refuse_about_sending()
        return self._message(args, kwargs)

    def step(self: TakesFirst[A, Q, R], /, *args: Q.args, **kwargs: Q.kwargs) -> Step[A, R]:
        """One call less its first parameter, for a workflow: the result of the step before fills that.

        Raises what `message` raises, ConfigurationError for a task without a first parameter, and OptionError for one
        that is unique by its arguments, as these are not known yet.
        """
        task = cast("Task[Any, R]", self)
        return task.part((task.arguments.require_first(),), args, kwargs)

    def part(self, missing: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step[Any, R]:
        """One call less the parameters `missing`, which results of other messages will fill. Raises as `step`."""
        self._refuse_about_sending()
        plan = self._plan_now()
        if plan.key is not None and self._call.unique_key is None:
            raise OptionError(
                f"task {self.name} is unique by its arguments, and those of a step are known only once the one before "
                "it has ended; give the step a key of its own: task.using(unique_key=…)",
                setting="unique_key",
            )
        arguments = self._definition.codecs.arguments
        message = plan.made(arguments.encode_without(missing, args, kwargs), self._call.unique_key)
        return Step(message=message, takes={name: arguments.types[name] for name in missing})

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Store one call for a worker to run. Once this returns it is safe with the backend.

        Raises what `message` raises, DuplicateTaskError if so asked, UnsupportedError for an option that the backend
        cannot honour, and BackendError. After a BackendUnavailableError it is not known whether the call is stored; to
        be able to send the same again, make it with `message` and give that to `queue.enqueue`.
        """
        message = self._message(args, kwargs)
        return await self._definition.door().send(message, self._definition.codecs.returns, self._call)

    def enqueue_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """`enqueue` for code without an event loop; inside one it raises QueueError."""
        return blocking(
            lambda: self.enqueue(*args, **kwargs), instead=f"await {self.name.rpartition('.')[2]}.enqueue(…)"
        )

    def handle(self, id: AnyId) -> TaskHandle[R]:
        """The handle of a message of this task by its id. Raises ValueError for what is no id."""
        return TaskHandle(self._definition.door(), TaskId.parse(id), self.returns)

    def _message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message[R]:
        plan = self._plan_now()
        encoded = plan.encode(args, kwargs)
        return plan.made(encoded, plan.key(encoded, args, kwargs) if plan.key is not None else None)

    def _plan_now(self) -> Plan:
        """The plan under the queue's settings of now."""
        definition, plan = self._definition, self._plan
        if plan is None or definition.home.door is None or plan.config is not definition.home.door.config:
            plan = self._plan = Plan(definition, self._call)
        return plan

    def _refuse_about_sending(self) -> None:
        extra = self._call.about_sending
        if extra is not None:
            raise OptionError(
                f"{extra} is no part of a message; pass it as the message is sent: queue.enqueue(message, {extra}=…)",
                setting=extra,
            )

    def _refuse_missing_values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A call here, outside a worker, has to bring what providers would give."""
        given = self._definition.signature.bind_partial(*args, **kwargs).arguments
        missing = [name for name in self.providers if name not in given]
        if missing:
            raise ArgumentError(
                f"Task {self.name}: parameter {missing[0]!r} is given by its provider "
                f"{self.providers[missing[0]].name} in a worker only. Pass {missing[0]}=… when you call it yourself.",
                name=self.name,
                where=f"parameter {missing[0]!r}",
            )


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function; workers run it on their event loop."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now; nothing is enqueued."""
        if self.providers:
            self._refuse_missing_values(args, kwargs)
        return await cast("Awaitable[R]", self.function(*args, **kwargs))


class SyncTask(Task[P, R]):
    """A task whose function is a plain one; workers run it in threads."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now; nothing is enqueued."""
        if self.providers:
            self._refuse_missing_values(args, kwargs)
        return cast("R", self.function(*args, **kwargs))
