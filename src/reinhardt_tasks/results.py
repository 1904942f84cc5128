"""How a message ended, as values: `TaskOutput`, `TaskResult`, `TaskResultMetadata`, and the errors of failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from reinhardt_tasks.errors import (
    BackendExecutionFailedError,
    ExecutionFailedError,
    MaxRetriesExceededError,
    ResultExpiredError,
    TaskCancelledError,
    TaskError,
    TaskTimeoutError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Progress, Reason, Record
from reinhardt_tasks.status import TaskStatus

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class TaskOutput(Generic[R_co]):
    """What a task returned: the `id` of its message and the typed `value`."""

    id: TaskId
    value: R_co

    @property
    def text(self) -> str:
        """The value for people to read: text as it is, anything else as JSON, or as its `repr` where it has no JSON."""
        if isinstance(self.value, str):
            return self.value
        try:
            return msgspec.json.encode(self.value, enc_hook=_readable).decode()
        except (TypeError, ValueError, RecursionError):
            return repr(self.value)


def _readable(value: object) -> object:
    """JSON's stand-in for a value that msgspec does not know: a pydantic model's fields, else its text."""
    fields = getattr(value, "model_dump", None)
    return fields(mode="json") if callable(fields) else str(value)


TaskResult = TaskOutput[R_co] | TaskError
"""How a task ended: its output, or the error that says why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResultMetadata(Generic[R_co]):
    """A message as it stood when it was read. `result` is set on SUCCESS, unless it has expired; `error` on other ends.

    `created_at` to `finished_at` are by the broker's clock; `scheduled_for` is when a delayed message, or its next
    retry, is due. `attempts` counts the runs that raised, `losses` the workers that died under it.
    """

    id: TaskId
    name: str
    queue: str
    priority: int
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    scheduled_for: datetime | None = None
    attempts: int = 0
    losses: int = 0
    worker: str | None = None
    progress: Progress | None = None
    result: R_co | None = None
    error: TaskError | None = None


def metadata(record: Record, result: R_co | None) -> TaskResultMetadata[R_co]:
    """`record` with aware datetimes, its decoded `result` and its error."""
    return TaskResultMetadata(
        id=record.id,
        name=record.name,
        queue=record.queue,
        priority=record.priority,
        status=record.status,
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
        started_at=_moment_or_none(record.started_at),
        finished_at=_moment_or_none(record.finished_at),
        scheduled_for=_moment_or_none(record.run_at),
        attempts=record.attempts,
        losses=record.losses,
        worker=record.worker,
        progress=None if record.progress is None else Progress.decode(record.progress),
        result=result,
        error=failure_in(record),
    )


def _moment(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)


def _moment_or_none(instant: float | None) -> datetime | None:
    return None if instant is None else _moment(instant)


_CANCELLED_FOR: Final = {Reason.PARENT_FAILED: "dependency", Reason.TIMEOUT: "timeout"}
"""What a cancelled message was cancelled for; else somebody asked for it."""


def is_for_another(error: TaskError) -> bool:
    """Whether a message was cancelled because one that it waited for did not succeed."""
    return isinstance(error, TaskCancelledError) and error.reason == _CANCELLED_FOR[Reason.PARENT_FAILED]


def failure_in(record: Record) -> TaskError | None:
    """The error that stands for a finished message without a result; None while it has one, or may still get one."""
    if record.status is TaskStatus.CANCELLED:
        return _cancelled(record)
    if record.status is TaskStatus.FAILURE:
        return _failed(record)
    if record.status is TaskStatus.SUCCESS and record.expired:
        return ResultExpiredError(task_id=str(record.id))
    return None


def _error_of(record: Record) -> ErrorRecord | None:
    return ErrorRecord.decode(record.error) if record.error else None


def _cancelled(record: Record) -> TaskCancelledError:
    error = _error_of(record)
    reason = "requested" if error is None else _CANCELLED_FOR.get(error.reason, "requested")
    return TaskCancelledError(task_id=str(record.id), name=record.name, reason=reason)


def _failed(record: Record) -> ExecutionFailedError:
    """The error of a dead letter, by its reason; the worker's traceback is a note, so that it is shown with ours."""
    error = _error_of(record) or ErrorRecord("UnknownError", "no error was stored with it")
    kind: type[ExecutionFailedError] = ExecutionFailedError
    facts: dict[str, Any] = {}
    if error.reason is Reason.TIMEOUT:
        kind = TaskTimeoutError
    elif error.type == BackendExecutionFailedError.__name__:
        kind = BackendExecutionFailedError
    elif error.reason is Reason.RETRIES_SPENT:
        kind, facts = MaxRetriesExceededError, {"attempts": record.attempts}
    failure = kind(
        task_id=str(record.id),
        name=record.name,
        error_type=error.type,
        error_message=error.message,
        traceback_text=error.traceback,
        reason=error.reason.value,
        **facts,
    )
    if error.traceback:
        failure.add_note(f"In the worker:\n{error.traceback}")
    return failure
