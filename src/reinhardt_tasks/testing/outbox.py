"""`capture`: look at what was enqueued, with nothing run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from reinhardt_tasks.backends.dummy import DummyBackend
from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import TaskNotFoundError
from reinhardt_tasks.executor import Executable, TaskExecutor
from reinhardt_tasks.message import AnyMessage, Envelope, Guard, Put, decode_envelope
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.task import Task

R = TypeVar("R")
E = TypeVar("E", bound=TaskExecutor)


class Noting(DummyBackend):
    """A dummy backend that gives each message of a task the result set for the task, sealed for that message."""

    def __init__(self, seal: Seal) -> None:
        super().__init__()
        self._seal = seal
        self._results_by_task: dict[str, bytes] = {}

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put."""
        puts = await super().put(messages, guard=guard, connection=connection)
        for message in messages:
            if message.name in self._results_by_task:
                self._give(message)
        return puts

    def set_result_of_task(self, name: str, encoded: bytes) -> None:
        """Let all messages of a task, those that are here and those that come, have this result."""
        self._results_by_task[name] = encoded
        for message in self.messages:
            if message.name == name:
                self._give(message)

    def _give(self, message: AnyMessage) -> None:
        self.set_result(message.id, self._seal.close(self._results_by_task[message.name], message.id))


class Outbox:
    """What was enqueued while `capture` was at it."""

    def __init__(self, queue: TaskQueue, backend: Noting) -> None:
        self._queue = queue
        self._backend = backend

    @property
    def messages(self) -> list[AnyMessage]:
        """The messages, in order, those that found another in their place left out."""
        return list(self._backend.messages)

    @overload
    def calls(self, task: Task[..., Any], /) -> list[dict[str, Any]]: ...
    @overload
    def calls(self, task: type[E], /) -> list[E]: ...
    def calls(self, task: Any, /) -> list[Any]:
        """The calls of one task, in order, as a worker would see them.

        Of a function the arguments by parameter, defaults included, without what providers give; of a class the
        instances. Of a step of a workflow the arguments as well, without those that results will fill.
        """
        known = self._known(task)
        return [self._call(known, message) for message in self._backend.messages if message.name == known.name]

    @overload
    def set_result(self, task: Task[..., R], value: R, /) -> None: ...
    @overload
    def set_result(self, task: type[Executable[R]], value: R, /) -> None: ...
    def set_result(self, task: Any, value: Any, /) -> None:
        """Let all messages of a task succeed with `value`; without it they succeed with None.

        Raises ResultMismatchError for a value that the task could not return.
        """
        known = self._known(task)
        self._backend.set_result_of_task(known.name, known.returns.encode(value))

    def _known(self, task: Any) -> Task[Any, Any]:
        name = task.name if isinstance(task, Task) else ""
        known = self._queue.catalogue.executors.get(task) if isinstance(task, type) else self._queue.find(name)
        if known is None:
            raise TaskNotFoundError(
                f"{task!r} is no task of the captured queue; pass what @queue.task made, of this queue", name=repr(task)
            )
        return known

    def _call(self, task: Task[Any, Any], message: AnyMessage) -> Any:
        envelope = decode_envelope(self._queue.seal.open(message.body))
        if envelope.w:
            return self._step(task, envelope)
        args, kwargs = task.arguments.decode(envelope.a)
        if isinstance(task.defined, type):
            return task.defined(**kwargs)
        bound = inspect.signature(task.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if name not in task.providers}

    @staticmethod
    def _step(task: Task[Any, Any], envelope: Envelope) -> dict[str, Any]:
        """The arguments of a step, without those that results will fill."""
        parameters = inspect.signature(task.defined).parameters
        defaults = {name: one.default for name, one in parameters.items() if one.default is not inspect.Parameter.empty}
        known = defaults | task.arguments.decode_parts(envelope.a)
        left_out = {*task.providers, *(envelope.w or {})}
        return {name: known[name] for name in parameters if name in known and name not in left_out}


@contextmanager
def capture(queue: TaskQueue) -> Iterator[Outbox]:
    """A block within which all that is enqueued is noted and said to have succeeded, and nothing runs.

    Written `with capture(queue) as outbox:`; the queue needs no URL meanwhile.
    """
    backend = Noting(queue.seal)
    with queue.override(backend):
        yield Outbox(queue, backend)
