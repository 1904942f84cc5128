"""What a backend on a server survives: its server's crash and freeze, and a bad line. One suite for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import AnyMessage
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.integration.apps import jobs
from tests.integration.load import (
    Load,
    all_records,
    assert_none_begun_after_success,
    busy_at_most,
    every,
    patiently,
)
from tests.integration.site import LEASE, REDELIVERY, Crew, Site, all_finished, producer, registered, site
from tests.servers.proxy import Proxy

BACK = 10.0
"""Seconds after the return of its server within which every worker has taken work again."""
HEALED = 15.0
"""The same for a worker whose line was dead without a word."""
SLACK = 2.0
"""Seconds a shared machine may stall in the middle of a measurement."""
AT_WORK = 50
"""Messages: whoever has started so many is at work again."""
BUSY = 0.3
"""The part of a core that a worker without work may need while its connections are reset."""


class ServerFaults:
    """A subclass gives the fixture `server`, which runs and keeps on disk what it has answered for.

    What is set here makes each test short; a subclass may ask for more.
    """

    crashes = 1
    downtime = 1.0
    resets = 5
    resets_pause = 0.5
    cut_answers = 100
    silence = 6.0
    frozen = 4.5
    slow_messages = 40

    @pytest.fixture
    def place(self, tmp_path, server):
        """The workers of one test."""
        with site(tmp_path, server.url()) as made:
            yield made

    @pytest.fixture
    def proxy(self, server):
        """A line to the server."""
        with Proxy(server.port) as made:
            yield made

    async def test_a_server_that_crashes_loses_nothing_it_answered_for(self, server, place) -> None:
        """Under load, killed and started again: what was acknowledged runs, and every worker goes on by itself.

        Nobody is taken for dead meanwhile, so nothing runs twice.
        """
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4") for _ in range(2)]
            await registered(backend, 2)
            async with Load(jobs.queue, a_job).running() as load:
                for _ in range(self.crashes):
                    await all_at_work(place, crews)
                    server.kill()
                    await asyncio.sleep(self.downtime)
                    server.start()
                    await all_at_work(place, crews)
            await nothing_lost(backend, place, load)
            assert set(place.runs("run").values()) == {1}
            assert [crew.process.poll() for crew in crews] == [None, None]

    async def test_connections_that_are_reset_again_and_again_lose_nothing(self, server, place, proxy) -> None:
        """Under load: nothing is lost, nothing runs twice, and a worker without work does not spin for it.

        Nor does it while nobody takes its connections.
        """
        bad = {"REINHARDT_TASKS_URL": server.url(port=proxy.port)}
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4", environment=bad) for _ in range(2)]
            idle = place.start("--queues", "idle", environment=bad)
            await registered(backend, 3)
            with jobs.queue.override(server.url(port=proxy.port)):
                async with jobs.queue, Load(jobs.queue, a_job).running() as load:
                    with busy_at_most(BUSY, idle.pid):
                        async for _ in every(self.resets_pause, time.monotonic() + self.resets * self.resets_pause):
                            proxy.reset()
                    proxy.refuse()
                    with busy_at_most(BUSY, idle.pid):
                        await asyncio.sleep(self.downtime)
                    proxy.listen()
                    await all_at_work(place, crews)
            await nothing_lost(backend, place, load)
            assert set(place.runs("run").values()) == {1}
            assert proxy.accepted >= self.resets * 3

    async def test_an_answer_that_is_cut_off_stores_nothing_twice(self, server, place, proxy) -> None:
        """Every enqueue reaches the server and its answer does not come back; sent again, it is there once."""
        async with producer(jobs.queue, place) as backend:
            with jobs.queue.override(server.url(port=proxy.port)):
                async with jobs.queue:
                    await jobs.nothing.enqueue(-1)  # what is sent only the first time is sent
                    odd = itertools.cycle([True, False])
                    name = jobs.nothing.name.encode()
                    proxy.cut_when(lambda request: name in request and next(odd))
                    for number in range(self.cut_answers):
                        message = jobs.nothing.message(number)
                        handle = await patiently(lambda message=message: jobs.queue.enqueue(message))
                        assert not handle.created
            assert proxy.cuts == self.cut_answers
            assert sum(counts.ready for counts in await backend.counts()) == self.cut_answers + 1

    async def test_a_worker_behind_a_dead_line_is_stood_in_for_and_comes_back(self, server, place) -> None:
        """No word comes through, not even that the line is dead: another runs what it held, and his run counts.

        It starts nothing while it cannot be sure of its lease, and takes work again when the line heals.
        """
        with contextlib.ExitStack() as closing:
            lines: dict[int, tuple[Crew, Proxy]] = {}
            async with producer(jobs.queue, place) as backend:
                for _ in range(2):
                    line = closing.enter_context(Proxy(server.port))
                    crew = place.start(environment={"REINHARDT_TASKS_URL": server.url(port=line.port)})
                    lines[crew.pid] = crew, line
                await registered(backend, 2)
                handle = await jobs.pausing.enqueue(1.5)
                cut_off, line = lines.pop((await place.begun(1))[0].pid)
                line.swallow()
                silent_at = time.monotonic()
                again = (await place.begun(2))[1]
                assert again.at - silent_at <= REDELIVERY + SLACK
                assert again.pid in lines
                assert await handle.result(timeout=30) == again.pid
                await asyncio.sleep(max(0.0, silent_at + self.silence - time.monotonic()))
                healed_at = time.monotonic()
                line.heal()
                async with Load(jobs.queue, a_job).running():
                    await all_at_work(place, [cut_off], timeout=HEALED)
                assert set(await all_finished(backend)) == {TaskStatus.SUCCESS}
                meanwhile = [entry.pid for entry in place.entries("begin", "run") if silent_at < entry.at < healed_at]
                assert meanwhile == [again.pid]
                assert cut_off.process.poll() is None

    async def test_a_slow_line_costs_time_and_nothing_else(self, server, place, proxy) -> None:
        """A round trip of 200 ms, give or take 100: no lease is in doubt, nothing runs twice, slots are busy."""
        job, round_trip, slots = 0.05, 0.2, 8
        async with producer(jobs.queue, place) as backend:
            place.start("--concurrency", str(slots), environment={"REINHARDT_TASKS_URL": server.url(port=proxy.port)})
            await registered(backend, 1)
            proxy.delay(round_trip / 2, round_trip / 4)
            began = time.monotonic()
            handles = await jobs.queue.enqueue_many(jobs.brief.message(job) for _ in range(self.slow_messages))
            assert await all_finished(backend) == {TaskStatus.SUCCESS: self.slow_messages}
            rate = slots / (job + 3 * round_trip) * 0.7
            assert time.monotonic() - began <= self.slow_messages / rate + SLACK
            assert set(place.runs("run").values()) == {1}
            assert {record.losses for record in await all_records(backend, [handle.id for handle in handles])} == {0}
            assert "WARNING" not in place.logs()

    async def test_a_server_that_freezes_for_longer_than_a_lease_makes_nobody_dead(self, server, place) -> None:
        """When it goes on it has heard of nobody for so long; everybody is given the time to say that he lives."""
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4") for _ in range(2)]
            await registered(backend, 2)
            long = await jobs.queue.enqueue_many(jobs.pausing.message(self.frozen + 0.5) for _ in range(4))
            short = await jobs.queue.enqueue_many(jobs.pausing.message(0.2) for _ in range(40))
            await place.begun(8)
            assert self.frozen > REDELIVERY - 0.5 > LEASE
            server.pause()
            await asyncio.sleep(self.frozen)
            server.unpause()
            assert await patiently(lambda: all_finished(backend)) == {TaskStatus.SUCCESS: 44}
            assert set(place.runs("begin").values()) == {1}
            ended = await all_records(backend, [handle.id for handle in (*long, *short)])
            assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}
            assert [crew.process.poll() for crew in crews] == [None, None]


def a_job() -> AnyMessage:
    """The call of a task that is soon done."""
    return jobs.brief.message(0.002)


async def all_at_work(place: Site, crews: list[Crew], *, timeout: float = BACK) -> None:
    """Every one of them has started `AT_WORK` messages from now on."""
    now = time.monotonic()

    def look() -> bool:
        begun = Counter(entry.pid for entry in place.entries("run") if entry.at > now)
        return all(begun[crew.pid] >= AT_WORK for crew in crews)

    await eventually_async(look, timeout=timeout)


async def nothing_lost(backend: TaskBackend, place: Site, load: Load) -> None:
    """All that was acknowledged has run and succeeded, and no run began after that."""
    ended = await all_finished(backend)
    print(f"promised={len(load.promised)} unsure={len(load.unsure)} ended={ended}")  # noqa: T201
    assert set(ended) == {TaskStatus.SUCCESS}
    assert len(load.promised) <= ended[TaskStatus.SUCCESS] <= len(load.promised) + len(load.unsure)
    assert {str(id) for id in load.promised} <= set(place.runs("run"))
    records = await all_records(backend, load.promised)
    assert {record.losses for record in records} == {0}
    assert_none_begun_after_success(place, records, "run")
