"""The watchdog: a blocked event loop is noticed, named once, and its end is told."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from reinhardt_tasks.worker.watchdog import Finding, LoopWatch, Sign, Watchdog, stack_of
from tests.eventually import eventually, eventually_async

START = 100.0


def watch() -> LoopWatch:
    """A loop may be blocked for a second; there are four looks in each."""
    return LoopWatch(limit=1.0, interval=0.25, now=START, cpu=0.0)


def looks(seen: LoopWatch, *moments: tuple[float, float, float]) -> list[Finding | None]:
    """The findings of looks at (now, last tick, processor time), each counted from the start."""
    return [seen.look(now=START + now, tick=START + tick, cpu=cpu) for now, tick, cpu in moments]


def every_quarter(first: float, last: float, *, tick: float) -> list[tuple[float, float, float]]:
    """Looks in time between `first` and `last` at a loop that last ticked at `tick`."""
    return [(step / 4, tick, step / 4) for step in range(int(first * 4), int(last * 4) + 1)]


def test_a_loop_that_ticks_is_left_alone():
    """Also when its ticks come late by less than the limit."""
    assert set(looks(watch(), (0.25, 0.25, 0), (0.5, 0.5, 0), (0.75, 0.5, 0), (1.5, 0.5, 0), (1.75, 1.7, 0))) == {None}


def test_a_block_is_told_once_when_it_passes_the_limit():
    """It is counted from the tick that did not come, so it is never called longer than it is."""
    found = looks(watch(), *every_quarter(0.25, 9, tick=0))
    assert [finding for finding in found if finding] == [Finding(Sign.BLOCKED, 1.25)]


def test_the_end_of_a_block_is_told_with_its_duration():
    """And the next block is told again."""
    seen = watch()
    looks(seen, *every_quarter(0.25, 3, tick=0))
    assert looks(seen, (3.25, 3.25, 3.25)) == [Finding(Sign.FREE, 3.0)]
    assert looks(seen, (3.5, 3.5, 3.5)) == [None]
    assert Finding(Sign.BLOCKED, 1.25) in looks(seen, *every_quarter(3.75, 6, tick=3.5))


def test_a_block_between_two_looks_is_told_by_its_end():
    """Code that held the GIL kept the looking thread waiting as well, and used the processor all the while."""
    assert looks(watch(), (5.25, 5.25, 5.2)) == [Finding(Sign.FREE, 5.0)]


def test_code_that_still_holds_the_gil_is_told_as_a_block():
    """The first look comes late, but the processor was busy: it is the task's doing."""
    assert looks(watch(), (5.25, 0, 5.2)) == [Finding(Sign.BLOCKED, 5.0)]


@pytest.mark.parametrize("tick", [0, 29.99, 30.0])
def test_a_process_that_was_stopped_is_no_block(tick):
    """Nobody ran, the looking thread neither: no task is blamed, whichever thread comes first when it goes on."""
    seen = watch()
    assert looks(seen, (30, tick, 0.01)) == [Finding(Sign.STALLED, 30.0)]
    assert looks(seen, (30.25, 30.1, 0.02), (30.5, 30.35, 0.03)) == [None, None]


def test_a_block_after_a_stop_is_counted_from_the_stop():
    """The loop gets its full limit again, and then it is told."""
    seen = watch()
    looks(seen, (30, 0, 0.01))
    found = looks(seen, *((30 + step / 4, 0, step / 4) for step in range(1, 8)))
    assert [finding for finding in found if finding] == [Finding(Sign.BLOCKED, 1.25)]


class Heard(logging.Handler):
    """Keeps what the watchdog says; `blocked` is set once it says that the loop is blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.blocked = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self.lines[-1].startswith("event_loop_blocked"):
            self.blocked.set()

    def starting(self, event: str) -> list[str]:
        return [line for line in self.lines if line.startswith(event)]


@pytest.fixture
def heard():
    """What the watchdog logs."""
    handler = Heard()
    logger = logging.getLogger("reinhardt_tasks.watchdog")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def hold_the_loop_until(event: threading.Event) -> None:
    """Block the thread that calls this."""
    assert event.wait(30)


async def test_the_warning_names_the_task_and_the_place(heard):
    """One warning with the task's name and the stack of the blocking call, and one line when the loop is free again."""
    dog = Watchdog(lambda task: f"resize {task.get_name() if task else ''}", limit=0.3, interval=0.1)
    dog.start()

    async def resize():
        hold_the_loop_until(heard.blocked)

    await asyncio.create_task(resize(), name="slot-3")
    await eventually_async(lambda: heard.starting("event_loop_free"))
    dog.stop()
    (warning,) = heard.starting("event_loop_blocked")
    assert "task=resize slot-3\n" in warning
    assert "in hold_the_loop_until" in warning
    assert "in resize" in warning
    assert len(heard.starting("event_loop_free blocked_for=")) == 1


async def test_a_running_that_fails_costs_the_name_not_the_warning(heard):
    """It is asked from another thread and may trip over a change."""

    def broken(task):
        raise RuntimeError("dictionary changed size during iteration")

    dog = Watchdog(broken, limit=0.3, interval=0.1)
    dog.start()
    hold_the_loop_until(heard.blocked)
    await eventually_async(lambda: heard.starting("event_loop_free"))
    dog.stop()
    assert "task=(unknown: RuntimeError('dictionary changed size during iteration'))" in heard.lines[0]


async def test_a_stopped_watchdog_leaves_thread_and_loop():
    """Neither its thread nor its timer stays."""
    dog = Watchdog(lambda _: "")
    dog.start()
    watching = [thread for thread in threading.enumerate() if thread.name == "reinhardt-watchdog"]
    assert watching
    dog.stop()
    eventually(lambda: not any(thread.is_alive() for thread in watching))


def test_the_stack_of_a_thread_that_has_ended_is_empty():
    """The loop may go while the warning about it is written."""
    assert stack_of(-1) == ""
