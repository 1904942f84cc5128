"""Results in the memory of one process: the reference of the contract of result stores, to be read first."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import ClassVar, Self, Unpack

from reinhardt_tasks.backends.memory.shelf import Shelf
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import ResultBackend, ResultOptions


class MemoryResultBackend(ResultBackend):
    """Results in this process's memory, gone with it. `clock` gives the time in Unix seconds; see ResultOptions.

    Siblings may be used from any thread, each on its own event loop.
    """

    name: ClassVar[str] = "memory"

    def __init__(self, *, clock: Callable[[], float] = time.time, **options: Unpack[ResultOptions]) -> None:
        super().__init__(**options)
        self._shelf: Shelf[bytes] = Shelf(clock)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def sibling(self) -> Self:
        """See Store.sibling."""
        return copy.copy(self)

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        """See ResultBackend.put."""
        with self._shelf.step():
            self._shelf.keep(task_id, raw, ttl)
            self._shelf.ring(task_id)

    async def read(self, task_id: TaskId) -> bytes | None:
        """See ResultBackend.read."""
        with self._shelf.step():
            return self._shelf.find(task_id)

    async def remove(self, task_id: TaskId) -> bool:
        """See ResultBackend.remove."""
        with self._shelf.step():
            return self._shelf.remove(task_id)

    async def watch(self, task_id: TaskId, timeout: float | None) -> bytes | None:
        """See ResultBackend.watch."""
        return await self._shelf.awaited(task_id, lambda: self._shelf.find(task_id), timeout)
