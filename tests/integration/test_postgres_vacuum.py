"""What claims leave behind in PostgreSQL's tables is removed by who claimed, not only when autovacuum comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.backends.postgres.vacuum import AFTER, AT_REST, Vacuum
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, Message, Outcome
from tests.eventually import eventually_async
from tests.servers.postgres import PostgresServer, running

VACUUMS = "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'reinhardt_messages'"
FRONT = """
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT 1 FROM reinhardt_messages WHERE stage = 1 AND queue = 'default' ORDER BY priority DESC, seq LIMIT 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Without autovacuum."""
    with running({"autovacuum": "off", "enable_seqscan": "off", "enable_bitmapscan": "off"}, fsync=False) as started:
        yield started


async def test_a_line_that_ran_empty_is_vacuumed(server):
    """So that the next claim does not pass what is no longer there."""
    async with PostgresBackend(server.url()) as backend:
        await backend.beat(Beat(worker="w", number=1))
        for _ in range(AT_REST // MAX_BATCH):
            await backend.put([Message(id=TaskId.new(), name="n", body=b"b") for _ in range(MAX_BATCH)])
        outcomes: list[Outcome] = []
        for sequence in range(1, AT_REST // MAX_BATCH + 2):
            answer = await backend.exchange("w", outcomes, want=MAX_BATCH, queues=None, sequence=sequence)
            outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]
        assert outcomes == []
        await eventually_async(lambda: server.execute(VACUUMS) == [(1,)])
        plan = "\n".join(line for (line,) in server.execute(FRONT))
        assert "using reinhardt_messages_ready" in plan
        assert int(re.findall(r"shared hit=(\d+)", plan)[0]) < 5, plan


class Runs:
    """Vacuums that take until they are told to end."""

    def __init__(self) -> None:
        self.count = 0
        self.end = asyncio.Event()

    async def run(self) -> None:
        """One more."""
        self.count += 1
        await self.end.wait()


async def settled() -> None:
    """Let what was begun in the background come as far as it does."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_while_more_is_ready_it_takes_many_claims():
    """A vacuum costs more than passing by a few."""
    runs = Runs()
    vacuum = Vacuum(runs.run)
    vacuum.gave(AFTER - 1, at_rest=False)
    await settled()
    assert runs.count == 0
    vacuum.gave(1, at_rest=False)
    await settled()
    assert runs.count == 1
    await vacuum.close()


async def test_one_vacuum_at_a_time():
    """Another one would be in vain."""
    runs = Runs()
    vacuum = Vacuum(runs.run)
    for _ in range(3):
        vacuum.gave(AFTER, at_rest=True)
        await settled()
    assert runs.count == 1
    await vacuum.close()


async def test_a_vacuum_that_fails_is_left_to_autovacuum():
    """Claims go on, and after a rest it is tried again."""
    failures = []

    async def run() -> None:
        failures.append("the server is away")
        raise psycopg.OperationalError(failures[-1])

    vacuum = Vacuum(run)

    def failed_twice() -> bool:
        vacuum.gave(AFTER, at_rest=True)
        return len(failures) > 1

    await eventually_async(failed_twice)
    await vacuum.close()
