"""Who waits for what within one instance, and what others send by NOTIFY: at most so often, and never needed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Final

import psycopg
from psycopg import AsyncConnection

from reinhardt_tasks.backends.postgres.line import Row, connect
from reinhardt_tasks.backends.postgres.place import Place
from reinhardt_tasks.backends.postgres.statements import quoted
from reinhardt_tasks.identity import TaskId

APART: Final = 0.1
"""Seconds between two notifications of one topic by one instance."""
ANY_QUEUE: Final = "q:"
ENDS: Final = "e"
SCHEDULES: Final = "s"
_SHARES: Final = 16
_RECONNECT: Final = 1.0
_ON_THE_WAY: Final = 0.03
"""Seconds that a notification may take."""
_REMEMBERED: Final = 1000
"""Of so many topics the last ring is remembered, before those of long ago are forgotten."""


def queue(name: str) -> str:
    """The topic of what becomes ready in a queue."""
    return f"q:{name}"


def worker(name: str) -> str:
    """The topic of orders to a worker."""
    return f"w:{name}"


def result(task_id: TaskId) -> str:
    """The topic of stored results. One of a few: each rings elsewhere only so often, however many are stored."""
    return f"r:{task_id[-1] % _SHARES}"


def record(task_id: TaskId) -> str:
    """The topic of records of tasks that have finished or are deleted, as `result`."""
    return f"m:{task_id[-1] % _SHARES}"


class Bell:
    """Wakes those of one instance who wait for a topic."""

    def __init__(self) -> None:
        self._sleepers: dict[str, set[asyncio.Event]] = {}
        self._heard_at: dict[str, float] = {}

    @contextlib.contextmanager
    def listening(self, topics: Iterable[str]) -> Generator[asyncio.Event]:
        """An event that is set when one of `topics` rings."""
        event = asyncio.Event()
        wanted = tuple(topics)
        for topic in wanted:
            self._sleepers.setdefault(topic, set()).add(event)
        try:
            yield event
        finally:
            for topic in wanted:
                others = self._sleepers[topic]
                others.discard(event)
                if not others:
                    del self._sleepers[topic]

    def ring(self, topics: Iterable[str]) -> None:
        """Wake who waits for one of `topics`."""
        for topic in topics:
            self._wake(topic)
            if topic.startswith(ANY_QUEUE):
                self._wake(ANY_QUEUE)

    def heard(self, topic: str) -> None:
        """Another instance rang; what it rings next it may hold back for a while."""
        now = time.monotonic()
        if len(self._heard_at) >= _REMEMBERED:
            self._heard_at = {each: at for each, at in self._heard_at.items() if now - at < APART + _ON_THE_WAY}
        self._heard_at[topic] = now
        if topic.startswith(ANY_QUEUE):
            self._heard_at[ANY_QUEUE] = now
        self.ring((topic,))

    def holds_back(self, topics: Iterable[str]) -> bool:
        """Whether a ring of one of `topics` may be held back elsewhere, since one was heard just now."""
        since = time.monotonic() - APART - _ON_THE_WAY
        return any(self._heard_at.get(topic, since) > since for topic in topics)

    def ring_all(self) -> None:
        """Wake everybody: what happened meanwhile is not known."""
        for topic in list(self._sleepers):
            self._wake(topic)

    def _wake(self, topic: str) -> None:
        for event in self._sleepers.get(topic, ()):
            event.set()


class Ringer:
    """Tells other instances what rang here, in short transactions of their own."""

    def __init__(self, bell: Bell, send: Callable[[list[str]], Awaitable[None]] | None) -> None:
        self._bell = bell
        self._send = send
        self._resting: set[str] = set()
        self._again: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()

    def ring(self, topics: Iterable[str]) -> None:
        """Ring `topics` here and elsewhere; one that rang elsewhere just now rings there once more in a while."""
        told = set(topics)
        self._bell.ring(told)
        if self._send is None or not told:
            return
        self._again |= told & self._resting
        fresh = told - self._resting
        if fresh:
            self._resting |= fresh
            task = asyncio.get_running_loop().create_task(self._tell(self._send, fresh))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _tell(self, send: Callable[[list[str]], Awaitable[None]], topics: set[str]) -> None:
        while topics:
            await send(sorted(topics))
            await asyncio.sleep(APART)
            self._resting -= topics
            topics = topics & self._again
            self._again -= topics
            self._resting |= topics

    async def close(self) -> None:
        """Tell what is left to tell, and stop."""
        left, self._again = self._again, set()
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._send is not None and left:
            await self._send(sorted(left))


class Listener:
    """Hears what others tell, on a connection of its own. While that is down, those who wait look by themselves."""

    def __init__(self, place: Place, channel: str, bell: Bell) -> None:
        self._place = place
        self._channel = channel
        self._bell = bell
        self._task: asyncio.Task[None] | None = None
        self.hears = False
        """Whether what others tell arrives."""

    def start(self) -> None:
        """Listen from now on."""
        if self._task is None and self._place.notify:
            self._task = asyncio.get_running_loop().create_task(self._keep_listening())

    async def _keep_listening(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                connection = await connect(self._place.listening_parameters())
                try:
                    await self._listen(connection)
                finally:
                    await connection.close()
            await asyncio.sleep(_RECONNECT)

    async def _listen(self, connection: AsyncConnection[Row]) -> None:
        await connection.execute(f"LISTEN {quoted(self._channel)}".encode())
        self.hears = True
        self._bell.ring_all()
        try:
            async for told in connection.notifies():
                self._bell.heard(told.payload)
        finally:
            self.hears = False

    async def close(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
