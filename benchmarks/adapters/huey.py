"""huey on its SqliteHuey or RedisHuey: a synchronous library without a bulk call."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from sqlite3 import sqlite_version

from huey import RedisHuey, SqliteHuey

from benchmarks.adapter import TEXT, Job
from benchmarks.stamps import stamper

_job = Job.from_environment()
_stamp = stamper(_job.stamps)


def _opened() -> SqliteHuey | RedisHuey:
    storage = _job.settings["storage"]
    if _job.broker == "sqlite":
        return SqliteHuey(filename=f"{_job.address}/huey.db", **storage)
    return RedisHuey(url=_job.address, **storage)


queue = _opened()


@queue.task()
def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


class HueyProducer:
    """Calls that block until the message is stored."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        noop(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` one after another."""
        for number in numbers:
            noop(number, TEXT)


@asynccontextmanager
async def producer() -> AsyncIterator[HueyProducer]:
    """A producer on the queue this module opened."""
    yield HueyProducer()
    queue.storage.close()


def describe() -> Mapping[str, str]:
    """SQLite's version, and the pragmas of a connection as huey opens it."""
    if _job.broker != "sqlite":
        return {}
    pragmas = ("journal_mode", "synchronous")
    read = {name: queue.storage.sql(f"pragma {name}", results=True)[0][0] for name in pragmas}
    return {"sqlite": sqlite_version, **{name: str(value) for name, value in read.items()}}


def worker() -> None:
    """Become huey's own consumer, quiet (warnings only)."""
    command = [
        sys.executable,
        "-m",
        "huey.bin.huey_consumer",
        f"{__name__}.queue",
        "--quiet",
        *_job.settings["consumer"],
    ]
    os.execv(sys.executable, command)  # noqa: S606
