"""What an open instance consists of: the writer, the reader and the watcher, each a thread with its own connection."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import apsw

from reinhardt_tasks.backends.sqlite import forking
from reinhardt_tasks.backends.sqlite.connection import Settings, check_library
from reinhardt_tasks.backends.sqlite.lane import Lane
from reinhardt_tasks.backends.sqlite.place import check_place
from reinhardt_tasks.backends.sqlite.reader import Reader
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.backends.sqlite.watch import Watch
from reinhardt_tasks.backends.sqlite.watcher import Watcher
from reinhardt_tasks.backends.sqlite.writer import Writer
from reinhardt_tasks.errors import BackendError

R = TypeVar("R")
_AT_EXIT: Final = 5.0
"""Seconds the end of the interpreter waits for what is under way."""


class Engine:
    """The threads of one open instance. Belongs to one process; the reader and the watcher start when first needed."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.path
        self.pid = os.getpid()
        self.gates: tuple[threading.Lock, ...] = (threading.Lock(), threading.Lock(), threading.Lock())
        self._settings = settings
        self._crews = (Writer(settings), Reader(settings.path))
        self._writer: Lane[Store] | None = None
        self._reader: Lane[apsw.Connection] | None = None
        self._watcher: Watcher | None = None

    async def open(self) -> None:
        """Check the place, open or create the file. Raises what TaskBackend.open raises."""
        check_library()
        check_place(self.path)
        forking.track(self)
        _stop_at_exit(self)
        self._writer = Lane("sqlite-writer", self._crews[0], self.gates[0])
        try:
            await self.write(_nothing)
        except BaseException:
            await self.close()
            raise

    async def write(self, work: Callable[[Store], R]) -> R:
        """What `work` answers, once it is committed."""
        if self._writer is None:
            raise BackendError(f"{self.path} was closed when the interpreter ended.", backend="sqlite", place=self.path)
        return await self._writer.do(work)

    def write_at_once(self, work: Callable[[Store], R]) -> tuple[R] | None:
        """The answer to a small piece of work, done here and now; None, with nothing done, where that may take long.

        Blocks the caller for as long as a quick disk takes, a fraction of a millisecond.
        """
        gate, writer = self.gates[0], self._writer
        if writer is None or not writer.empty or not gate.acquire(blocking=False):
            return None
        try:
            return self._crews[0].at_once(work)
        finally:
            gate.release()

    async def read(self, work: Callable[[apsw.Connection], R]) -> R:
        """What `work` answers from a snapshot."""
        if self._reader is None:
            self._reader = Lane("sqlite-reader", self._crews[1], self.gates[1])
        return await self._reader.do(work)

    async def wait(self, watch: Watch, timeout: float | None) -> Any:
        """The answer to `watch`."""
        if self._watcher is None:
            self._watcher = Watcher(self.path, self._settings.clock, self.gates[2])
            self._crews[0].tell(self._watcher.nudge)
        return await self._watcher.wait(watch, timeout)

    async def close(self) -> None:
        """Finish what is under way and end the threads; where that is not waited for, they end by themselves."""
        parts = [part for part in (self._watcher, self._reader, self._writer) if part is not None]
        try:
            for part in parts:
                await part.close()
        except BaseException:
            for part in parts:
                part.stop(0.0)
            raise
        _running.discard(self)
        forking.release(self)

    def stop(self) -> None:
        """As `close`, at the end of the interpreter. A `close` that comes later finds nothing to do."""
        for part in (self._watcher, self._reader, self._writer):
            if part is not None:
                part.stop(_AT_EXIT)
        self._watcher = self._reader = self._writer = None

    def connections(self) -> list[apsw.Connection]:
        """All that are open; see forking.Forkable."""
        owners = (*self._crews, self._watcher)
        return [owner.connection for owner in owners if owner is not None and owner.connection is not None]


def _nothing(_: Store) -> None:
    """Connects the writer, and creates the tables."""


_running: Final[set[Engine]] = set()
_registered: Final[list[bool]] = []


def _stop_at_exit(engine: Engine) -> None:
    """Finish what is under way in `engine` before the interpreter takes its threads away."""
    if not _registered:
        atexit.register(_stop_all)
        _registered.append(True)
    _running.add(engine)


def _stop_all() -> None:
    for engine in list(_running):
        if engine.pid == os.getpid():
            engine.stop()
