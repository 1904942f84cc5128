"""pgqueuer on asyncpg: asynchronous, with a bulk call; finished jobs leave a row in a log."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job as Message
from pgqueuer.queries import Queries

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)


async def noop(message: Message) -> None:
    """Say when it ran."""
    _stamp(json.loads(message.payload or b"")["number"])


def _payload(number: int) -> bytes:
    return json.dumps({"number": number, "text": TEXT}).encode()


class PgqueuerProducer:
    """Calls that return once the job is stored."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def put(self, number: int) -> None:
        """Enqueue one job."""
        await self._queries.enqueue("noop", _payload(number))

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` in one call."""
        count = len(numbers)
        await self._queries.enqueue(["noop"] * count, [*map(_payload, numbers)], [0] * count)


@asynccontextmanager
async def producer() -> AsyncIterator[PgqueuerProducer]:
    """A producer with a pool of connections; the first one makes the tables."""
    async with asyncpg.create_pool(_job.address) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        if not await queries.schema_is_installed():
            await queries.install()
        yield PgqueuerProducer(queries)


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """One worker in this process."""
    uvloop.run(_work())


async def _work() -> None:
    connection = await asyncpg.connect(_job.address)
    queue = PgQueuer.from_asyncpg_connection(connection)
    queue.entrypoint("noop")(noop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.shutdown.set)
    await queue.run(**_job.settings["worker"])
    await connection.close()
