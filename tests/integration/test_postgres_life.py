"""What a message leaves behind in PostgreSQL while its task runs and when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from reinhardt_tasks import RetryStrategy, TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.errors import ExecutionFailedError
from tests.servers.postgres import PostgresServer, running

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state LIKE 'idle in transaction%'"
NUL = "a\0b"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """For the tests of this file."""
    with running() as started:
        yield started


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of a database of this test's own."""
    return server.new_database()


@pytest.fixture
def queue(server: PostgresServer, database: str) -> TaskQueue:
    """A queue there."""
    return TaskQueue(server.url(database))


async def test_no_transaction_is_open_while_a_task_runs(server, database, queue):
    """No session waits in one, whatever else the worker does meanwhile."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    @queue.task
    async def long() -> None:
        begun.set()
        await may_end.wait()

    async with queue:
        handle = await long.enqueue()
        working = asyncio.create_task(Worker(queue, WorkerConfig(lease=3.0)).run(until_idle=True))
        await begun.wait()
        seen = [await asyncio.to_thread(server.execute, _OPEN.format(database)) for _ in range(50)]
        assert seen == [[(0,)]] * 50
        may_end.set()
        await handle.result(timeout=30)
        await working


async def test_what_has_ended_leaves_the_table_that_claims_go_through(server, database, queue):
    """Succeeded, failed or cancelled; none of the rows that are walked along is one of the past."""

    @queue.task(retry=RetryStrategy.no_retry())
    async def divide(one: int, other: int) -> float:
        await asyncio.sleep(0)
        return one / other

    async with queue:
        handles = [await divide.enqueue(1, number % 2) for number in range(20)]
        await handles[0].cancel()
        await Worker(queue).run(until_idle=True)
    rows = server.execute("SELECT count(*) FROM reinhardt_messages", database=database)
    assert rows == [(0,)]
    ended = "SELECT status, count(*) FROM reinhardt_ended GROUP BY status ORDER BY status"
    assert [count for _, count in server.execute(ended, database=database)] == [10, 9, 1]


async def test_a_nul_in_a_text_fails_nothing(queue):
    """PostgreSQL's own texts take none; arguments, results and errors are bytes there."""

    @queue.task(retry=RetryStrategy.no_retry())
    async def echo(text: str) -> str:
        await asyncio.sleep(0)
        return text

    @queue.task(retry=RetryStrategy.no_retry())
    async def fail(text: str) -> None:
        raise ValueError(text)

    async with queue:
        echoed, failed = await echo.enqueue(NUL), await fail.enqueue(NUL)
        await Worker(queue).run(until_idle=True)
        assert await echoed.result(timeout=10) == NUL
        with pytest.raises(ExecutionFailedError, match=NUL):
            await failed.result(timeout=10)
