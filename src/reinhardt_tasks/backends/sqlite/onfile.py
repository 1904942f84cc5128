"""What every class that works on a file has: its settings, and its engine while it is open in this process."""

from __future__ import annotations

import asyncio
import copy
import os
import time
from collections.abc import Callable
from typing import Final, Self

from reinhardt_tasks.backends.sqlite import place
from reinhardt_tasks.backends.sqlite.connection import Settings
from reinhardt_tasks.backends.sqlite.engine import Engine
from reinhardt_tasks.errors import BackendError

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for another program that writes to the file before BackendUnavailableError."""


class OnFile:
    """An instance on the file at `path`, opened with `_open_file`; see SqliteBackend for what it is given."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        self._settings = Settings(place.absolute(path), place.as_durability(durability), clock, lock_timeout)
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.path!r}, durability={self._settings.durability!r})"

    async def _open_file(self) -> None:
        """Open the file, and create it and its tables where there are none; never a directory."""
        async with self._opening:
            if self._running is None:
                engine = Engine(self._settings)
                await engine.open()
                self._engine = engine

    async def _close_file(self) -> None:
        """End the engine. What was asked for before is finished first."""
        engine, self._engine = self._running, None
        self._opening = asyncio.Lock()  # it may be opened again under another loop
        if engine is not None:
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
            path = self._settings.path
            raise BackendError(
                f"{type(self).__name__} for {path} is not open in this process: use `async with` or call open() first, "
                "after a fork again.",
                backend="sqlite",
                place=path,
            )
        return engine
