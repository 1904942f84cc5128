"""Where the time of one message goes on Redis: on its way in, among others and alone, and through a worker."""

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
from urllib.parse import urlsplit

from benchmarks.brokers.redis import Redis, redis
from benchmarks.guard import Guard
from benchmarks.peer import IN_FLIGHT
from benchmarks.profiles.parts import (
    TEXT,
    Line,
    Stopwatch,
    Timed,
    each,
    in_the_runner,
    indented,
    queue_on,
    run,
)
from reinhardt_tasks import TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.backends.redis import lane, wire

_SINGLES = 5_000


def profile(messages: int, guard: Guard) -> Sequence[Line]:
    """The parts of a message on its way in and on its way through a worker process with 100 slots."""
    with (
        tempfile.TemporaryDirectory(dir=guard.directory) as directory,
        redis(guard, Path(directory), "relaxed") as server,
    ):
        return run(_profile(server, messages))


async def _profile(server: Redis, messages: int) -> list[Line]:
    queue, noop = queue_on(server.address)
    async with queue:
        filled = await _filling(server, noop, messages)
        singles = await _singles(server, noop)
    return [*await _draining(server, queue, noop, messages + _SINGLES), *filled, *singles]


@dataclass(frozen=True, slots=True)
class _Costs:
    """Microseconds a message."""

    wall: float
    loop: float  # processor time of the event loop's thread
    process: float
    server: float  # processor time
    scripts: float  # clock of the server
    commands: float  # clock of the server, inside the scripts

    def of_server(self) -> list[Line]:
        """What the server did."""
        return [
            Line("the server, processor time", self.server),
            Line("  its scripts", self.scripts),
            Line("    the commands they call", self.commands),
            Line("    Lua", self.scripts - self.commands),
            Line("  reading, writing, waiting", self.server - self.scripts),
        ]


async def _costs(server: Redis, messages: int, work: Callable[[], Awaitable[object]]) -> _Costs:
    before = (server.reading().cpu_seconds, *server.in_scripts())
    with Stopwatch() as watch:
        await work()
    after = (server.reading().cpu_seconds, *server.in_scripts())
    served = (now - then for now, then in zip(after, before, strict=True))
    return _Costs(*(1e6 * seconds / messages for seconds in (watch.wall, watch.thread, watch.process, *served)))


async def _filling(server: Redis, noop: Any, messages: int) -> list[Line]:
    """A hundred enqueues in flight, all the time."""
    shared = iter(range(messages))

    async def caller() -> None:
        for number in shared:
            await noop.enqueue(number, TEXT)

    async def all_callers() -> None:
        async with asyncio.TaskGroup() as callers:
            for _ in range(IN_FLIGHT):
                callers.create_task(caller())

    spent = Counter[str]()
    with Timed(time.thread_time, spent, (wire, "as_puts"), (lane.Lane, "send")):
        costs = await _costs(server, messages, all_callers)
    building = each(functools.partial(noop.message, 1, TEXT))
    writing, sending = (1e6 * spent[name] / messages for name in ("as_puts", "send"))
    return [
        Line(f"an enqueue, {IN_FLIGHT} in flight, wall clock", costs.wall),
        Line("  the event loop's thread, processor time", costs.loop),
        Line("    make the message", building),
        Line("    write it for the script", writing),
        Line("    send", sending),
        Line("    callers, batches, wake-ups, replies", costs.loop - building - writing - sending),
        *indented(costs.of_server()),
    ]


async def _singles(server: Redis, noop: Any) -> list[Line]:
    """One enqueue after the other."""

    async def one_by_one() -> None:
        for number in range(_SINGLES):
            await noop.enqueue(number, TEXT)

    costs = await _costs(server, _SINGLES, one_by_one)
    way = await _way(server)
    building = each(functools.partial(noop.message, 1, TEXT))
    return [
        Line("an enqueue, alone, wall clock", costs.wall),
        Line("  make the message", building),
        Line("  a PING there and back", way),
        Line("  the script", costs.scripts),
        Line("  the rest", costs.wall - building - way - costs.scripts),
    ]


async def _way(server: Redis) -> float:
    """What it takes to ask the server for nothing, on a connection of asyncio's own."""
    where = urlsplit(server.address)
    answers, asking = await asyncio.open_connection(where.hostname, where.port)

    with Stopwatch() as watch:
        for _ in range(_SINGLES):
            asking.write(b"PING\r\n")
            await answers.readline()
    asking.close()
    return 1e6 * watch.wall / _SINGLES


async def _draining(server: Redis, queue: TaskQueue, noop: Any, messages: int) -> list[Line]:
    """One worker process, everything queued before it starts."""
    runner, steps = await in_the_runner(queue, noop)
    spent = Counter[str]()

    async def work() -> None:
        await Worker(queue, WorkerConfig(concurrency=100)).run(until_idle=True)

    with Timed(time.thread_time, spent, (wire, "outcomes"), (wire, "claims"), (lane.Lane, "send")):
        costs = await _costs(server, messages, work)
    part = {name: 1e6 * seconds / messages for name, seconds in spent.items()}
    own = sum(part.values())
    return [
        Line("a message through a worker, wall clock", costs.wall),
        Line("  the event loop's thread, processor time", costs.loop),
        *indented(indented(steps)),
        Line("    write the outcomes", part["outcomes"]),
        Line("    send", part["send"]),
        Line("    read the claims", part["claims"]),
        Line("    slots, exchange, replies, wake-ups", costs.loop - runner - own),
        Line("  all threads, processor time", costs.process),
        *indented(costs.of_server()),
    ]
