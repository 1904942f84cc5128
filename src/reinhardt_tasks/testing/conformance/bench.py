"""What the author of a backend provides (`Bench`) and what a test plays on (`Stage`, `Hand`)."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from enum import Enum
from typing import Any, TypeVar

import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Claim,
    ErrorRecord,
    Exchange,
    Message,
    Orders,
    Outcome,
    Put,
    Record,
    Report,
    Settled,
    Swept,
)
from reinhardt_tasks.status import TaskStatus

ERROR = ErrorRecord("ValueError", "it went wrong", "Traceback …")
"""The error that runs of the suite end with."""
LONG = 60.0
"""Seconds within which whatever is pushed has come; a wait that takes longer has failed."""


T = TypeVar("T")


class Feature(Enum):
    """What a backend may lack. It then refuses with UnsupportedError, and the suite checks that."""

    DELAYS = "delays"
    UNIQUE_KEYS = "unique keys"
    WORKFLOWS = "workflows"
    SCHEDULES = "schedules"
    LOCKS = "locks"
    RESULTS = "results"
    LISTING = "listing"
    CONNECTIONS = "connections"


class Bench(ABC):
    """One empty store for one test, as the author of a backend provides it.

    A class attribute or an attribute of the instance may be set otherwise:
    `lease` is how long the leases of the suite's workers last, in seconds; with a clock that really waits, make it
    short, but leave a busy machine time for a few steps. `patience` is the longest wait `advance` may be asked for;
    tests that need more are skipped. `lacks` names what the backend refuses. `unstorable` is a payload that the store
    refuses as a datum, where there is such a thing.
    """

    lease: float = 30.0
    patience: float = math.inf
    lacks: Collection[Feature] = ()
    unstorable: bytes | None = None

    @abstractmethod
    def connect(self) -> TaskBackend:
        """A new instance, not opened, on the store of this bench. Called several times, from several threads."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass by the store's clock. A store whose clock can be set sets it; any other really waits."""
        await asyncio.sleep(seconds)


class Hand:
    """A worker of the suite: keeps its numbers, nothing else."""

    def __init__(self, backend: TaskBackend, name: str, lease: float) -> None:
        self.name = name
        self._backend = backend
        self._lease = lease
        self._beats = 0
        self._sequence = 0

    async def beat(self, *, reports: Sequence[Report] = (), leaving: bool = False) -> Orders:
        """Renew the lease."""
        self._beats += 1
        return await self._backend.beat(
            Beat(
                worker=self.name,
                number=self._beats,
                host="conformance",
                lease=self._lease,
                reports=tuple(reports),
                leaving=leaving,
            )
        )

    async def exchange(
        self,
        *outcomes: Outcome,
        want: int = 0,
        queues: Sequence[str] | None = None,
        reports: Sequence[Report] = (),
        held: Collection[TaskId] | None = None,
    ) -> Exchange:
        """One exchange, under the next sequence number."""
        self._sequence += 1
        return await self._backend.exchange(
            self.name, outcomes, want=want, queues=queues, sequence=self._sequence, reports=reports, held=held
        )

    async def claim(self, want: int = 1, queues: Sequence[str] | None = None) -> list[Claim]:
        """What it is given when it asks for `want` messages."""
        return (await self.exchange(want=want, queues=queues)).claims

    async def claim_one(self, queues: Sequence[str] | None = None) -> Claim:
        """The one message there is for it."""
        (claim,) = await self.claim(1, queues)
        return claim

    async def settle(self, *outcomes: Outcome) -> list[Settled]:
        """What the fence says to `outcomes`."""
        return (await self.exchange(*outcomes)).settled

    async def wait(self, timeout: float = LONG, queues: Sequence[str] | None = None) -> bool:
        """`TaskBackend.wait`; fails when that takes longer than it may."""
        async with asyncio.timeout(timeout + LONG):
            return await self._backend.wait(self.name, queues, timeout)


