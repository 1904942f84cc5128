"""Tasks in processes of the pool, run by a real worker: progress, orders, limits, and what they cost when idle."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import TaskCancelledError
from reinhardt_tasks.status import TaskStatus
from tests.integration.apps import jobs
from tests.integration.site import all_finished, gone, producer, records, registered, site
from tests.workshop import awaited


@pytest.fixture
def place(tmp_path: Path):
    """A database with the workers of one test."""
    with site(tmp_path) as made:
        yield made


async def test_progress_told_in_a_child_is_seen_while_it_runs(place):
    """Within two seconds."""
    async with producer(jobs.queue, place):
        place.start()
        handle = await jobs.stepping_in_a_child.enqueue()
        began = (await place.begun(1))[0]
        progress = await awaited(handle.progress)
        assert progress is not None
        assert time.monotonic() - began.at < 3
        assert (progress.done, progress.total) == (1.0, 2.0)
        assert await handle.cancel()
        assert isinstance(await handle.outcome(timeout=10), TaskCancelledError)


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds", "ignores"])
async def test_a_child_that_is_cancelled_ends(place, heeds):
    """One that asks now and then ends by itself; one that does not is killed after the grace. The worker goes on."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--grace", "0.5", "--concurrency", "1")
        handle = await (jobs.polling_in_a_child if heeds else jobs.pausing_in_a_child).enqueue(60)
        began = (await place.begun(1))[0]
        asked_at = time.monotonic()
        assert await handle.cancel()
        assert isinstance(await handle.outcome(timeout=10), TaskCancelledError)
        assert time.monotonic() - asked_at < 4
        assert heeds or gone(began.pid)
        assert await (await jobs.quick_in_a_child.enqueue(7)).result(timeout=20) == 7
        assert crew.process.poll() is None
        assert (await records(backend, [handle.id]))[0].attempts == 0


async def test_a_killed_worker_takes_its_children_along(place):
    """No process goes on with a message that another worker is given."""
    async with producer(jobs.queue, place) as backend:
        first = place.start()
        handle = await jobs.pausing_in_a_child.enqueue(2)
        began = (await place.begun(1))[0]
        first.signal(signal.SIGKILL)
        assert gone(began.pid)
        first.ended()
        place.start()
        await handle.result(timeout=30)
        assert place.runs("begin").total() == 2
        assert (await records(backend, [handle.id]))[0].losses == 1


async def test_a_stop_gives_back_what_a_child_runs(place):
    """When it outlasts the shutdown: the child is killed, no attempt is spent."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--shutdown-timeout", "0.2")
        handle = await jobs.pausing_in_a_child.enqueue(60)
        began = (await place.begun(1))[0]
        crew.signal(signal.SIGTERM)
        assert crew.ended() == 0
        assert gone(began.pid)
        record = (await records(backend, [handle.id]))[0]
        assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)


# What waiting costs ---------------------------------------------------------------------------------------------------

WATCHED = 3.0
MOST = 0.1
"""Seconds of processor time that a worker which has nothing to do may use in those seconds."""


def used(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def spent(pid: int) -> float:
    """Seconds of processor time that a process uses while it is watched."""
    before = used(pid)
    await asyncio.sleep(WATCHED)
    return used(pid) - before


async def test_an_idle_worker_costs_next_to_nothing(place):
    """It is told when there is something to do."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start()
        await registered(backend, 1)
        await (await jobs.quick.enqueue(1)).result(timeout=20)
        assert await spent(crew.pid) < MOST


async def test_a_full_worker_does_not_spin_over_what_falls_due(place):
    """Its one slot is taken; the messages that fall due meanwhile wait in line."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "1")
        await jobs.pausing.enqueue(WATCHED + 2)
        await place.begun(1)
        for number in range(3):
            await jobs.quick.using(delay=0.2 + number / 2).enqueue(number)
        assert await spent(crew.pid) < MOST
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 4}


async def test_a_worker_that_is_emptied_for_a_suspect_does_not_spin(place):
    """A message that lost a worker waits until this one holds nothing else."""
    async with producer(jobs.queue, place) as backend:
        first = place.start("--concurrency", "1")
        suspect = await jobs.pausing.enqueue(60)
        await place.begun(1)
        crew = place.start("--concurrency", "4")
        await registered(backend, 2)
        await jobs.pausing.using(priority=9).enqueue(20)
        await place.begun(2)
        first.signal(signal.SIGKILL)
        await awaited(lambda: _waits_for_long(backend, suspect.id))
        assert await spent(crew.pid) < MOST
        assert len(place.entries("begin")) == 2
        assert await suspect.cancel()


async def _waits_for_long(backend: TaskBackend, id) -> bool:
    """Whether the message was rescued more than five seconds ago."""
    record = (await records(backend, [id]))[0]
    return record.losses == 1 and time.time() - record.updated_at > 5.5
