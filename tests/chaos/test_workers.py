"""Workers, killed, stopped and set back for a minute under load, and one that runs a million messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TaskStatus
from tests.integration.apps import jobs
from tests.integration.load import all_records, assert_none_begun_after_success, every
from tests.integration.site import REDELIVERY, Crew, Site, all_finished, producer, registered, site
from tests.integration.test_worker_surroundings import Clock
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.workshop import awaited

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MINUTE = 60.0
EVERY = 2.0
SLACK = 1.0
"""Seconds a shared machine may stall in the middle of a measurement."""
TWO_PAGES = 4 << 20
"""Bytes: Linux gives memory in pages of 2 MiB where it can. A leak of 10 bytes a message would be twice that."""


SERVERS = {"redis": RedisServer, "postgres": PostgresServer}


@pytest.fixture(params=["sqlite", *SERVERS])
def place(request, tmp_path: Path):
    """A store with the workers of one test."""
    with contextlib.ExitStack() as closing:
        made = SERVERS.get(request.param)
        url = None if made is None else closing.enter_context(made()).url()
        yield closing.enter_context(site(tmp_path, url))


async def enqueue_for(seconds: float, total: int, message: Callable[[], object]) -> list[TaskId]:
    """`total` messages, spread evenly over so many seconds; the ids that were promised."""
    ids: list[TaskId] = []
    batch = min(500, max(1, round(total / seconds / 4)))
    pause = seconds * batch / total
    async for _ in every(pause, time.monotonic() + seconds):
        ids += [handle.id for handle in await jobs.queue.enqueue_many(message() for _ in range(batch))]  # type: ignore[misc]
    return ids


@contextlib.asynccontextmanager
async def shift_of(place: Site, backend: TaskBackend, *options: str) -> AsyncIterator[list[Crew]]:
    """Four workers."""
    crews = [place.start(*options) for _ in range(4)]
    await registered(backend, 4)
    yield crews


async def keep_busy(backend: TaskBackend, backlog: int, seconds: float) -> list[TaskId]:
    """Jobs of 1 ms, so that about so many wait at any time; the ids that were promised."""
    ids: list[TaskId] = []
    async for _ in every(0.1, time.monotonic() + seconds):
        ready = sum(counts.ready for counts in await backend.counts())
        jobs_missing = (jobs.brief.message(0.001) for _ in range(max(0, backlog - ready)))
        ids += [handle.id for handle in await jobs.queue.enqueue_many(jobs_missing)]
    return ids


async def test_workers_that_are_killed_every_two_seconds_lose_nothing(place):
    """At least 50,000 jobs of 1 ms. Extra runs: at most what was in flight; the dead are given up in time."""
    options = ("--concurrency", "10")
    async with producer(jobs.queue, place) as backend, shift_of(place, backend, *options) as crews:
        enqueueing = asyncio.create_task(keep_busy(backend, 5000, MINUTE))
        in_flight, watches = 0, []
        async for _ in every(EVERY, time.monotonic() + MINUTE):
            victim = crews.pop(random.randrange(4))  # noqa: S311 - chaos
            victim.signal(signal.SIGKILL)
            watches.append(asyncio.create_task(seconds_until_given_up(backend, victim.pid)))
            victim.ended()
            crews.append(place.start(*options))
            in_flight += await claims_of(backend, victim.pid)
        ids, slowest = await enqueueing, max(await asyncio.gather(*watches))
        assert await all_finished(backend, timeout=300) == {TaskStatus.SUCCESS: len(ids)}
        runs = place.runs("run")
        print(f"jobs={len(ids)} extra={runs.total() - len(ids)} in_flight={in_flight} slowest={slowest:.2f}")  # noqa: T201
        assert len(ids) >= 50_000
        assert set(runs) == {str(id) for id in ids}
        assert 0 < runs.total() - len(ids) <= in_flight
        assert slowest <= REDELIVERY + SLACK
        assert_none_begun_after_success(place, await all_records(backend, ids), "run")


async def claims_of(backend: TaskBackend, pid: int) -> int:
    """How many messages the worker of a process that has ended held."""
    return sum(worker.claims for worker in await backend.workers() if worker.beat.pid == pid)


async def seconds_until_given_up(backend: TaskBackend, pid: int) -> float:
    """How long the worker of a dead process stays on the list: what it held is in line again then."""
    began = time.monotonic()

    async def look() -> bool:
        return pid not in {worker.beat.pid for worker in await backend.workers()}

    await awaited(look)
    return time.monotonic() - began


async def test_workers_that_are_stopped_every_two_seconds_spend_nothing(place):
    """Jobs of 2 s, SIGTERM with five seconds of grace: no extra run, no attempt, exit code 0."""
    options = ("--concurrency", "4", "--shutdown-timeout", "5")
    async with producer(jobs.queue, place) as backend, shift_of(place, backend, *options) as crews:
        enqueueing = asyncio.create_task(enqueue_for(MINUTE, 360, lambda: jobs.pausing.message(2.0)))
        stopped: list[Crew] = []
        async for _ in every(EVERY, time.monotonic() + MINUTE):
            known = {worker.beat.pid for worker in await backend.workers()}
            leaver = random.choice([crew for crew in crews if crew.pid in known])  # noqa: S311 - chaos
            leaver.signal(signal.SIGTERM)
            crews[crews.index(leaver)] = place.start(*options)
            stopped.append(leaver)
        ids = await enqueueing
        assert await all_finished(backend, timeout=300) == {TaskStatus.SUCCESS: len(ids)}
        assert [crew.ended() for crew in stopped] == [0] * len(stopped)
        assert set(place.runs("begin").values()) == {1}
        ended = await all_records(backend, ids)
        assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}


async def test_a_clock_that_jumps_every_few_seconds_doubles_nothing(place):
    """The machine's, by an hour ahead and an hour back; what is due later still comes, once."""
    clock = Clock(place.directory / "clock", 0)
    async with producer(jobs.queue, place) as backend:
        for _ in range(3):
            place.start("--concurrency", "10", environment=clock.environment)
        await registered(backend, 3)
        enqueueing = asyncio.create_task(enqueue_for(MINUTE, 3000, lambda: jobs.brief.message(0.5)))
        later = [await jobs.brief.using(delay=10 + number).enqueue(0.0) for number in range(20)]
        shift = 0
        async for _ in every(4.0, time.monotonic() + MINUTE):
            shift = {0: 3600, 3600: -3600, -3600: 0}[shift]
            clock.shift(shift)
        clock.shift(0)
        ids = await enqueueing + [handle.id for handle in later]
        assert await all_finished(backend, timeout=100) == {TaskStatus.SUCCESS: len(ids)}
        assert set(place.runs("run").values()) == {1}
        assert {record.losses for record in await all_records(backend, ids)} == {0}


async def test_a_million_messages_leave_nothing_behind_in_a_worker(place):
    """Its memory in the last tenth is that of the second, give or take a twentieth, and it holds no more files."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "100")
        await registered(backend, 1)
        sizes: list[int] = []
        files: list[int] = []
        for tenth in range(10):
            await jobs.queue.enqueue_many(jobs.nothing.message(tenth * 100_000 + number) for number in range(100_000))
            await all_finished(backend, timeout=300)
            sizes.append(resident(crew.pid))
            files.append(open_files(crew.pid))
        print(f"resident MiB {[size >> 20 for size in sizes]}, files {files}")  # noqa: T201
        assert sizes[9] <= sizes[1] * 1.05 + TWO_PAGES
        assert files[9] <= files[1]
        assert crew.process.poll() is None


def open_files(pid: int) -> int:
    """How many files a process holds open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
