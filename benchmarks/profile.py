"""Where the time of one message goes in a worker on SQLite: a real drain, its parts timed, in microseconds a message.

The parts inside an exchange are timed where they happen, once per exchange; those of a single message, which cost less
than a clock does, are timed apart, many in a row, on the same objects.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from reinhardt_tasks import TaskQueue, Worker, WorkerConfig
from reinhardt_tasks.backends.sqlite import claims
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.message import Claim, decode_envelope
from reinhardt_tasks.runner import Runner

TEXT = "x" * 100
ROUNDS = 50_000


class Line(NamedTuple):
    """One line of the table: a part and what it costs, in microseconds a message."""

    part: str
    microseconds: float


def profile(messages: int, directory: Path) -> list[Line]:
    """The parts of one drain of `messages` no-op messages by one worker process with 100 slots."""
    with tempfile.TemporaryDirectory(dir=directory) as store:
        queue = TaskQueue(f"sqlite:///{store}/tasks.db")

        @queue.task(name="noop")
        async def noop(number: int, text: str) -> None:
            """Does nothing."""

        return _run(_profile(queue, noop, messages))


async def _profile(queue: TaskQueue, noop: Any, messages: int) -> list[Line]:
    async with queue:
        await queue.enqueue_many(noop.message(number, TEXT) for number in range(messages))
    alone = await _one_message(queue, noop)
    spent = Counter[str]()
    with _timed(spent):
        began, loop, process = time.perf_counter(), time.thread_time(), time.process_time()
        await Worker(queue, WorkerConfig(concurrency=100)).run(until_idle=True)
        wall, loop, process = time.perf_counter() - began, time.thread_time() - loop, time.process_time() - process
    part = {name: 1e6 * seconds / messages for name, seconds in spent.items()}
    wall, loop, process = (1e6 * seconds / messages for seconds in (wall, loop, process))
    return [
        Line("a whole message, wall clock", wall),
        Line("  the event loop's thread, processor time", loop),
        *(Line(f"    {name}", cost) for name, cost in alone.items() if name != "the runner"),
        Line("    the rest of the runner", alone["the runner"] - sum(alone.values()) + alone["the runner"]),
        Line("    slots, exchange, wake-ups", loop - alone["the runner"]),
        Line("  the writer's thread, wall clock", part["exchange"] + part["begin"] + part["commit"]),
        Line("    begin", part["begin"]),
        Line("    settle the last batch", part["settle"]),
        Line("    claim the next, promote, orders", part["exchange"] - part["settle"]),
        Line("    commit, fsync included", part["commit"]),
        Line("  all threads, processor time", process),
    ]


async def _one_message(queue: TaskQueue, noop: Any) -> dict[str, float]:
    """What the runner's steps cost, each timed alone."""
    message = noop.message(1, TEXT)
    claim = Claim(message.id, 1, message.body)
    runner = Runner(queue, values={})
    envelope = decode_envelope(message.body)
    return {
        "open and decode the envelope": _each(lambda: decode_envelope(queue.seal.open(message.body))),
        "decode the arguments": _each(functools.partial(noop.arguments.decode, envelope.a)),
        "encode the result": _each(functools.partial(noop.returns.encode, None)),
        "the runner": await _each_awaited(functools.partial(runner.run, claim)),
    }


def _each(step: Callable[[], object]) -> float:
    """Microseconds of one call."""
    began = time.perf_counter()
    for _ in range(ROUNDS):
        step()
    return 1e6 * (time.perf_counter() - began) / ROUNDS


async def _each_awaited(step: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of one awaited call."""
    began = time.perf_counter()
    for _ in range(ROUNDS):
        await step()
    return 1e6 * (time.perf_counter() - began) / ROUNDS


class _timed:  # noqa: N801 - reads as what it does
    """`with _timed(spent)`: the steps of every exchange add the seconds they take to `spent`, by their names."""

    def __init__(self, spent: Counter[str]) -> None:
        self._spent = spent
        self._places: list[tuple[Any, str]] = [
            (claims, "exchange"),
            (claims, "settle"),
            (Store, "begin"),
            (Store, "commit"),
        ]
        self._originals = [getattr(owner, name) for owner, name in self._places]

    def __enter__(self) -> None:
        for (owner, name), original in zip(self._places, self._originals, strict=True):
            setattr(owner, name, self._watched(name, original))

    def __exit__(self, *raised: object) -> None:
        for (owner, name), original in zip(self._places, self._originals, strict=True):
            setattr(owner, name, original)

    def _watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._spent[name] += time.perf_counter() - began

        return watched


def _run(main: Any) -> Any:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
