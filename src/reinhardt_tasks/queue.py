"""The application's door to one backend: `TaskQueue`."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, overload

from reinhardt_tasks.codec import Limits, Seal, ValueCodec
from reinhardt_tasks.config import QueueConfig, url_from, with_environment
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import ConfigurationError, DuplicateTaskError, OptionError, QueueError
from reinhardt_tasks.executor import Executable, TaskExecutor, payload_of
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import AnyId, TaskId
from reinhardt_tasks.items import each_of, revised, unsendable
from reinhardt_tasks.lifespan import Lifespans
from reinhardt_tasks.message import AnyMessage, Guard, Message, Put
from reinhardt_tasks.middleware import Middleware
from reinhardt_tasks.names import place_of
from reinhardt_tasks.options import Call, EnqueueOptions, checked, own_connection
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.route import Route
from reinhardt_tasks.sync import blocking
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow import Workflow, WorkflowHandle
from reinhardt_tasks.workflow.plan import planned
from reinhardt_tasks.workflow.sending import send as send_workflow

R = TypeVar("R")
T = TypeVar("T")
_NOT_CONFIGURED: Final = "(no URL yet)"
_ABOUT_SENDING: Final = frozenset({"connection", "on_duplicate"})
"""Options that change nothing in the message."""


class TaskQueue(TaskRegistry):
    """An application's tasks, and its door to where their messages live.

    `url` names the backend (or is one); without it the environment's REINHARDT_TASKS_URL is read at first use, unless
    `configure` was called. Connections open by themselves at first use, one per event loop, and close with their loop;
    `async with queue:` opens and closes them at moments of your choosing.

    Raises ConfigurationError for a URL that leads nowhere.
    """

    def __init__(
        self,
        url: str | TaskBackend | None = None,
        config: QueueConfig | None = None,
        *,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        super().__init__()
        self.middleware = _checked(middleware)
        self._given = QueueConfig() if config is None else _settings(config)
        self._config: QueueConfig | None = None
        self._seal: Seal | None = None
        self._plain: ValueCodec | None = None
        self._route = None if url is None else Route(url, self)
        self._used = False
        self.catalogue.door = self

    def __repr__(self) -> str:
        return f"<TaskQueue {_NOT_CONFIGURED if self._route is None else self._route.url}>"

    # Settings -----------------------------------------------------------------------------------------------------

    @property
    def config(self) -> QueueConfig:
        """The settings, with keys from the environment where the program gives none."""
        if self._config is None:
            self._config = with_environment(self._given)
        return self._config

    @property
    def seal(self) -> Seal:
        """Signs and encrypts by the settings' keys."""
        if self._seal is None:
            self._seal = Seal(self.config.secret_keys, self.config.encryption_keys)
        return self._seal

    @property
    def url(self) -> str:
        """The backend's URL, its password as `***`. Raises ConfigurationError when there is none."""
        return self._to().url

    def configure(self, url: str | TaskBackend, config: QueueConfig | None = None) -> None:
        """Give the queue its backend, and settings where `config` is not None, in place of those it was made with.

        Raises QueueError once the queue is in use, as its messages would be in two places, and ConfigurationError.
        """
        if self._used:
            raise QueueError(
                "the queue is in use already; configure it before the first message is sent or a worker starts"
            )
        given = self._given if config is None else _settings(config)
        self._route = Route(url, self)
        self._given = given
        self._config = self._seal = self._plain = None

    @contextlib.contextmanager
    def override(self, backend: str | TaskBackend) -> Iterator[TaskBackend]:
        """Use another backend inside the `with` block, for tests; it may be nested. Affects every thread and loop.

        What was opened of it closes with its loop.
        """
        before, used = self._route, self._used
        route = self._route = Route(backend, self)
        try:
            yield route.origin
        finally:
            self._route, self._used = before, used

    def include(self, registry: TaskRegistry, /) -> None:
        """Take in the tasks and providers of a registry, also those it gets later.

        Raises ConfigurationError for a name that is taken, and for a registry that another queue includes.
        """
        if not isinstance(registry, TaskRegistry):
            raise ConfigurationError(f"include takes a TaskRegistry, not {registry!r}", setting="include")
        self.catalogue.include(registry.catalogue)

    # Connections --------------------------------------------------------------------------------------------------

    def connect(self) -> TaskBackend:
        """A backend of this queue that is not open yet, for another loop or thread; the caller opens and closes it."""
        return self._to().origin.sibling()

    async def backend(self) -> TaskBackend:
        """The open backend of the running loop; opened if need be."""
        return (await self._to().sender.connections.connection()).backend

    async def open(self) -> None:
        """Open the running loop's connection, and keep it until `close`. Raises what `TaskBackend.open` raises."""
        (await self._to().sender.connections.connection()).users += 1

    async def close(self) -> None:
        """Close the running loop's connection, after what is under way, once everybody who opened it has closed it."""
        connections = self._to().sender.connections
        connection = connections.ready()
        if connection is not None:
            connection.users -= 1
            if connection.users <= 0:
                await connections.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def lifespans(self) -> Lifespans:
        """For workers: `async with queue.lifespans() as values` enters all providers once, in order of registration."""
        return Lifespans(self.providers)

    def _to(self) -> Route:
        """Where messages go; from now on it cannot be configured any more."""
        if self._route is None:
            self._route = Route(url_from(), self)
        self._used = True
        return self._route

    # Enqueueing ---------------------------------------------------------------------------------------------------

    @overload
    async def enqueue(self, item: Message[R], /, **options: Unpack[EnqueueOptions]) -> TaskHandle[R]: ...
    @overload
    async def enqueue(self, item: Workflow[R], /, *, connection: object = None) -> WorkflowHandle[R]: ...
    @overload
    async def enqueue(self, item: Executable[R], /, **options: Unpack[EnqueueOptions]) -> TaskHandle[R]: ...
    async def enqueue(self, item: Any, /, **options: Unpack[EnqueueOptions]) -> TaskHandle[Any]:
        """Store a message, an instance of a TaskExecutor or a workflow, for workers to run; see EnqueueOptions.

        A workflow takes no option but `connection`: those of its steps are given to each, by `task.using(…)`. What is
        sent twice is stored once: after an error that leaves open what happened, send the same one again.
        Raises what `Task.enqueue` raises.
        """
        for kind, send in _SENDINGS:
            if isinstance(item, kind):
                return await send(self, item, options)
        raise unsendable(item)

    async def enqueue_many(
        self, items: Iterable[Message[R] | Executable[R]], /, *, connection: object = None
    ) -> list[TaskHandle[R]]:
        """Store many messages, 500 in each round trip, and return their handles in order.

        `items` is consumed as they leave, so it may be a generator of any length. Each 500 are stored all or none; an
        error says in a note how many were stored before it.
        """
        handles: list[TaskHandle[Any]] = []
        rest = each_of(items)
        try:
            while batch := [self._as_message(item) for item in itertools.islice(rest, MAX_BATCH)]:
                puts = await self._to().sender.many(batch, connection)
                handles += [self._handle_of(message, put) for message, put in zip(batch, puts, strict=True)]
        except Exception as error:
            error.add_note(f"The {len(handles)} messages before this batch are stored.")
            raise
        return handles

    @overload
    def enqueue_sync(self, item: Message[R], /, **options: Unpack[EnqueueOptions]) -> TaskHandle[R]: ...
    @overload
    def enqueue_sync(self, item: Workflow[R], /, *, connection: object = None) -> WorkflowHandle[R]: ...
    @overload
    def enqueue_sync(self, item: Executable[R], /, **options: Unpack[EnqueueOptions]) -> TaskHandle[R]: ...
    def enqueue_sync(self, item: Any, /, **options: Unpack[EnqueueOptions]) -> TaskHandle[Any]:
        """`enqueue` for code without an event loop; inside one it raises QueueError."""
        if "connection" in options:
            options["connection"] = own_connection(options["connection"])
        return blocking(lambda: self.enqueue(item, **options), instead="await queue.enqueue(…)")

    def enqueue_many_sync(
        self, items: Iterable[Message[R] | Executable[R]], /, *, connection: object = None
    ) -> list[TaskHandle[R]]:
        """`enqueue_many` for code without an event loop; inside one it raises QueueError."""
        own = own_connection(connection)
        return blocking(lambda: self.enqueue_many(items, connection=own), instead="await queue.enqueue_many(…)")

    @overload
    def handle(self, id: AnyId) -> TaskHandle[Any]: ...
    @overload
    def handle(self, id: AnyId, *, type: type[T]) -> TaskHandle[T]: ...
    def handle(self, id: AnyId, *, type: Any = Any) -> TaskHandle[Any]:
        """The handle of a message by its id. Its result is read as `type`, without one as plain values.

        Raises ValueError for what is no id, ConfigurationError for a type that cannot travel.
        """
        return self.workflow(id, type=type)

    @overload
    def workflow(self, id: AnyId) -> WorkflowHandle[Any]: ...
    @overload
    def workflow(self, id: AnyId, *, type: type[T]) -> WorkflowHandle[T]: ...
    def workflow(self, id: AnyId, *, type: Any = Any) -> WorkflowHandle[Any]:
        """The handle of a workflow by its id. Raises as `handle`."""
        codec = self._plain_result if type is Any else self._result_codec(type)
        return WorkflowHandle(self, TaskId.parse(id), codec)

    def returns_of(self, name: str) -> ValueCodec:
        """How results of the task called `name` are read: as it declares; of one that is not known, as plain values."""
        task = self.find(name)
        return self._plain_result if task is None else task.returns

    async def send(self, message: Message[R], returns: ValueCodec, call: Call) -> TaskHandle[R]:
        """Store a message for the task it belongs to. Tasks call this; see `enqueue`."""
        put = await self._to().sender.one(message, call.connection)
        if not put.created and put.id != message.id and call.on_duplicate == "raise":
            raise DuplicateTaskError(existing_id=str(put.id), unique_key=message.unique_key)
        return TaskHandle(self, put.id, returns, created=put.created)

    async def fire(self, message: AnyMessage, guard: Guard) -> Put:
        """For schedulers: store the message of one firing, if the guard lets it pass. See `TaskBackend.put`."""
        return await self._to().sender.guarded(message, guard)

    async def _send_message(self, message: AnyMessage, options: EnqueueOptions) -> TaskHandle[Any]:
        call = checked(options)
        if options.keys() - _ABOUT_SENDING:
            message = revised(message, call, self.seal)
        return await self.send(message, self.returns_of(message.name), call)

    async def _send_workflow(self, item: Workflow[Any], options: EnqueueOptions) -> WorkflowHandle[Any]:
        strange = sorted(options.keys() - {"connection"})
        if strange:
            raise OptionError(
                f"a workflow takes no option {strange[0]}; give it to its steps, as in "
                f"task.using({strange[0]}=…).message(…)",
                setting=strange[0],
            )
        plan = planned(item, self.seal, self.config)
        created = await send_workflow(self._to().sender, plan, checked(options).connection)
        end = plan.messages[-1]
        codec = self.returns_of(end.name)
        known = {} if plan.empty is None else {"known": plan.empty}
        return WorkflowHandle(self, plan.id, codec, created=created, **known)

    async def _send_executor(self, item: TaskExecutor, options: EnqueueOptions) -> TaskHandle[Any]:
        return await self._task_of(item).using(**options).enqueue(**payload_of(item))

    def _task_of(self, item: TaskExecutor) -> Task[Any, Any]:
        kind = type(item)
        task = self.catalogue.executors.get(kind)
        if task is None:
            raise ConfigurationError(
                f"the class {kind.__qualname__} at {place_of(kind)} is no task of this queue; put @queue.task above it",
                setting="task",
            )
        return task

    def _as_message(self, item: object) -> AnyMessage:
        """One item of `enqueue_many`."""
        if isinstance(item, Message):
            return item
        if isinstance(item, TaskExecutor):
            return self._task_of(item).message(**payload_of(item))
        raise unsendable(item)

    def _handle_of(self, message: AnyMessage, put: Put) -> TaskHandle[Any]:
        return TaskHandle(self, put.id, self.returns_of(message.name), created=put.created)

    @property
    def _plain_result(self) -> ValueCodec:
        """Reads results of no declared type."""
        if self._plain is None:
            self._plain = self._result_codec(Any)
        return self._plain

    def _result_codec(self, declared: Any) -> ValueCodec:
        return ValueCodec(declared, where="the result", limits=Limits(max_size=self.config.max_size))


_SENDINGS: Final[
    Sequence[tuple[type, Callable[[TaskQueue, Any, EnqueueOptions], Coroutine[Any, Any, TaskHandle[Any]]]]]
] = (
    (Message, TaskQueue._send_message),  # noqa: SLF001 - the queue's own ways, by the kind of item
    (Workflow, TaskQueue._send_workflow),  # noqa: SLF001
    (TaskExecutor, TaskQueue._send_executor),  # noqa: SLF001
)
"""What can be enqueued, and how."""


def _settings(config: object) -> QueueConfig:
    if isinstance(config, QueueConfig):
        return config
    raise ConfigurationError(
        f"config is a QueueConfig, not of type {type(config).__qualname__}; write QueueConfig(name='mail', …)",
        setting="config",
    )


def _checked(middleware: object) -> tuple[Middleware, ...]:
    if not isinstance(middleware, Sequence):
        raise ConfigurationError(
            f"middleware takes a list, not {middleware!r}; write middleware=[…]", setting="middleware"
        )
    for layer in middleware:
        if not isinstance(layer, Middleware):
            raise ConfigurationError(
                f"{layer!r} is no Middleware; pass an instance of a class derived from it", setting="middleware"
            )
    return tuple(middleware)
