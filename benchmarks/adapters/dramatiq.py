"""dramatiq: a synchronous library without a bulk call; its results are not stored unless asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
broker: RabbitmqBroker | RedisBroker
if _job.broker == "rabbitmq":
    broker = RabbitmqBroker(url=_job.address, **_job.settings["queue"])
else:
    broker = RedisBroker(url=_job.address)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


class DramatiqProducer:
    """Calls that block until the broker has the message."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        noop.send(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` one after another."""
        for number in numbers:
            noop.send(number, TEXT)


@asynccontextmanager
async def producer() -> AsyncIterator[DramatiqProducer]:
    """A producer on the broker this module made."""
    yield DramatiqProducer()
    broker.close()


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """Become dramatiq's own worker."""
    command = [sys.executable, "-m", "dramatiq", __name__, *_job.settings["worker"]]
    os.execve(sys.executable, command, {**os.environ, **_job.settings.get("environment", {})})  # noqa: S606
