"""What every class that works on a database has: its place, its engine while it is open, and waiting to be told."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from reinhardt_tasks.backends.postgres.engine import Engine
from reinhardt_tasks.backends.postgres.faults import NAME
from reinhardt_tasks.backends.postgres.place import Options, Place, parse_url
from reinhardt_tasks.backends.postgres.watch import Patience
from reinhardt_tasks.errors import BackendError

T = TypeVar("T")


class OnDatabase:
    """An instance on the database at `url`, with the options given and those in its query; see PostgresBackend."""

    def __init__(self, url: str, options: Options) -> None:
        self._place = parse_url(url, Place("", **options))
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._place)!r}, table_prefix={self._place.table_prefix!r})"

    async def _open_database(self) -> None:
        """Connect. Creates the tables, or brings them up to this version, where that is needed and allowed."""
        async with self._opening:
            if self._running is None:
                engine = Engine(self._place)
                await engine.open()
                self._engine = engine

    async def _close_database(self) -> None:
        """End the engine. What was asked for before is finished first; who waits is told."""
        engine, self._engine = self._running, None
        self._opening = asyncio.Lock()  # it may be opened again under another loop
        if engine is not None:
            engine.bell.ring_all()
            await engine.close()

    def _unopened(self) -> Self:
        """A copy that is not open."""
        other = copy.copy(self)
        other._engine = None  # noqa: SLF001 - the copy's own
        other._opening = asyncio.Lock()  # noqa: SLF001
        return other

    @property
    def _running(self) -> Engine | None:
        """The open engine of this process; one that was inherited from a parent is none."""
        engine = self._engine
        return engine if engine is not None and engine.pid == os.getpid() else None

    @property
    def _open_engine(self) -> Engine:
        engine = self._running
        if engine is None:
            raise BackendError(
                f"{type(self).__name__} for {self._place} is not open in this process: use `async with` or call "
                "open() first, after a fork again.",
                backend=NAME,
                place=str(self._place),
            )
        return engine

    async def _told(self, topic: str, look: Callable[[], Awaitable[T | None]], timeout: float | None) -> T | None:
        """What `look()` answers once that is not None; None after `timeout` seconds. Looks anew when `topic` rings.

        Raises BackendError where the instance is closed meanwhile.
        """
        engine, patience = self._open_engine, Patience(timeout)
        engine.listener.start()
        with engine.bell.listening([topic]) as ring:
            while True:
                answer = await look()
                if answer is not None or patience.left <= 0:
                    return answer
                await patience.sleep(ring, engine.hint([topic]))
                if self._running is not engine:
                    text = f"{type(self).__name__} for {self._place} was closed while somebody waited"
                    raise BackendError(text, backend=NAME, place=str(self._place))
