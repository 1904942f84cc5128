"""What tests do to a queue while something breaks: put load on it, and remember what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Record
from reinhardt_tasks.queue import TaskQueue
from tests.integration.site import Site

T = TypeVar("T")


class Load:
    """Enqueues `size` messages of its own every `pause` seconds, single ones at once, in the running loop.

    A message whose enqueue fails is not tried again: nothing was promised about it, and it may run or not.
    """

    def __init__(
        self, queue: TaskQueue, make: Callable[[], AnyMessage], *, size: int = 20, pause: float = 0.05
    ) -> None:
        self._queue = queue
        self._make = make
        self._size = size
        self._pause = pause
        self._stopping = False
        self.promised: list[TaskId] = []
        """What was acknowledged."""
        self.unsure: list[TaskId] = []
        """What may have arrived or not."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[Load]:
        """On for as long as the block; when it is left, every enqueue has ended."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            self._stopping = True
            await task

    async def _run(self) -> None:
        async for _ in every(self._pause):
            if self._stopping:
                return
            await asyncio.gather(*(self._enqueue(self._make()) for _ in range(self._size)))

    async def _enqueue(self, message: AnyMessage) -> None:
        try:
            await self._queue.enqueue(message)
        except BackendUnavailableError:
            self.unsure.append(message.id)
        else:
            self.promised.append(message.id)


async def every(seconds: float, until: float = float("inf")) -> AsyncIterator[None]:
    """Once in so many seconds, until then (monotonic)."""
    due = time.monotonic()
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield
        due = max(due + seconds, time.monotonic())  # what was missed is not made up for


async def patiently(call: Callable[[], Awaitable[T]], *, timeout: float = 20.0) -> T:
    """What `await call()` gives, called again while its server is away. Raises the last error after `timeout` s."""
    until = time.monotonic() + timeout
    while True:
        try:
            return await call()
        except BackendUnavailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.01)


async def all_records(backend: TaskBackend, ids: Sequence[TaskId]) -> list[Record]:
    """Every message of `ids`; each has to be there."""
    found: list[Record] = []
    for start in range(0, len(ids), MAX_BATCH):
        found += [record for record in await backend.get(ids[start : start + MAX_BATCH]) if record is not None]
    assert len(found) == len(ids)
    return found


def assert_none_begun_after_success(place: Site, records: Sequence[Record], *stages: str) -> None:
    """No run of a message begins when its success is stored."""
    ended = {str(record.id): record.finished_at or 0.0 for record in records}
    wall = time.time() - time.monotonic()
    late = [entry for entry in place.entries(*stages) if entry.at + wall > ended.get(entry.id, 1e12) + 0.05]
    assert late == []


@contextlib.contextmanager
def busy_at_most(share: float, pid: int) -> Generator[None]:
    """Fails where the process keeps more than this share of a core busy during the block."""
    began, spent = time.monotonic(), _cpu_seconds(pid)
    yield
    assert (_cpu_seconds(pid) - spent) / (time.monotonic() - began) <= share


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