class Stage:
    """One test's backend instances, its workers, and short words for what tests do most."""

    def __init__(self, bench: Bench, closing: contextlib.AsyncExitStack) -> None:
        self.bench = bench
        self.lease = bench.lease
        self._closing = closing
        self._backend: TaskBackend | None = None

    @property
    def moment(self) -> float:
        """A short while by the store's clock, in seconds: one beat interval."""
        return self.lease / 3

    @property
    def backend(self) -> TaskBackend:
        """The first instance."""
        if self._backend is None:
            raise RuntimeError("the stage is not open")
        return self._backend

    async def open(self) -> None:
        """Open the first instance."""
        self._backend = await self.another()

    async def another(self) -> TaskBackend:
        """One more open instance on the same store."""
        return await self._closing.enter_async_context(self.bench.connect())

    async def hand(self, name: str = "w", *, backend: TaskBackend | None = None) -> Hand:
        """A registered worker."""
        hand = self.stranger(name, backend=backend)
        await hand.beat()
        return hand

    def stranger(self, name: str, *, backend: TaskBackend | None = None) -> Hand:
        """A worker that has not registered."""
        return Hand(backend or self.backend, name, self.lease)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` and a little more pass. Skips the test where the bench has not the patience."""
        if seconds > self.bench.patience:
            pytest.skip(f"the clock of this backend cannot be set, and the test would wait for {seconds:g} s")
        await self.bench.advance(seconds + self.moment / 20)

    async def put(self, *messages: AnyMessage) -> list[Put]:
        """Store messages."""
        return await self.backend.put(messages)

    async def put_new(self, count: int = 1, **options: Any) -> list[AnyMessage]:
        """Store `count` fresh messages with these options."""
        made = [message(**options) for _ in range(count)]
        await self.put(*made)
        return made

    async def put_one(self, **options: Any) -> AnyMessage:
        """Store one fresh message with these options."""
        return (await self.put_new(**options))[0]

    async def record(self, item: AnyMessage | TaskId) -> Record:
        """The record of a message that is known."""
        record = (await self.backend.get((_id(item),)))[0]
        assert record is not None
        return record

    async def status(self, item: AnyMessage | TaskId) -> TaskStatus:
        """The status of a message that is known."""
        return (await self.record(item)).status

    async def statuses(self, *items: AnyMessage | TaskId) -> list[TaskStatus]:
        """The statuses of messages that are known."""
        return [await self.status(item) for item in items]

    async def error(self, item: AnyMessage | TaskId) -> ErrorRecord:
        """The error stored with a message."""
        raw = (await self.record(item)).error
        assert raw is not None
        return ErrorRecord.decode(raw)

    async def sweep(self) -> Swept:
        """One sweep."""
        return await self.backend.sweep()

    async def lose(self, *hands: Hand) -> None:
        """Let the lease of every worker run out but those in `hands`, and rescue what the dead held."""
        for wait in (self.lease * 2 / 3, self.lease / 2):
            await self.advance(wait)
            for hand in hands:
                await hand.beat()
            await self.sweep()


async def underway(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """`work` as a task that has begun. How far it came does not matter to what is promised."""
    task = asyncio.create_task(work)
    for _ in range(10):
        await asyncio.sleep(0)
    return task


def message(name: str = "conformance.task", **options: Any) -> AnyMessage:
    """A fresh message of a task called `name`."""
    id = TaskId.new()
    return Message(id=id, name=name, body=b"body of " + id, **options)


def _id(item: AnyMessage | TaskId) -> TaskId:
    return item if isinstance(item, TaskId) else item.id


def ids(items: Sequence[AnyMessage | Claim | Record | Put]) -> list[TaskId]:
    """The ids of messages, claims or records, in order."""
    return [item.id for item in items]


Play = Callable[[Any, Stage], Awaitable[None]]


def promise(*needs: Feature) -> Callable[[Play], Callable[[Any, Bench], None]]:
    """Make a test of a coroutine that plays on a stage; it is skipped where the backend lacks what it `needs`."""

    def decorate(play: Play) -> Callable[[Any, Bench], None]:
        @functools.wraps(play)
        def test(suite: Any, bench: Bench) -> None:
            for feature in needs:
                if feature in bench.lacks:
                    pytest.skip(f"this backend has no {feature.value}")
            asyncio.run(_run(play, suite, bench))

        del test.__wrapped__  # pytest looks there for the names of fixtures
        return test

    return decorate


async def _run(play: Play, suite: object, bench: Bench) -> None:
    async with contextlib.AsyncExitStack() as closing:
        stage = Stage(bench, closing)
        await stage.open()
        async with asyncio.timeout(5 * LONG):
            await play(suite, stage)
