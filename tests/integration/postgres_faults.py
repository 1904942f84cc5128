"""What the PostgreSQL backend survives beside what all do: sessions that are ended again and again, a killed worker."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.integration.apps import jobs
from tests.integration.load import Load, every
from tests.integration.server_faults import ServerFaults, a_job, all_at_work, nothing_lost
from tests.integration.site import REDELIVERY, all_finished, producer, registered
from tests.servers.postgres import PostgresServer

SLACK = 2.0
"""Seconds a shared machine may stall in the middle of a measurement."""
_END_ALL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
)


class PostgresFaults(ServerFaults):
    """See ServerFaults."""

    terminating = 3.0

    @pytest.fixture
    def server(self):
        """A server that has on disk what it answers for."""
        with PostgresServer(fsync=True) as made:
            yield made

    async def test_sessions_that_are_ended_again_and_again_lose_nothing(self, server, place) -> None:
        """All of them, every second, under load, as an administrator or a failover does: nothing runs twice."""
        async with producer(jobs.queue, place) as backend:
            crews = [place.start("--concurrency", "4") for _ in range(2)]
            await registered(backend, 2)
            ended = 0
            async with Load(jobs.queue, a_job).running() as load:
                await all_at_work(place, crews)
                async for _ in every(1.0, time.monotonic() + self.terminating):
                    ((count,),) = await asyncio.to_thread(server.execute, _END_ALL)
                    ended += int(str(count))
                await all_at_work(place, crews)
            await nothing_lost(backend, place, load)
            assert ended >= 2 * self.terminating
            assert set(place.runs("run").values()) == {1}
            assert [crew.process.poll() for crew in crews] == [None, None]

    async def test_what_a_killed_worker_held_runs_elsewhere(self, place) -> None:
        """Within the time that its lease gives, once more and no more."""
        async with producer(jobs.queue, place) as backend:
            crews = {crew.pid: crew for crew in (place.start(), place.start())}
            await registered(backend, 2)
            handle = await jobs.pausing.enqueue(1.0)
            first = (await place.begun(1))[0]
            crews[first.pid].signal(signal.SIGKILL)
            killed_at = time.monotonic()
            again = (await place.begun(2))[1]
            assert again.at - killed_at <= REDELIVERY + SLACK
            assert await handle.result(timeout=30) == again.pid != first.pid
            assert sum((await all_finished(backend)).values()) == 1
            assert len(place.entries("begin")) == 2
