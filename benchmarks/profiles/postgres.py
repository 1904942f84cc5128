"""Where the time of one message goes on PostgreSQL: on its way in, in bulk and among others, and through a worker."""

from __future__ import annotations

import asyncio
import functools
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.brokers.postgres import Postgres, postgres
from benchmarks.guard import Guard
from benchmarks.peer import IN_FLIGHT
from benchmarks.profiles.parts import TEXT, Line, Stopwatch, Timed, each, in_the_runner, indented, queue_on, run
from reinhardt_tasks import TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.backends.postgres import exchange, puts


def profile(messages: int, guard: Guard) -> Sequence[Line]:
    """The parts of a message on its way in, half of them in bulk, and on its way through a worker with 100 slots."""
    with (
        tempfile.TemporaryDirectory(dir=guard.directory) as directory,
        postgres(guard, Path(directory), "full") as server,
    ):
        return run(_profile(server, messages))


async def _profile(server: Postgres, messages: int) -> list[Line]:
    queue, noop = queue_on(server.address)
    async with queue:
        bulk = await _in_bulk(server, queue, noop, messages // 2)
        gathered = await _gathered(server, noop, messages - messages // 2)
    return [*await _draining(server, queue, noop, messages), *bulk, *gathered]


@dataclass(frozen=True, slots=True)
class _Costs:
    """Microseconds a message, and bytes of the server's log."""

    wall: float
    loop: float  # processor time of the event loop's thread
    process: float
    server: float  # processor time of all its processes
    log: float

    def of_server(self) -> list[Line]:
        """What the server did."""
        return [Line(f"the server, processor time, for {self.log:.0f} bytes of log", self.server)]


async def _costs(server: Postgres, messages: int, work: Callable[[], Awaitable[object]]) -> _Costs:
    before, log = server.reading().cpu_seconds, server.log_bytes()
    with Stopwatch() as watch:
        await work()
    spent = (watch.wall, watch.thread, watch.process, server.reading().cpu_seconds - before)
    return _Costs(*(1e6 * seconds / messages for seconds in spent), (server.log_bytes() - log) / messages)


async def _in_bulk(server: Postgres, queue: TaskQueue, noop: Any, messages: int) -> list[Line]:
    """`enqueue_many` of all at once."""
    spent = Counter[str]()

    async def put_all() -> None:
        await queue.enqueue_many(noop.message(number, TEXT) for number in range(messages))

    with Timed(time.thread_time, spent, (puts, "pack")):
        costs = await _costs(server, messages, put_all)
    return _on_the_way_in("an enqueue, in bulk", costs, noop, 1e6 * spent["pack"] / messages)


async def _gathered(server: Postgres, noop: Any, messages: int) -> list[Line]:
    """A hundred enqueues in flight, all the time."""
    shared = iter(range(messages))
    spent = Counter[str]()

    async def caller() -> None:
        for number in shared:
            await noop.enqueue(number, TEXT)

    async def all_callers() -> None:
        async with asyncio.TaskGroup() as callers:
            for _ in range(IN_FLIGHT):
                callers.create_task(caller())

    with Timed(time.thread_time, spent, (puts, "pack")):
        costs = await _costs(server, messages, all_callers)
    return _on_the_way_in(f"an enqueue, {IN_FLIGHT} in flight", costs, noop, 1e6 * spent["pack"] / messages)


def _on_the_way_in(what: str, costs: _Costs, noop: Any, packing: float) -> list[Line]:
    building = each(functools.partial(noop.message, 1, TEXT))
    return [
        Line(f"{what}, wall clock", costs.wall),
        Line("  the event loop's thread, processor time", costs.loop),
        Line("    make the message", building),
        Line("    pack it", packing),
        Line("    callers, batches, connection, replies", costs.loop - building - packing),
        *indented(costs.of_server()),
    ]


async def _draining(server: Postgres, queue: TaskQueue, noop: Any, messages: int) -> list[Line]:
    """One worker process, everything queued before it starts."""
    runner, steps = await in_the_runner(queue, noop)
    spent = Counter[str]()

    async def work() -> None:
        await Worker(queue, WorkerConfig(concurrency=100)).run(until_idle=True)

    with Timed(time.thread_time, spent, (exchange, "pack"), (exchange, "unpack")):
        costs = await _costs(server, messages, work)
    part = {name: 1e6 * seconds / messages for name, seconds in spent.items()}
    return [
        Line("a message through a worker, wall clock", costs.wall),
        Line("  the event loop's thread, processor time", costs.loop),
        *indented(indented(steps)),
        Line("    pack the outcomes", part["pack"]),
        Line("    unpack the claims", part["unpack"]),
        Line("    slots, exchange, connection, wake-ups", costs.loop - runner - sum(part.values())),
        Line("  all threads, processor time", costs.process),
        *indented(costs.of_server()),
    ]
