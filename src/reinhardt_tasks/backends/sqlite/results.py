"""Results in an SQLite file: each verb is one job for the writer, the reader or the watcher."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Self, Unpack

from reinhardt_tasks.backends.sqlite.lane import Answer
from reinhardt_tasks.backends.sqlite.onfile import LOCK_TIMEOUT, OnFile
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.backends.sqlite.watch import Glance, Watch
from reinhardt_tasks.errors import BackendError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import ResultBackend, ResultOptions

_SQL: Final = statements("results")


class SqliteResultBackend(OnFile, ResultBackend):
    """Results in the file at `path`, for all processes of one machine; it may be that of a queue.

    What it is made with is what a SqliteBackend is, and the options of every ResultBackend: see ResultOptions.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
        **options: Unpack[ResultOptions],
    ) -> None:
        OnFile.__init__(self, path, durability=durability, clock=clock, lock_timeout=lock_timeout)
        ResultBackend.__init__(self, **options)

    async def open(self) -> None:
        """See Store.open. Creates the file and its tables where there are none, never a directory."""
        await self._open_file()

    async def close(self) -> None:
        """See Store.close. What was asked for before is finished first."""
        await self._close_file()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        """See ResultBackend.put. Also forgets some of what is over."""

        def work(store: Store) -> None:
            store.run(_SQL["forget"], store.now)
            store.run(_SQL["keep"], task_id, store.now + ttl, raw)
            store.ends = True

        await self._open_engine.write(work)

    async def read(self, task_id: TaskId) -> bytes | None:
        """See ResultBackend.read."""
        now = self._settings.clock()
        rows: list[tuple[Any, ...]] = await self._open_engine.read(
            lambda connection: connection.execute(_SQL["payload"], (task_id, now)).fetchall()
        )
        return rows[0][0] if rows else None

    async def remove(self, task_id: TaskId) -> bool:
        """See ResultBackend.remove."""

        def work(store: Store) -> bool:
            store.run(_SQL["forget"], store.now)
            there = store.row(_SQL["payload"], task_id, store.now) is not None
            store.run(_SQL["remove"], task_id)
            return there

        return await self._open_engine.write(work)

    async def watch(self, task_id: TaskId, timeout: float | None) -> bytes | None:
        """See ResultBackend.watch."""
        there = await self.read(task_id)
        if there is not None:
            return there
        came: bytes | None = await self._open_engine.wait(ResultWatch(task_id), timeout)
        return came


class ResultWatch(Watch):
    """Waits for a result to be there."""

    on_work = False

    def __init__(self, task_id: TaskId) -> None:
        super().__init__(otherwise=None)
        self._task_id = task_id

    def look(self, glance: Glance) -> Answer | None:
        """The payload, once it is kept."""
        rows: list[tuple[Any, ...]] = glance.rows(_SQL["payload"], self._task_id, glance.now)
        return Answer(self.future, rows[0][0]) if rows else None

    def at_close(self) -> Answer:
        """An error: there is no telling whether it comes."""
        text = f"the store was closed while the result of {self._task_id} was waited for"
        return Answer(self.future, error=BackendError(text, backend="sqlite"))
