"""How a message ended, as values and as errors."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from reinhardt_tasks.errors import (
    BackendExecutionFailedError,
    ExecutionFailedError,
    MaxRetriesExceededError,
    ResultExpiredError,
    TaskCancelledError,
    TaskTimeoutError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Progress, Reason, Record
from reinhardt_tasks.results import TaskOutput, failure_in, metadata
from reinhardt_tasks.status import TaskStatus

ID = TaskId.new()


def record(status: TaskStatus, error: ErrorRecord | None = None, **fields) -> Record:
    """A record of `app.send` in `status`."""
    known = {"id": ID, "name": "app.send", "queue": "mail", "priority": 7, "created_at": 1.5, "updated_at": 2.5}
    return Record(**{**known, **fields}, status=status, error=error and error.encode())


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.FAILED, ExecutionFailedError),
        (Reason.RETRIES_SPENT, MaxRetriesExceededError),
        (Reason.TIMEOUT, TaskTimeoutError),
        (Reason.POISON, ExecutionFailedError),
        (Reason.BAD_PAYLOAD, ExecutionFailedError),
        (Reason.UNKNOWN_TASK, ExecutionFailedError),
    ],
)
def test_a_dead_letter_is_the_error_of_its_reason(reason, kind) -> None:
    """With the worker's type, text and traceback as facts."""
    told = ErrorRecord("app.SendError", "no route", "Traceback …\napp.SendError: no route\n", reason)
    failure = failure_in(record(TaskStatus.FAILURE, told, attempts=4))
    assert type(failure) is kind
    assert (failure.task_id, failure.name, failure.reason) == (str(ID), "app.send", reason.value)
    assert (failure.error_type, failure.error_message) == ("app.SendError", "no route")
    assert failure.traceback_text == told.traceback
    assert "no route" in str(failure)


def test_what_a_backend_refused_to_store_is_the_backends_failure() -> None:
    """An ExecutionFailedError as well, as the task has no result."""
    told = ErrorRecord("BackendExecutionFailedError", "the outcome cannot be stored: TooBig", "", Reason.BAD_RESULT)
    failure = failure_in(record(TaskStatus.FAILURE, told))
    assert isinstance(failure, BackendExecutionFailedError)
    assert isinstance(failure, ExecutionFailedError)
    assert "the outcome cannot be stored: TooBig" in str(failure)


def test_the_workers_traceback_is_shown_with_ours() -> None:
    """As a note, which Python prints below the exception, and which survives pickling."""
    failure = failure_in(record(TaskStatus.FAILURE, ErrorRecord("E", "m", "Traceback of the worker")))
    arrived = pickle.loads(pickle.dumps(failure))
    assert arrived.__notes__ == ["In the worker:\nTraceback of the worker"]


def test_spent_retries_tell_their_number() -> None:
    """Four runs for three retries."""
    failure = failure_in(record(TaskStatus.FAILURE, ErrorRecord("E", "m", "", Reason.RETRIES_SPENT), attempts=4))
    assert isinstance(failure, MaxRetriesExceededError)
    assert failure.attempts == 4
    assert "4 runs" in str(failure)


def test_a_time_limit_is_told_as_the_worker_told_it() -> None:
    """The limit that counted may be the call's own. What to do is said with it."""
    told = ErrorRecord("TaskTimeoutError", "it ran longer than its limit of 3 s", "", Reason.TIMEOUT)
    assert str(failure_in(record(TaskStatus.FAILURE, told))) == (
        f"Task app.send ({ID}): it ran longer than its limit of 3 s. Raise its `timeout=`, or give it less to do."
    )


def test_an_error_that_ends_a_sentence_does_not_end_ours_twice() -> None:
    """The worker's text may bring its own full stop."""
    told = ErrorRecord("E", "no route. \n", "", Reason.BAD_PAYLOAD)
    failure = failure_in(record(TaskStatus.FAILURE, told))
    assert isinstance(failure, ExecutionFailedError)
    assert str(failure) == f"Task app.send ({ID}) failed: E: no route. Repair the cause, then requeue it."
    assert failure.error_message == "no route. \n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "requested"),
        (ErrorRecord("E", "m", "", Reason.CANCELLED), "requested"),
        (ErrorRecord("E", "m", "", Reason.PARENT_FAILED), "dependency"),
    ],
)
def test_a_cancelled_message_tells_by_what(error, reason) -> None:
    """By request, or because one it waited for failed."""
    failure = failure_in(record(TaskStatus.CANCELLED, error))
    assert isinstance(failure, TaskCancelledError)
    assert failure.reason == reason


def test_a_success_without_its_result_has_expired() -> None:
    """The message is remembered longer than its result."""
    assert isinstance(failure_in(record(TaskStatus.SUCCESS, expired=True)), ResultExpiredError)
    assert failure_in(record(TaskStatus.SUCCESS, result=b"\xc0")) is None


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RETRY])
def test_what_is_not_finished_has_not_failed(status) -> None:
    """Also a message that waits for its next run, whose last one raised."""
    assert failure_in(record(status, ErrorRecord("E", "m"))) is None


def test_metadata_has_aware_instants_and_values() -> None:
    """What is not known is None."""
    running = record(
        TaskStatus.RUNNING,
        started_at=3.0,
        run_at=2.0,
        attempts=1,
        losses=2,
        worker="w",
        progress=Progress(1, 2).encode(),
    )
    shown = metadata(running, None)
    assert shown.created_at == datetime.fromtimestamp(1.5, UTC)
    assert (shown.started_at, shown.scheduled_for) == (datetime.fromtimestamp(3, UTC), datetime.fromtimestamp(2, UTC))
    assert (shown.finished_at, shown.result, shown.error) == (None, None, None)
    assert (shown.queue, shown.priority, shown.attempts, shown.losses, shown.worker) == ("mail", 7, 1, 2, "w")
    assert shown.progress == Progress(1, 2)


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@dataclass
class Point:
    x: int
    when: datetime


class Model(BaseModel):
    name: str


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (3, "3"),
        ([1, {"a": True}], '[1,{"a":true}]'),
        (Point(1, datetime(2030, 1, 1, tzinfo=UTC)), '{"x":1,"when":"2030-01-01T00:00:00Z"}'),
        (Model(name="ada"), '{"name":"ada"}'),
        ({"of": Odd()}, '{"of":"<odd>"}'),
        (ENDLESS, "[[...]]"),
    ],
)
def test_an_output_has_a_text_for_people(value, text) -> None:
    """Text as it is, all else as JSON where it has any."""
    assert TaskOutput(ID, value).text == text
