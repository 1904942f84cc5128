"""One open backend per event loop: opened at first use, closed with the loop, made anew in a forked child."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from typing import Final

from reinhardt_tasks.coalesce import Coalescer
from reinhardt_tasks.contract import TaskBackend


class Connection:
    """An open backend, and the coalescer of the single enqueues that go through it. For one loop of one process."""

    __slots__ = ("_closed", "backend", "coalescer", "keeper", "pid", "users")

    def __init__(self, backend: TaskBackend) -> None:
        self.backend: Final = backend
        self.coalescer: Final = Coalescer(backend.put, trips=2 if backend.remote else 1)
        self.pid: Final = os.getpid()
        self.users = 0
        """How many `async with` hold it open."""
        self._closed = False
        self.keeper = self._until_closed()

    async def _until_closed(self) -> AsyncGenerator[None, None]:
        """Closes the backend when it is closed itself: by `close`, or by the loop, which ends its async generators."""
        try:
            yield
        finally:
            self._closed = True
            await self.coalescer.settled()
            await self.backend.close()

    async def open(self) -> None:
        """Connect, and let the loop know what to close at its end."""
        await self.backend.open()
        await anext(self.keeper)

    async def close(self) -> None:
        """Wait for what is under way, then let go."""
        await self.keeper.aclose()

    async def abandon(self) -> None:
        """Let go in place of the loop this belongs to, which has ended; as far as the backend can do that elsewhere."""
        if not self._closed:
            with contextlib.suppress(Exception):
                await self.backend.close()


class Connections:
    """The connections to one place, by event loop. `make` gives an unopened backend for a loop."""

    def __init__(self, make: Callable[[], TaskBackend]) -> None:
        self._make = make
        # A forked child finds its parent's connections here. They stay, untouched: to close or even collect them would
        # close the parent's.
        self._open: dict[asyncio.AbstractEventLoop, Connection] = {}
        self._parents: list[Connection] = []
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[Connection]] = {}

    def ready(self) -> Connection | None:
        """The running loop's connection, if it is open already."""
        connection = self._open.get(asyncio.get_running_loop())
        return connection if connection is not None and connection.pid == os.getpid() else None

    async def connection(self) -> Connection:
        """The running loop's connection, opened if need be. All who wait for it get the error it raises."""
        ready = self.ready()
        if ready is not None:
            return ready
        loop = asyncio.get_running_loop()
        opening = self._opening.get(loop)
        if opening is None:
            # In a context and a task of its own: whoever came first may be cancelled, the others still want it.
            opening = self._opening[loop] = loop.create_task(self._opened(loop), context=Context())
            opening.add_done_callback(_look_at)
        return await asyncio.shield(opening)

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> Connection:
        try:
            await self._close_ended_loops()
            connection = Connection(self._make())
            await connection.open()
            if loop in self._open:
                self._parents.append(self._open[loop])
            self._open[loop] = connection
            return connection
        finally:
            del self._opening[loop]

    async def _close_ended_loops(self) -> None:
        """Close what loops left open that were closed by themselves, not by `asyncio.run`; as far as that goes now."""
        for loop, connection in list(self._open.items()):  # a copy, as other threads open theirs meanwhile
            if loop.is_closed() and connection.pid == os.getpid() and self._open.pop(loop, None) is not None:
                await connection.abandon()

    async def close(self) -> None:
        """Close the running loop's connection, if there is one."""
        connection = self.ready()
        if connection is not None:
            del self._open[asyncio.get_running_loop()]
            await connection.close()


def _look_at(opening: asyncio.Task[Connection]) -> None:
    """Take note of an error that nobody waits for any more, so that asyncio does not report it at exit."""
    if not opening.cancelled():
        opening.exception()
