"""The smallest values: ids, priorities, the steps between states, and errors and progress as they travel."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.errors import SerializationError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    MAX_ERROR_TEXT,
    Envelope,
    ErrorRecord,
    Progress,
    Reason,
    decode_envelope,
    encode_envelope,
)
from reinhardt_tasks.status import FINISHED, TRANSITIONS, TaskPriority, TaskStatus, check_transition

# TaskId ---------------------------------------------------------------------------------------------------------------


def test_an_id_is_a_time_ordered_uuid() -> None:
    """Version 7, made now; the text is the usual one, and every form of it leads back."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    task_id = TaskId.new()
    assert before <= task_id.made_at <= datetime.now(UTC)
    assert (task_id.uuid.version, task_id.uuid.variant) == (7, uuid.RFC_4122)
    assert str(task_id) == str(task_id.uuid)
    forms = (task_id, task_id.uuid, str(task_id), str(task_id).upper(), task_id.hex(), f"{{{task_id}}}")
    assert {TaskId.parse(form) for form in forms} == {task_id}


def test_ids_sort_by_when_they_were_made(monkeypatch) -> None:
    """To a quarter of a microsecond, also as text."""
    moments = iter([1_700_000_000_000_000_000, 1_700_000_000_000_000_250, 1_700_000_000_000_001_000, 2**62])
    monkeypatch.setattr("reinhardt_tasks.identity.time.time_ns", lambda: next(moments))
    ids = [TaskId.new() for _ in range(4)]
    assert sorted(ids) == ids
    assert sorted(ids, key=str) == ids


def test_ids_made_at_once_differ() -> None:
    """What the clock leaves open is random."""
    assert len({TaskId.new() for _ in range(20_000)}) == 20_000


@pytest.mark.parametrize("text", ["", "abc", "01a20f5b", None, 7, b"x" * 15, "g" * 32])
def test_what_is_no_id_is_refused_with_an_example(text) -> None:
    """A ValueError, which web frameworks know what to make of."""
    with pytest.raises(ValueError, match=r"is no task id; expected the text of a UUID such as '[0-9a-f-]{36}'"):
        TaskId.parse(text)


# TaskPriority and TaskStatus ------------------------------------------------------------------------------------------


def test_priorities_are_0_to_9() -> None:
    """5 by default."""
    assert [TaskPriority(value) for value in range(10)] == list(range(10))
    assert TaskPriority() == 5
    for wrong in (-1, 10, True, 5.0, "5", None):
        with pytest.raises(ValueError, match="0 to 9"):
            TaskPriority(wrong)  # type: ignore[arg-type]


def test_every_step_is_in_the_table_or_refused() -> None:
    """With what may come instead."""
    for old, new in product(TaskStatus, TaskStatus):
        if new in TRANSITIONS[old]:
            check_transition(old, new)
        else:
            with pytest.raises(TransitionError, match=f"is {old} and cannot become {new}; from {old} it may become"):
                check_transition(old, new, task_id="7")


def test_finished_is_what_nothing_follows_by_itself() -> None:
    """Only an operator's requeue does."""
    assert {status for status in TaskStatus if status.finished} == FINISHED
    assert all(TRANSITIONS[status] <= {TaskStatus.PENDING} for status in FINISHED)


# What travels ---------------------------------------------------------------------------------------------------------


def test_an_error_travels_within_its_cap() -> None:
    """The middle is cut, the ends tell most; text that is not Unicode is escaped."""
    long = "start" + "x" * 200_000 + "end"
    record = ErrorRecord.decode(ErrorRecord("E", long, "\ud800" + long, Reason.TIMEOUT).encode())
    assert record.reason is Reason.TIMEOUT
    for text in (record.message, record.traceback):
        assert len(text) <= MAX_ERROR_TEXT
        assert "characters cut" in text
        assert text.endswith("end")
    assert record.message.startswith("start")
    assert record.traceback.startswith("\\ud800start")


@given(raw=st.binary(max_size=60))
def test_any_bytes_are_read_as_an_error_or_refused_as_the_rest(raw) -> None:
    """An error must always be shown somehow; an envelope and a progress are refused by one class of error."""
    assert isinstance(ErrorRecord.decode(raw), ErrorRecord)
    for decode in (decode_envelope, Progress.decode):
        try:
            decode(raw)
        except SerializationError:
            continue


def test_an_envelope_of_a_newer_program_is_read() -> None:
    """What it does not know is passed over."""
    envelope = Envelope(bytes(TaskId.new()), "app.send", "default", b"\x80", h={"trace": "1"}, t=0.0)
    newer = encode_envelope(envelope).replace(b"\x86", b"\x87", 1) + b"\xa3new\x01"
    assert decode_envelope(newer) == envelope
