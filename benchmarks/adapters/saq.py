"""SAQ: asynchronous, without a bulk call; its results are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from saq import Queue
from saq.worker import start

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_AT_ONCE = 100

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
queue = Queue.from_url(_job.address, **_job.settings["queue"])


async def noop(_: Any, *, number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


settings = {"queue": queue, "functions": [noop], **_job.settings["worker"]}


class SaqProducer:
    """Calls that return once the job is stored."""

    async def put(self, number: int) -> None:
        """Enqueue one job."""
        await queue.enqueue("noop", number=number, text=TEXT, **_job.settings["job"])

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers`, many at the same time."""
        for at in range(0, len(numbers), _AT_ONCE):
            await asyncio.gather(*map(self.put, numbers[at : at + _AT_ONCE]))


@asynccontextmanager
async def producer() -> AsyncIterator[SaqProducer]:
    """A producer on the queue this module made."""
    await queue.connect()
    yield SaqProducer()
    await queue.disconnect()


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """Be SAQ's own worker, on uvloop."""
    uvloop.install()
    start(f"{__name__}.settings")
