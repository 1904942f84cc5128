"""What a child process logs arrives, whatever it is, and logging it never fails the task that does."""

from __future__ import annotations

import logging

import pytest

from reinhardt_tasks.worker.frames import LENGTH, FromChild, Logged, decode_from_child, frame
from reinhardt_tasks.worker.remote_log import RemoteHandler, log_again

HUGE = 10**30
ODD = "caf\udce9"
"""A file name as Python reads one that is not UTF-8."""


class Wire:
    """What came over it, and a logger at its other end."""

    def __init__(self) -> None:
        self.heard: list[FromChild] = []
        self.logger = logging.Logger("shop.remote")  # noqa: LOG001 - by itself, as no test report can hold what it says

    def say(self, said: Logged) -> None:
        """Send one record, as bytes."""
        self.heard.append(decode_from_child(frame(said)[LENGTH:]))


@pytest.fixture
def wire() -> Wire:
    """With a handler at the logger."""
    wire = Wire()
    handler = RemoteHandler(wire.say)
    wire.logger.addHandler(handler)
    return wire


def test_what_messagepack_cannot_hold_is_sent_as_text(wire):
    """Large integers by their digits, what is no valid Unicode escaped, in the message and in every field."""
    wire.logger.warning("read %s", ODD, extra={"rows": HUGE, "file": ODD, "least": -HUGE, "most": 2**64 - 1})
    (said,) = wire.heard
    assert said.message == "read caf\\udce9"
    assert said.fields == {"rows": str(HUGE), "file": "caf\\udce9", "least": str(-HUGE), "most": 2**64 - 1}


def test_a_traceback_that_is_no_valid_unicode_is_escaped(wire):
    """The error of a task may quote anything."""
    try:
        raise ValueError(ODD)
    except ValueError:
        wire.logger.exception("no such file")
    assert "ValueError: caf\\udce9" in wire.heard[0].traceback


def test_what_arrived_is_logged_again(wire, caplog):
    """With its fields, as the process that logged it."""
    wire.logger.warning("read %s", "a", extra={"rows": 7})
    caplog.clear()
    log_again(wire.heard[0], pid=42)
    (record,) = caplog.records
    assert (record.getMessage(), record.rows, record.process) == ("read a", 7, 42)


class Unprintable:
    """As a task may define it."""

    def __str__(self) -> str:
        raise KeyError("no text")


def test_a_record_that_cannot_be_formatted_costs_the_task_nothing(wire, capsys):
    """It is complained about on the standard error output, as logging does."""
    RemoteHandler(wire.say).emit(logging.makeLogRecord({"msg": Unprintable()}))
    assert wire.heard == []
    assert "KeyError: 'no text'" in capsys.readouterr().err
