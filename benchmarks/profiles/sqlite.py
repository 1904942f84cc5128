"""Where the time of one message goes in a worker on SQLite: a real drain, its parts timed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.guard import Guard
from benchmarks.profiles.parts import TEXT, Line, Stopwatch, Timed, in_the_runner, indented, queue_on, run
from reinhardt_tasks import TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.backends.sqlite import claims
from reinhardt_tasks.backends.sqlite.store import Store


def profile(messages: int, guard: Guard) -> Sequence[Line]:
    """The parts of one drain of `messages` no-op messages by one worker process with 100 slots."""
    with tempfile.TemporaryDirectory(dir=guard.directory) as store:
        return run(_profile(*queue_on(f"sqlite:///{store}/tasks.db"), messages))


async def _profile(queue: TaskQueue, noop: Any, messages: int) -> list[Line]:
    async with queue:
        await queue.enqueue_many(noop.message(number, TEXT) for number in range(messages))
    runner, steps = await in_the_runner(queue, noop)
    spent = Counter[str]()
    places = ((claims, "exchange"), (claims, "settle"), (Store, "begin"), (Store, "commit"))
    with Timed(time.perf_counter, spent, *places), Stopwatch() as watch:
        await Worker(queue, WorkerConfig(concurrency=100)).run(until_idle=True)
    part = {name: 1e6 * seconds / messages for name, seconds in spent.items()}
    wall, loop, process = (1e6 * seconds / messages for seconds in (watch.wall, watch.thread, watch.process))
    return [
        Line("a whole message, wall clock", wall),
        Line("  the event loop's thread, processor time", loop),
        *indented(indented(steps)),
        Line("    slots, exchange, wake-ups", loop - runner),
        Line("  the writer's thread, wall clock", part["exchange"] + part["begin"] + part["commit"]),
        Line("    begin", part["begin"]),
        Line("    settle the last batch", part["settle"]),
        Line("    claim the next, promote, orders", part["exchange"] - part["settle"]),
        Line("    commit, fsync included", part["commit"]),
        Line("  all threads, processor time", process),
    ]
