"""One message seen from outside: its status, progress and result. `TaskHandle`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from reinhardt_tasks.codec import Seal, ValueCodec
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError, ResultTimeoutError, TaskError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Progress, Reason, Record
from reinhardt_tasks.results import TaskOutput, TaskResult, TaskResultMetadata, failure_in, metadata
from reinhardt_tasks.retry import Seconds, seconds
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.sync import blocking

R_co = TypeVar("R_co", covariant=True)
_FIRST_LOOK: Final = 0.05
_SLOWEST_LOOK: Final = 1.0
"""Seconds between two looks of `watch` at a message that does not change: from the first up to the second, doubling."""


class Place(Protocol):
    """Where a handle's message lives, and how what is read there is opened."""

    @property
    def seal(self) -> Seal:
        """Opens results."""

    async def backend(self) -> TaskBackend:
        """The open backend of the running loop."""


class TaskHandle(Generic[R_co]):
    """A message by its `id`; `R_co` is what its task returns. Handles are cheap, and equal when their ids are.

    `created` is False when `enqueue` found a message in its place: one with the same unique key, or the same message
    sent before. Every awaiting method has a twin ending in `_sync` for code without an event loop; inside a running
    one the twin raises QueueError, naming the form to await. All raise TaskNotFoundError for an id that is not known
    (any more).
    """

    __slots__ = ("_codec", "_place", "created", "id")

    def __init__(self, place: Place, id: TaskId, codec: ValueCodec, *, created: bool = False) -> None:
        self._place = place
        self._codec = codec
        self.id = id
        self.created = created

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # Awaiting -----------------------------------------------------------------------------------------------------

    async def result(self, timeout: Seconds | None = None) -> R_co:
        """What the task returns, as soon as it has. None waits without limit.

        Raises what became of it otherwise: ExecutionFailedError (also as MaxRetriesExceededError or TaskTimeoutError)
        with the worker's traceback, TaskCancelledError, ResultExpiredError; ResultTimeoutError after `timeout`
        seconds.
        """
        outcome = await self.outcome(timeout)
        if isinstance(outcome, TaskOutput):
            return outcome.value
        raise outcome

    async def outcome(self, timeout: Seconds | None = None) -> TaskResult[R_co]:
        """How the task ended, as a value: a TaskOutput, or the error that `result` would raise for it.

        Raises only for what is not the task's doing: ResultTimeoutError, TaskNotFoundError, a backend's error, or a
        result that does not decode.
        """
        limit = None if timeout is None else seconds(timeout, what="timeout")
        record = await (await self._place.backend()).wait_result(self.id, limit)
        if record is None:
            raise ResultTimeoutError(task_id=str(self.id), timeout=limit)
        failure = await self._failure(record)
        return TaskOutput(self.id, await self._value(record)) if failure is None else failure

    async def status(self) -> TaskStatus:
        """Where the message stands now."""
        return await (await self._place.backend()).get_status(self.id)

    async def info(self) -> TaskResultMetadata[R_co]:
        """All that is known about the message now, its result or error included."""
        return await self._metadata(await self._record())

    async def progress(self) -> Progress | None:
        """The newest progress the task has told, None if it has told none."""
        stored = (await self._record()).progress
        return None if stored is None else Progress.decode(stored)

    async def watch(self) -> AsyncIterator[TaskResultMetadata[R_co]]:
        """The message now, then again whenever its status or progress has changed, the last time when it is finished.

        The end is pushed by the backend. What comes before is looked up: 50 ms after a change, then at growing
        intervals of at most 1 s; of changes between two looks the newest is seen.
        """
        backend = await self._place.backend()
        record, pause = await self._record(), _FIRST_LOOK
        yield await self._metadata(record)
        while not record.status.finished:
            newer = await backend.wait_result(self.id, pause) or await self._record()
            changed = _state(newer) != _state(record)
            record, pause = newer, _FIRST_LOOK if changed else min(2 * pause, _SLOWEST_LOOK)
            if changed:
                yield await self._metadata(record)

    async def cancel(self) -> bool:
        """Cancel the message: at once if it does not run, else by an order to its worker.

        True when it is cancelled or will be told to end, False when it had ended before. A task that ignores the
        order may still succeed; `outcome` tells.
        """
        error = ErrorRecord("TaskCancelledError", "it was cancelled by request", reason=Reason.CANCELLED)
        status = (await (await self._place.backend()).cancel([self.id], error=error.encode()))[0]
        if status is None:
            raise BackendTaskNotFoundError(task_id=str(self.id))
        return status not in (TaskStatus.SUCCESS, TaskStatus.FAILURE)

    async def _record(self) -> Record:
        record = (await (await self._place.backend()).get([self.id]))[0]
        if record is None:
            raise BackendTaskNotFoundError(task_id=str(self.id))
        return record

    async def _value(self, record: Record) -> Any:
        """The decoded result; None where none was stored, as for a message that a backend only notes."""
        return None if record.result is None else self._codec.decode(self._place.seal.open(record.result, self.id))

    async def _failure(self, record: Record) -> TaskError | None:
        """The error that stands for a result; None where there is one, or may still be."""
        return failure_in(record)

    async def _metadata(self, record: Record) -> TaskResultMetadata[R_co]:
        return metadata(record, await self._value(record) if record.status is TaskStatus.SUCCESS else None)

    # Blocking -----------------------------------------------------------------------------------------------------

    def result_sync(self, timeout: Seconds | None = None) -> R_co:
        """`result` for code without an event loop."""
        return blocking(lambda: self.result(timeout), instead="await handle.result(…)")

    def outcome_sync(self, timeout: Seconds | None = None) -> TaskResult[R_co]:
        """`outcome` for code without an event loop."""
        return blocking(lambda: self.outcome(timeout), instead="await handle.outcome(…)")

    def status_sync(self) -> TaskStatus:
        """`status` for code without an event loop."""
        return blocking(self.status, instead="await handle.status()")

    def info_sync(self) -> TaskResultMetadata[R_co]:
        """`info` for code without an event loop."""
        return blocking(self.info, instead="await handle.info()")

    def progress_sync(self) -> Progress | None:
        """`progress` for code without an event loop."""
        return blocking(self.progress, instead="await handle.progress()")

    def watch_sync(self) -> Iterator[TaskResultMetadata[R_co]]:
        """`watch` for code without an event loop."""
        steps = self.watch()
        while (step := blocking(lambda: _next(steps), instead="async for … in handle.watch()")) is not None:
            yield step

    def cancel_sync(self) -> bool:
        """`cancel` for code without an event loop."""
        return blocking(self.cancel, instead="await handle.cancel()")


def _state(record: Record) -> tuple[object, ...]:
    """What `watch` looks at."""
    return record.status, record.progress, record.attempts, record.cancelling


async def _next(steps: AsyncIterator[TaskResultMetadata[R_co]]) -> TaskResultMetadata[R_co] | None:
    return await anext(steps, None)
