"""procrastinate: asynchronous, with a bulk call; a job's row stays with its status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import uvloop
from procrastinate import App, PsycopgConnector

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
app = App(connector=PsycopgConnector(conninfo=_job.address))


@app.task
async def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


class ProcrastinateProducer:
    """Calls that return once the job is stored."""

    async def put(self, number: int) -> None:
        """Enqueue one job."""
        await noop.defer_async(number=number, text=TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` in one call."""
        await noop.batch_defer_async(*({"number": number, "text": TEXT} for number in numbers))


@asynccontextmanager
async def producer() -> AsyncIterator[ProcrastinateProducer]:
    """A producer on the app this module made; the first one makes the tables."""
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        yield ProcrastinateProducer()


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """One worker in this process."""
    uvloop.run(_work())


async def _work() -> None:
    async with app.open_async():
        await app.run_worker_async(**_job.settings["worker"])
