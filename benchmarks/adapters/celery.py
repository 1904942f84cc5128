"""Celery: a synchronous library without a bulk call; its results are not stored unless asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
app = Celery("benchmark", broker=_job.address)
app.conf.update(broker_connection_retry_on_startup=True, **_job.settings["conf"])


@app.task
def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


class CeleryProducer:
    """Calls that block until the broker has the message."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        noop.delay(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` one after another."""
        for number in numbers:
            noop.delay(number, TEXT)


@asynccontextmanager
async def producer() -> AsyncIterator[CeleryProducer]:
    """A producer on the application this module made."""
    yield CeleryProducer()
    app.close()


def describe() -> Mapping[str, str]:
    """Nothing beside what the server says."""
    return {}


def worker() -> None:
    """Become Celery's own worker."""
    options = ["--app", f"{__name__}:app", "worker", "--loglevel", "WARNING", *_job.settings["worker"]]
    os.execv(sys.executable, [sys.executable, "-m", "celery", *options])  # noqa: S606
