"""Waiting: the bells, and looking from time to time where there are none."""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reinhardt_tasks.backends.sqlite import SqliteBackend, bell
from reinhardt_tasks.backends.sqlite import watcher as watcher_module
from reinhardt_tasks.backends.sqlite.bell import Ear
from reinhardt_tasks.backends.sqlite.claims import Heard
from reinhardt_tasks.backends.sqlite.watch import EndWatch, ScheduleWatch, WorkWatch
from reinhardt_tasks.backends.sqlite.watcher import NET, Pace, Watcher
from reinhardt_tasks.errors import BackendTaskNotFoundError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message, Outcome, ScheduleRecord
from tests.eventually import eventually_async

LONG = 30.0


class Deaf(Ear):
    """As on a system without inotify."""

    def listen(self, path: str) -> None:
        """Hears nothing."""


def message(**options) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name="task", body=b"", **options)


@contextlib.asynccontextmanager
async def watching(path: Path, ear: Ear) -> AsyncIterator[tuple[SqliteBackend, Watcher]]:
    """A backend, and a watcher that has nothing to do with it but the file."""
    async with SqliteBackend(path, durability="off") as backend:
        await backend.beat(Beat(worker="w", number=1, lease=300.0))
        watcher = Watcher(str(path), time.time, threading.Lock(), ear=ear)
        try:
            yield backend, watcher
        finally:
            await watcher.close()


async def looked_at(watcher: Watcher, number: int = 1) -> None:
    """Return when that many wait and have been looked at once."""
    await eventually_async(lambda: len(watcher._watches) == number)  # noqa: SLF001


@pytest.fixture
def path(tmp_path) -> Path:
    """Of the database."""
    return tmp_path / "t.db"


ears = pytest.mark.parametrize("ear", [Ear, Deaf])


@ears
async def test_work_wakes_who_waits_for_it(path, ear):
    """With bells and without."""
    async with watching(path, ear()) as (backend, watcher), asyncio.timeout(LONG):
        waiting = asyncio.create_task(watcher.wait(WorkWatch("w", ["q"], Heard(0, 0)), None))
        await looked_at(watcher)
        await backend.put([message(queue="other")])
        assert not waiting.done()
        await backend.put([message(queue="q")])
        assert await waiting is True


@ears
async def test_an_order_wakes_its_worker(path, ear):
    """A worker that waits for no queue hears of a drain."""
    async with watching(path, ear()) as (backend, watcher), asyncio.timeout(LONG):
        waiting = asyncio.create_task(watcher.wait(WorkWatch("w", (), Heard(0, 0)), None))
        await looked_at(watcher)
        assert await backend.drain("w")
        assert await waiting is True


@ears
async def test_ends_wake_all_who_wait_for_them(path, ear):
    """A thousand at once, each with its own record; who waits for another waits on."""
    async with watching(path, ear()) as (backend, watcher), asyncio.timeout(LONG):
        messages = [message() for _ in range(500)]
        await backend.put(messages)
        other = await backend.enqueue(message(queue="other"))
        waiting = [asyncio.create_task(watcher.wait(EndWatch(item.id), None)) for item in [*messages, *messages]]
        left = asyncio.create_task(watcher.wait(EndWatch(other.id), 0.5))
        await looked_at(watcher, 1001)
        claims = (await backend.exchange("w", (), want=500, queues=["default"], sequence=1)).claims
        await backend.exchange("w", [Outcome.success(it, it.id) for it in claims], want=0, queues=(), sequence=2)
        records = await asyncio.gather(*waiting)
        assert [record.result for record in records] == [item.id for item in messages] * 2
        assert await left is None


@ears
async def test_who_waits_for_a_deleted_message_is_told(path, ear):
    """And who asks for an unknown one."""
    async with watching(path, ear()) as (backend, watcher), asyncio.timeout(LONG):
        put = await backend.enqueue(message())
        waiting = asyncio.create_task(watcher.wait(EndWatch(put.id), None))
        await looked_at(watcher)
        await backend.purge("default")
        for asked in (waiting, watcher.wait(EndWatch(TaskId.new()), None)):
            with pytest.raises(BackendTaskNotFoundError):
                await asked


@ears
async def test_a_changed_schedule_wakes_who_watches(path, ear):
    """With the counter of changes."""
    async with watching(path, ear()) as (backend, watcher), asyncio.timeout(LONG):
        waiting = asyncio.create_task(watcher.wait(ScheduleWatch(0), None))
        await looked_at(watcher)
        await backend.save_schedule(ScheduleRecord(name="s", spec=b"x"))
        assert await waiting == 1


