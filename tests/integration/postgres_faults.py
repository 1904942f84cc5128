"""What the PostgreSQL backend survives beside what all do: ended sessions, a killed worker, a forgotten transaction."""

from __future__ import annotations

import asyncio
import signal
import time

import psycopg
import pytest

from reinhardt_tasks.backends.postgres.elders import EVERY, OLD
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import Beat, Outcome
from tests.integration.apps import jobs
from tests.integration.load import Load, every
from tests.integration.server_faults import ServerFaults, a_job, all_at_work, nothing_lost
from tests.integration.site import REDELIVERY, all_finished, producer, registered
from tests.servers.postgres import PostgresServer

SLACK = 2.0
"""Seconds a shared machine may stall in the middle of a measurement."""
RATE = 500
"""Messages a second."""
BATCH = 25
_END_ALL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
)


class PostgresFaults(ServerFaults):
    """See ServerFaults."""

    terminating = 3.0
    forgotten = 5.0
    stall = 0.2
    """Seconds that the slowest claims may take beyond what is promised, where others use the machine too."""

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

    async def test_a_transaction_that_stays_open_does_not_hold_up_claims(self, server, place) -> None:
        """At 500 messages a second 99 % take 50 ms at most, though no dead row goes; a worker names the session, once.

        It does so once the transaction is half a minute old.
        """
        async with producer(jobs.queue, place) as backend:
            place.start("--queues", "idle")
            await registered(backend, 1)
            with psycopg.connect(server.url()) as forgetful:
                forgetful.execute("SELECT txid_current()")
                pid = forgetful.info.backend_pid
                loading = asyncio.create_task(enqueue_steadily(self.forgotten))
                took = await claim_all(backend, round(RATE * self.forgotten / BATCH) * BATCH)
                await loading
            late = took[round(0.99 * (len(took) - 1))]
            print(f"claims={len(took)} p50={took[len(took) // 2]:.4f} p99={late:.4f} max={took[-1]:.4f}")  # noqa: T201
            assert late <= 0.05 + self.stall
            assert place.logs().count(f"transaction_open session={pid} ") == (self.forgotten > OLD + EVERY)


async def enqueue_steadily(seconds: float) -> None:
    """`RATE` messages a second; what a stall has kept back follows at once."""
    began = time.monotonic()
    for number in range(round(RATE * seconds / BATCH)):
        await asyncio.sleep(max(0.0, began + number * BATCH / RATE - time.monotonic()))
        await jobs.queue.enqueue_many(jobs.nothing.message(one) for one in range(BATCH))


async def claim_all(backend: TaskBackend, total: int) -> list[float]:
    """Claim and settle so many messages; the seconds of each call, the longest last."""
    await backend.beat(Beat(worker="measured", number=1, lease=600.0))
    took: list[float] = []
    outcomes: list[Outcome] = []
    while total > 0:
        await backend.wait("measured", None, 0.0 if outcomes else 1.0)
        began = time.monotonic()
        answer = await backend.exchange("measured", outcomes, want=100, queues=None, sequence=len(took) + 1)
        took.append(time.monotonic() - began)
        total -= len(outcomes)
        outcomes = [Outcome.success(claim, b"") for claim in answer.claims]
    return sorted(took)
