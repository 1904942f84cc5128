"""What the Redis backend survives beside what all do: forgotten scripts, a memory that is full, a long loading."""

from __future__ import annotations

import asyncio
import time

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendFullError, BackendUnavailableError
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.integration.apps import jobs
from tests.integration.load import Load, all_records, every
from tests.integration.server_faults import ServerFaults, a_job, all_at_work, nothing_lost
from tests.integration.site import LEASE, REDELIVERY, all_finished, producer, registered
from tests.servers.redis import RedisServer
from tests.workshop import awaited

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
SLOW_TO_LOAD = {"key-load-delay": 250}
"""Microseconds that a server which restarts takes for each command in its log, and a little more."""
ROOM = 8 << 20
"""Bytes that are free before the memory is filled."""


class RedisFaults(ServerFaults):
    """See ServerFaults."""

    flushing = 2.0
    at_once = 500
    to_load = 10_000

    @pytest.fixture
    def server(self):
        """A server that has on disk what it answers for."""
        with RedisServer(DURABLE) as made:
            yield made

    async def test_scripts_that_are_flushed_again_and_again_are_no_error_to_anybody(self, server, place) -> None:
        """Every 100 ms, under load: no caller hears of it, and no worker."""
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4") for _ in range(2)]
            await registered(backend, 2)
            async with Load(jobs.queue, a_job).running() as load:
                async for _ in every(0.1, time.monotonic() + self.flushing):
                    server.call("SCRIPT", "FLUSH")
                await all_at_work(place, crews)
            assert load.unsure == []
            await nothing_lost(backend, place, load)
            assert "WARNING" not in place.logs()

    async def test_what_runs_when_the_memory_is_full_is_finished(self, server, place) -> None:
        """Enqueuing says so, and workers keep their leases and settle what they hold; with room again all is well."""
        async with producer(jobs.queue, place) as backend:
            crew = place.start("--concurrency", str(self.at_once), "--queues", "default")
            await registered(backend, 1)
            running = await jobs.queue.enqueue_many(jobs.gated.message() for _ in range(self.at_once))
            await place.begun(self.at_once)
            _limit_memory(server, ROOM)
            with pytest.raises(BackendFullError):
                await _fill()
            _limit_memory(server, -ROOM // 2)  # so that what connections have free in their buffers makes no room
            await asyncio.sleep(REDELIVERY)
            place.gate.touch()
            assert await _finished(backend, self.at_once)
            assert "WARNING" not in place.logs()
            with pytest.raises(BackendFullError):
                await jobs.quick.enqueue(1)
            await backend.purge("filler")
            assert await (await jobs.quick.enqueue(1)).result(timeout=10) == 1
            assert await all_finished(backend) == {TaskStatus.SUCCESS: self.at_once + 1}
            assert set(place.runs("begin", "run").values()) == {1}
            ended = await all_records(backend, [handle.id for handle in running])
            assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}
            assert crew.process.poll() is None

    async def test_a_server_that_loads_for_longer_than_a_lease_is_waited_for(self, server, place) -> None:
        """By workers that run, by one that starts meanwhile, and without anybody being taken for dead."""
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4") for _ in range(2)]
            await registered(backend, 2)
            server.call("EVAL", "for i = 1, ARGV[1] do redis.call('INCR', 'ballast') end", 0, self.to_load)
            server.configure(SLOW_TO_LOAD)
            async with Load(jobs.queue, a_job).running() as load:
                await all_at_work(place, crews)
                server.kill()
                gone_at = time.monotonic()
                server.start(wait=False)
                await eventually_async(lambda: server.ping().startswith(b"-LOADING"))
                crews.append(place.start("--concurrency", "4"))
                with pytest.raises(BackendUnavailableError):
                    await jobs.quick.enqueue(1)
                await eventually_async(server.answers)
                assert time.monotonic() - gone_at > LEASE
                await all_at_work(place, crews)
            await nothing_lost(backend, place, load)
            assert set(place.runs("run").values()) == {1}
            assert [crew.process.poll() for crew in crews] == [None] * 3


def _limit_memory(server: RedisServer, room: int) -> None:
    """Let it use so many bytes more than it does; less than none is a memory that is full, whatever ends."""
    server.call("CONFIG", "SET", "maxmemory", server.call("INFO", "memory")["used_memory"] + room)


async def _fill() -> None:
    """Take all the room there is."""
    while True:
        await jobs.queue.enqueue_many(jobs.filler.message("x" * 100_000) for _ in range(3))


async def _finished(backend: TaskBackend, count: int) -> bool:
    """So many messages have succeeded."""

    async def look() -> bool:
        return sum(counts.by_status.get(TaskStatus.SUCCESS, 0) for counts in await backend.counts()) == count

    return await awaited(look)