async def test_without_bells_a_commit_of_the_same_instance_wakes_at_once(path, monkeypatch):
    """Its writer nudges its watcher, which would look only once a minute here."""
    monkeypatch.setattr(watcher_module, "_QUICKEST", 60.0)
    monkeypatch.setattr(watcher_module, "_SLOWEST", 60.0)
    monkeypatch.setattr(watcher_module, "Ear", Deaf)
    async with SqliteBackend(path, durability="off") as backend, asyncio.timeout(LONG):
        await backend.beat(Beat(worker="w", number=1, lease=300.0))
        await backend.exchange("w", (), want=1, queues=None, sequence=1)
        waiting = asyncio.create_task(backend.wait("w", None, 50.0))
        watcher = await eventually_async(lambda: backend._engine._watcher)  # noqa: SLF001
        await looked_at(watcher)
        await backend.put([message()])
        assert await waiting is True


async def test_a_wait_ends_when_something_falls_due_though_nobody_rings(path):
    """Long before its time-out, by the clock."""
    async with watching(path, Ear()) as (backend, watcher), asyncio.timeout(LONG):
        await backend.put([message(delay=0.05)])
        assert await watcher.wait(WorkWatch("w", None, Heard(9, 0)), None) is False


async def test_a_watcher_with_nobody_to_answer_does_nothing(path):
    """It sleeps until somebody comes: the look that follows is the first."""
    async with watching(path, Ear()) as (backend, watcher):
        await backend.put([message() for _ in range(10)])
        assert watcher.connection is None
        assert await watcher.wait(WorkWatch("w", None, Heard()), LONG) is True
        assert watcher.connection is not None


async def test_a_commit_after_the_close_knocks_nowhere(path):
    """The pipe is gone, and its numbers may be another file's by then."""
    async with watching(path, Deaf()) as (_, watcher):
        waiting = asyncio.create_task(watcher.wait(WorkWatch("w", ("q",), Heard(0, 0)), None))
        await looked_at(watcher)
    watcher.nudge()
    assert await waiting is False


async def test_those_who_went_are_forgotten(path):
    """A wait that was cancelled or ran out leaves nothing behind."""
    async with watching(path, Ear()) as (backend, watcher):
        put = await backend.enqueue(message())
        for _ in range(5):
            assert await watcher.wait(EndWatch(put.id), 0.01) is None
        waiting = asyncio.create_task(watcher.wait(EndWatch(put.id), None))
        await looked_at(watcher)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await looked_at(watcher, 0)


# Bells ----------------------------------------------------------------------------------------------------------------


def test_a_bell_is_heard_by_who_listens(path):
    """Once, until it rings again; not by who has stopped listening, and not for another file."""
    other = path.with_name("other")
    for file in (path, other):
        file.touch()
    ear = Ear()
    ear.listen(str(path))
    assert not _heard(ear)
    bell.ring(str(other))
    assert not _heard(ear)
    for _ in range(3):
        bell.ring(str(path))
    assert _heard(ear)
    assert not _heard(ear)
    ear.ignore(str(path))
    ear.drain()
    bell.ring(str(path))
    assert not _heard(ear)
    ear.close()


def _heard(ear: Ear) -> bool:
    ready = select.select([ear.fd], [], [], 0)[0]
    ear.drain()
    return bool(ready)


def test_a_file_that_is_gone_rings_nowhere(path):
    """Nothing happens, and nobody listens to it."""
    bell.ring(str(path))
    ear = Ear()
    ear.listen(str(path))
    assert not ear.hears(str(path))
    ear.close()


# Pace -----------------------------------------------------------------------------------------------------------------


def test_a_look_that_was_rung_for_is_paid_for_with_a_pause():
    """Fifty times as long as it took, so that busy neighbours cost two per cent; at most 10 ms."""
    pace = Pace()
    pace.looked(100.0, 100.5, rung=False, changed=True)
    assert pace.not_before == 0
    pace.looked(100.0, 100.00004, rung=True, changed=True)
    assert pace.not_before == pytest.approx(100.00204)
    pace.looked(100.0, 100.5, rung=True, changed=True)
    assert pace.not_before == pytest.approx(100.51)


def test_without_bells_it_looks_often_after_a_change_and_then_less_and_less():
    """From 1 ms to 50 ms; with bells there is only the net."""
    pace = Pace()
    pace.looked(0.0, 0.0, rung=False, changed=True)
    polls = [pace.longest(hearing=False)]
    for _ in range(7):
        pace.looked(0.0, 0.0, rung=False, changed=False)
        polls.append(pace.longest(hearing=False))
    assert polls == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05]
    assert pace.longest(hearing=True) == NET
