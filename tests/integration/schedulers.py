"""Scheduler processes on one backend, and what they have fired."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Record
from tests.integration.apps import clockwork
from tests.integration.redis_faults import DURABLE
from tests.integration.site import Crew, Site, producer, site
from tests.integration.test_worker_surroundings import Clock
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.workshop import awaited

TARGET = "tests.integration.apps.clockwork:queue"
BACKENDS = ("sqlite", "redis", "postgres")
"""The backends on which schedulers are tried; each name is one that `tower` knows."""
LAG = 1.0
"""Seconds after its moment within which a firing is stored while a scheduler lives."""


class Tower:
    """Schedulers of one test on one backend."""

    def __init__(self, place: Site, backend: TaskBackend, broker: RedisServer | PostgresServer | Clock | None) -> None:
        self.place = place
        self.backend = backend
        self.crews: list[Crew] = []
        self._broker = broker
        self._ahead = 0.0

    @property
    def server(self) -> RedisServer | PostgresServer:
        """The broker, where it is a server."""
        assert isinstance(self._broker, RedisServer | PostgresServer)
        return self._broker

    def advance(self, seconds: float) -> None:
        """Move the broker's clock; where it has none, that of the schedulers. A tower with a `clock` can do this."""
        self._ahead += seconds
        if isinstance(self._broker, Clock):
            self._broker.shift(self._ahead)
        else:
            self.server.advance(seconds)

    def start(self, environment: Mapping[str, str] | None = None) -> Crew:
        """One more scheduler."""
        own = self._broker.environment if isinstance(self._broker, Clock) else {}
        crew = self.place.run("-m", "reinhardt_tasks", "scheduler", TARGET, environment={**own, **(environment or {})})
        self.crews.append(crew)
        return crew

    def working(self) -> list[Crew]:
        """Those that have begun."""
        return [crew for crew in self.crews if crew.process.poll() is None and "scheduler_started" in crew.log()]

    async def all_working(self) -> None:
        """Wait until every one that was started has begun."""

        async def look() -> bool:
            await asyncio.sleep(0.02)
            return len(self.working()) == len(self.crews)

        await awaited(look, timeout=60)

    def kill(self, crew: Crew) -> None:
        """As a crash would."""
        crew.signal(signal.SIGKILL)
        crew.ended()
        self.crews.remove(crew)

    async def kill_some(self, seconds: float, every: float) -> int:
        """For so long, kill one of those that work once in a while, and start another; one is always left alive."""
        killed, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(every)
            working = self.working()
            if len(working) > 1:
                self.kill(random.choice(working))  # noqa: S311 - chaos
                self.start()
                killed += 1
        return killed

    async def fired(self, task: str = "tick") -> list[Record]:
        """Every message of a task, by the moment it was due."""
        found: list[Record] = []
        before: TaskId | None = None
        while True:
            page = await self.backend.find(task=task, before=before, limit=MAX_PAGE)
            found += page
            if len(page) < MAX_PAGE:
                return sorted(found, key=lambda record: record.run_at or 0.0)
            before = page[-1].id

    async def count(self, task: str, at_least: int, *, timeout: float = 30.0) -> list[Record]:
        """What was fired, once there is so much of it."""

        async def look() -> list[Record] | None:
            found = await self.fired(task)
            await asyncio.sleep(0.01)
            return found if len(found) >= at_least else None

        found = await awaited(look, timeout=timeout)
        assert found is not None
        return found


def lags(records: list[Record]) -> list[float]:
    """How long after its moment each firing was stored, by the broker's clock, the longest last."""
    return sorted(record.created_at - (record.run_at or 0.0) for record in records)


def dues(records: list[Record]) -> list[float]:
    """The moments that were fired."""
    return [record.run_at or 0.0 for record in records]


def assert_each_second_once(records: list[Record]) -> None:
    """From the first to the last."""
    found = dues(records)
    assert found == [found[0] + number for number in range(len(found))]


@contextlib.asynccontextmanager
async def tower(kind: str, directory: Path, *, clock: bool = False, durable: bool = False) -> AsyncIterator[Tower]:
    """A place for schedulers; they are gone in the end. With a `clock`, time can be moved there.

    A `durable` one has on disk what it answers for.
    """
    with contextlib.ExitStack() as closing:
        broker = _broker(kind, directory, closing, clock=clock, durable=durable)
        url = broker.url() if isinstance(broker, RedisServer | PostgresServer) else None
        place = closing.enter_context(site(directory, url))
        async with producer(clockwork.queue, place) as backend:
            yield Tower(place, backend, broker)


def _broker(
    kind: str, directory: Path, closing: contextlib.ExitStack, *, clock: bool, durable: bool
) -> RedisServer | PostgresServer | Clock | None:
    match kind:
        case "redis":
            return closing.enter_context(RedisServer(DURABLE if durable else {}, clock=clock))
        case "postgres":
            return closing.enter_context(PostgresServer(fsync=durable, clock=clock))
        case _:
            return Clock(directory / "clock", 0) if clock else None


async def survive(kind: str, directory: Path, *, seconds: float, every: float) -> tuple[list[Record], int]:
    """What three schedulers have fired while one is killed now and then, and how often one was."""
    async with tower(kind, directory) as high:
        for _ in range(3):
            high.start()
        await high.all_working()
        await high.count("tick", 1)
        killed = await high.kill_some(seconds, every)
        records = await high.count("tick", int(seconds))
        return records, killed
