"""A worker at work inside a test, and a backend whose verbs can be made to fail, to hang or to lose their answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Claim,
    ErrorRecord,
    Exchange,
    Orders,
    Outcome,
    Record,
    Report,
    Swept,
)
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.worker import Worker, WorkerConfig
from tests.eventually import NeverError, eventually_async

T = TypeVar("T")
ENDLESS = 1 << 30
"""As often as a fault can be asked for."""


@contextlib.asynccontextmanager
async def at_work(queue: TaskQueue, *, target: str | None = None, **settings: Any) -> AsyncIterator[Worker]:
    """A worker of `queue` in this loop, stopped at the end of the block. What it raises fails the test."""
    worker = Worker(queue, WorkerConfig(**settings), target=target)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)  # it has begun
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(running, 30)


async def work_off(queue: TaskQueue, **settings: Any) -> Worker:
    """A worker that has run all there was to run."""
    worker = Worker(queue, WorkerConfig(**settings))
    await asyncio.wait_for(worker.run(until_idle=True), 30)
    return worker


def claim_of(message: AnyMessage, **facts: Any) -> Claim:
    """The message as a worker gets it."""
    return Claim(message.id, 1, message.body, **facts)


async def outcome_of(queue: TaskQueue, message: AnyMessage, **facts: Any) -> Outcome:
    """What running the message once, without a worker, comes to."""
    return await Runner(queue, values={}).run(claim_of(message, **facts))


def error_in(outcome: Outcome) -> ErrorRecord:
    """The error that an outcome carries."""
    return ErrorRecord.decode(outcome.payload)


async def record_of(queue: TaskQueue, task_id: TaskId) -> Record:
    """The message as its backend knows it."""
    record = (await (await queue.backend()).get([task_id]))[0]
    assert record is not None
    return record


async def awaited(look: Callable[[], Awaitable[T]], *, timeout: float = 20.0) -> T:
    """The first true answer of `await look()`. Raises NeverError when none came within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise NeverError(f"it was still {seen!r} after {timeout:g} s")
        await asyncio.sleep(0.005)


async def reached(queue: TaskQueue, task_id: TaskId, *statuses: TaskStatus) -> Record:
    """The message once it is in one of `statuses`."""

    async def look() -> Record | None:
        record = await record_of(queue, task_id)
        return record if record.status in statuses else None

    record = await awaited(look)
    assert record is not None
    return record


class Faults:
    """What goes wrong with the verbs of a FlakyBackend and its siblings, and what was called.

    `refuse[verb]`: so many more calls fail before anything is done. `lose[verb]`: so many more are done, but their
    answer is lost; of the verbs in `lose_every_other` that of each second call. `break_with[verb]`: every call raises
    this. `gates[verb]`: every call waits for this first; `late[verb]`: every answer does.
    """

    def __init__(self) -> None:
        self.refuse: Counter[str] = Counter()
        self.lose: Counter[str] = Counter()
        self.lose_every_other: set[str] = set()
        self.break_with: dict[str, Exception] = {}
        self.gates: dict[str, threading.Event] = {}
        self.late: dict[str, threading.Event] = {}
        self.calls: Counter[str] = Counter()
        self.exchanges: list[tuple[tuple[Outcome, ...], int, Exchange | None]] = []
        """The outcomes, the claims wanted and the answer of each exchange."""
        self.most_held = 0
        """The most messages that one worker held after an exchange of its own."""
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def around(self, verb: str) -> AsyncIterator[None]:
        """Let `verb` go wrong as asked for."""
        with self._lock:
            self.calls[verb] += 1
            odd = verb in self.lose_every_other and self.calls[verb] % 2
            refused = self._take(self.refuse, verb)
        if verb in self.gates:
            await eventually_async(self.gates[verb].is_set, timeout=60)
        if verb in self.break_with:
            raise self.break_with[verb]
        if refused:
            raise BackendUnavailableError(backend="flaky", place="here")
        yield
        if verb in self.late:
            await eventually_async(self.late[verb].is_set, timeout=60)
        with self._lock:
            lost = self._take(self.lose, verb)
        if lost or odd:
            raise BackendUnavailableError(backend="flaky", place="here")

    @staticmethod
    def _take(counts: Counter[str], verb: str) -> bool:
        if counts[verb] <= 0:
            return False
        counts[verb] -= 1
        return True

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.refuse.clear()
        self.lose.clear()
        self.lose_every_other.clear()
        self.break_with.clear()

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes offered so far, repeats included."""
        return [outcome for outcomes, _, _ in self.exchanges for outcome in outcomes]

    @property
    def claims(self) -> list[Claim]:
        """All claims answered so far, those of lost answers included."""
        return [claim for _, _, answer in self.exchanges if answer is not None for claim in answer.claims]


class FlakyBackend(MemoryBackend):
    """The memory backend behind a bad line."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__() if clock is None else super().__init__(clock=clock)
        self.faults = Faults()

    def sibling(self) -> FlakyBackend:
        other = FlakyBackend()
        other._store, other.faults = self._store, self.faults
        return other

    def steady(self) -> TaskBackend:
        """The same messages over a good line."""
        return super().sibling()

    async def open(self) -> None:
        async with self.faults.around("open"):
            await super().open()

    async def beat(self, beat: Beat) -> Orders:
        async with self.faults.around("beat"):
            return await super().beat(beat)

    async def sweep(self) -> Swept:
        async with self.faults.around("sweep"):
            return await super().sweep()

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        async with self.faults.around("wait"):
            return await super().wait(worker, queues, timeout)

    async def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        *,
        want: int,
        queues: Sequence[str] | None,
        sequence: int,
        reports: Sequence[Report] = (),
        held: Collection[TaskId] | None = None,
    ) -> Exchange:
        index = len(self.faults.exchanges)
        self.faults.exchanges.append((tuple(outcomes), want, None))
        async with self.faults.around("exchange"):
            answer = await super().exchange(
                worker, outcomes, want=want, queues=queues, sequence=sequence, reports=reports, held=held
            )
            self.faults.exchanges[index] = (tuple(outcomes), want, answer)
            held_now = [record.claims for record in await self.workers() if record.beat.worker == worker]
            self.faults.most_held = max([self.faults.most_held, *held_now])
            return answer
