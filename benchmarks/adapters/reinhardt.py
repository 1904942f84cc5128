"""This project, through its public door: an async task, its status and result stored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlencode

from benchmarks.adapter import TEXT, Job
from benchmarks.claim_cost import claim_costs
from benchmarks.stamps import stamper
from reinhardt_tasks import TaskChainBuilder, TaskGroup, TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.backends import connect
from reinhardt_tasks.contract import TaskBackend

_job = Job.from_environment()
_stamp = stamper(_job.stamps)


def _sqlite(name: str, **options: str) -> str:
    return f"sqlite:///{_job.address}/{name}.db?{urlencode(options)}"


def _redis(name: str, **options: str) -> str:
    return f"{_job.address}?{urlencode({'prefix': f'{name}:', **options})}"


def _postgres(name: str, **options: str) -> str:
    return f"{_job.address}?{urlencode({'table_prefix': f'{name}_', **options})}"


_PLACES: Mapping[str, Callable[..., str]] = {"sqlite": _sqlite, "redis": _redis, "postgres": _postgres}
_URL = _PLACES[_job.broker]("tasks", **_job.settings.get("options", {}))
queue = TaskQueue(_URL)


@queue.task
async def noop(number: int, text: str) -> None:  # noqa: ARG001 - the text is the payload
    """Say when it ran."""
    _stamp(number)


@queue.task
async def link(before: int, number: int, text: str) -> int:  # noqa: ARG001 - what a step of a chain is given
    """Say when it ran, and pass its number on."""
    _stamp(number)
    return number


@queue.task
async def gather(results: list[None], number: int) -> int:
    """Say when it ran, and how much it was given."""
    _stamp(number)
    return len(results)


class ReinhardtProducer:
    """Calls that return once the message is stored at the durability asked for."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""
        await noop.enqueue(number, TEXT)

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue `numbers` in one call."""
        await queue.enqueue_many(noop.message(number, TEXT) for number in numbers)

    async def run_chain(self, numbers: Sequence[int]) -> None:
        """Enqueue a chain, and wait for its result."""
        first, *others = numbers
        steps = TaskChainBuilder().add(link.message(0, first, TEXT)).add_all(link.step(one, TEXT) for one in others)
        handle = await queue.enqueue(steps.build())
        await handle.result()

    async def put_group(self, numbers: Sequence[int], callback: int) -> None:
        """Enqueue a group with its callback."""
        await queue.enqueue(TaskGroup((noop.message(number, TEXT) for number in numbers), gather.step(callback)))

    async def ask(self, number: int) -> None:
        """Enqueue one message and wait for its result."""
        await (await noop.enqueue(number, TEXT)).result()


@asynccontextmanager
async def producer() -> AsyncIterator[ReinhardtProducer]:
    """A producer on the queue this module made."""
    async with queue:
        yield ReinhardtProducer()


@contextmanager
def put_now() -> Iterator[Callable[[int], object]]:
    """Enqueues from plain synchronous code."""
    yield lambda number: noop.enqueue_sync(number, TEXT)


def body() -> int:
    """Bytes of the sealed envelope of one message."""
    return len(noop.message(0, TEXT).body)


def describe() -> Mapping[str, str]:
    """What the backend says of itself."""
    return asyncio.run(_checked())


async def _checked() -> Mapping[str, str]:
    async with connect(_URL) as backend:
        return await backend.check()


def worker() -> None:
    """One worker in this process."""
    Worker(queue, WorkerConfig(**_job.settings["worker"])).run_sync()


_HASTY = {"sqlite": {"durability": "normal"}, "postgres": {"options": "-csynchronous_commit=off"}}


async def claims(*, backlog: int, rounds: int) -> Mapping[str, list[float]]:
    """See `claim_costs`. No commit waits for the disk where that can be asked for: its part would hide growth."""
    options = _HASTY.get(_job.broker, {})

    def store(name: str) -> TaskBackend:
        return connect(_PLACES[_job.broker](name, **options))

    def filled() -> None:
        if _job.broker == "postgres":
            _analyze()
        os.sync()

    return await claim_costs(store, noop.message(0, TEXT), filled, backlog=backlog, rounds=rounds)


def _analyze() -> None:
    """Let the planner know what the tables hold, as it does by itself within a minute."""
    import psycopg  # noqa: PLC0415 - only this broker needs it

    with psycopg.connect(_job.address, autocommit=True) as connection:
        connection.execute("ANALYZE")
