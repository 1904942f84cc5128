"""`current_task()`: what a running task knows about its own message."""

import contextvars
import logging
from datetime import UTC, datetime

import pytest

from reinhardt_tasks.context import TaskContext, current_context, current_task
from reinhardt_tasks.errors import QueueError, TaskCancelledError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Envelope, Progress

ID = TaskId.new()


def context(*, attempts: int = 0, run_at: float | None = None, headers: dict[str, str] | None = None) -> TaskContext:
    """One run of `app.send`."""
    claim = Claim(ID, 1, b"", attempts=attempts, losses=2, run_at=run_at)
    return TaskContext(claim, Envelope(bytes(ID), "app.send", "default", b"", h=headers))


def test_the_first_run_is_attempt_one() -> None:
    """Attempts count the runs, this one included."""
    assert context().attempt == 1
    assert context(attempts=2).attempt == 3


def test_it_tells_what_the_message_is() -> None:
    """Id, name, losses, headers, and when it was due."""
    due = context(run_at=1_900_000_000.5, headers={"trace": "7"})
    assert (due.id, due.name, due.losses, dict(due.headers)) == (ID, "app.send", 2, {"trace": "7"})
    assert due.scheduled_for == datetime.fromtimestamp(1_900_000_000.5, UTC)
    assert context().scheduled_for is None
    assert context().headers == {}


def test_headers_cannot_be_changed() -> None:
    """They belong to the message."""
    with pytest.raises(TypeError):
        context(headers={"a": "1"}).headers["a"] = "2"


def test_outside_a_task_there_is_no_current_one() -> None:
    """The error says where to call it from."""
    with pytest.raises(QueueError, match="outside a task"):
        current_task()


def test_inside_a_run_it_is_the_run() -> None:
    """Whatever the runner has set for this context."""
    run = context()

    def inside():
        current_context.set(run)
        return current_task()

    assert contextvars.copy_context().run(inside) is run


def test_a_run_that_was_told_to_end_can_raise() -> None:
    """A thread looks at `cancelled`, or calls `raise_if_cancelled` where it may stop."""
    run = context()
    run.raise_if_cancelled()
    assert not run.cancelled
    run.cancel()
    assert run.cancelled
    with pytest.raises(TaskCancelledError, match=str(ID)):
        run.raise_if_cancelled()


def test_the_newest_progress_is_kept() -> None:
    """A plain call; the worker picks the last one up."""
    run = context()
    assert run.newest_progress is None
    run.progress(1)
    run.progress(2, 10, "pages")
    newest = run.newest_progress
    assert newest is not None
    assert (newest.done, newest.total, newest.note) == (2.0, 10.0, "pages")
    assert newest.at > 0


@pytest.mark.parametrize("numbers", [(float("nan"),), (1, float("inf")), (10**400,), ("1",), (None,)])
def test_progress_is_finite(numbers) -> None:
    """A mistake is told to the task that makes it."""
    with pytest.raises(ValueError, match="finite"):
        context().progress(*numbers)


def test_a_note_is_text() -> None:
    """Anything else would not travel."""
    with pytest.raises(TypeError, match="note"):
        context().progress(1, 2, 3)


def test_a_note_always_travels() -> None:
    """Whatever text it is: the task goes on, and so does the worker that sends it."""
    run = context()
    run.progress(1, note="\ud800" + "x" * 10_000)
    newest = run.newest_progress
    assert newest is not None
    assert Progress.decode(newest.encode()).note == "\\ud800" + "x" * 999


def test_log_records_name_the_run(caplog) -> None:
    """Each record carries id, task and attempt beside its own fields."""
    run = context(attempts=1)
    with caplog.at_level(logging.INFO, "reinhardt_tasks.task"):
        run.log.info("page_read", extra={"page": 3})
        run.log.info("done")
    first, second = caplog.records
    assert (first.task_id, first.task, first.attempt, first.page) == (str(ID), "app.send", 2, 3)
    assert second.task_id == str(ID)
    assert not hasattr(second, "page")
    assert run.log is run.log
