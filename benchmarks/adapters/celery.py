"""Celery: a synchronous library without a bulk call; its results are stored where `results` asks for them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from celery import Celery, chain, chord

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)
app = Celery("benchmark", broker=_job.address, backend=_job.address if _job.settings.get("results") else None)
app.conf.update(broker_connection_retry_on_startup=True, **_job.settings["conf"])


@app.task
def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


@app.task
def link(before: int, number: int, text: str) -> int:  # noqa: ARG001 - what a step of a chain is given
    """Say when it ran, and pass its number on."""
    _stamp(number)
    return number


@app.task
def gather(results: list[None], number: int) -> int:
    """Say when it ran, and how much it was given."""
    _stamp(number)
    return len(results)


class CeleryProducer:
    """Calls that block until the broker has the message."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        noop.delay(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` one after another."""
        for number in numbers:
            noop.delay(number, TEXT)

    async def run_chain(self, numbers: Sequence[int]) -> None:
        """Enqueue a chain, and wait for its result."""
        first, *others = numbers
        steps = chain(link.s(0, first, TEXT), *(link.s(number, TEXT) for number in others))
        steps.apply_async().get()

    async def put_group(self, numbers: Sequence[int], callback: int) -> None:
        """Enqueue a chord."""
        chord(noop.s(number, TEXT) for number in numbers)(gather.s(callback))

    async def ask(self, number: int) -> None:
        """Enqueue one message and wait for its result."""
        noop.delay(number, TEXT).get()


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
