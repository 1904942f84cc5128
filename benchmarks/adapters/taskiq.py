"""taskiq on Redis streams or aio-pika: asynchronous, without a bulk call; no results are stored unless asked for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import RedisStreamBroker

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_AT_ONCE = 100

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
broker: AioPikaBroker | RedisStreamBroker
if _job.broker == "rabbitmq":
    broker = AioPikaBroker(_job.address, **_job.settings["queue"])
else:
    broker = RedisStreamBroker(_job.address)


@broker.task
async def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


class TaskiqProducer:
    """Calls that return once the broker has the message."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        await noop.kiq(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers`, many at the same time."""
        for start in range(0, len(numbers), _AT_ONCE):
            await asyncio.gather(*map(self.put, numbers[start : start + _AT_ONCE]))


@asynccontextmanager
async def producer() -> AsyncIterator[TaskiqProducer]:
    """A producer on the broker this module made."""
    await broker.startup()
    yield TaskiqProducer()
    await broker.shutdown()


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """Become taskiq's own worker."""
    options = [f"{__name__}:broker", "--log-level", "WARNING", *_job.settings["worker"]]
    os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", *options])  # noqa: S606
