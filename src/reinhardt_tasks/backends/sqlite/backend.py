"""The SQLite backend: each verb of the contract is one job for the writer, the reader or the watcher."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar

from reinhardt_tasks.backends.sqlite import check, claims, members, operations, place, puts, read, requeue, timetable
from reinhardt_tasks.backends.sqlite.claims import Heard, Turn
from reinhardt_tasks.backends.sqlite.onfile import LOCK_TIMEOUT, OnFile
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.backends.sqlite.sweep import sweep
from reinhardt_tasks.backends.sqlite.watch import EndWatch, ScheduleWatch, WorkWatch
from reinhardt_tasks.clocks import steadied
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError, UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Exchange,
    Guard,
    Lock,
    Orders,
    Outcome,
    Put,
    QueueCounts,
    Record,
    Report,
    ScheduleRecord,
    Swept,
    WorkerRecord,
)
from reinhardt_tasks.status import TaskStatus


class SqliteBackend(OnFile, TaskBackend):
    """Messages in the file at `path`, which all processes of one machine may use at once.

    `durability` says how far a commit has come when a call returns: `full` (on the disk), `normal` (a power cut may
    take back the last ones) or `off`. `clock` gives the time in Unix seconds. The directory must exist; the file is
    created. After a fork the child's instance is closed, and may be opened.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        super().__init__(path, durability=durability, clock=clock, lock_timeout=lock_timeout)
        self._heard: dict[str, Heard] = {}

    @classmethod
    def from_url(cls, url: str) -> SqliteBackend:
        """The backend for `sqlite:///relative.db` or `sqlite:////absolute.db`, with `?durability=…` or without."""
        path, durability = place.parse_url(url)
        return cls(path, durability=durability)

    # Life cycle ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See TaskBackend.open. Creates the file and its tables where there are none, never a directory."""
        await self._open_file()

    async def close(self) -> None:
        """See TaskBackend.close. What was asked for before is finished first."""
        await super().close()
        self._heard.clear()
        await self._close_file()

    def sibling(self) -> SqliteBackend:
        """See TaskBackend.sibling."""
        other = SqliteBackend(self._settings.path)
        other._settings = self._settings
        return other

    async def check(self) -> Mapping[str, str]:
        """See TaskBackend.check. Reads the whole file (about a second for each gigabyte)."""
        path, durability = self._settings.path, self._settings.durability
        return await self._open_engine.read(lambda connection: check.facts(connection, path, durability))

    # Producers ----------------------------------------------------------------------------------------------------

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put."""
        if connection is not None:
            raise UnsupportedError(
                option="connection=", backend=self.name, instead="PostgresBackend, for tables in the same database"
            )
        if len(messages) > MAX_BATCH:
            raise ValueError(f"{len(messages)} messages in one put; the most is {MAX_BATCH}, put the rest in another")
        engine = self._open_engine

        def work(store: Store) -> list[Put]:
            return puts.put(store, messages, guard)

        done = engine.write_at_once(work) if len(messages) == 1 else None
        return await engine.write(work) if done is None else done[0]

    async def start_workflow(self, workflow: TaskId) -> bool:
        """See TaskBackend.start_workflow."""
        return await self._open_engine.write(lambda store: operations.start_workflow(store, workflow))

    # Workers ------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> Orders:
        """See TaskBackend.beat."""
        if beat.leaving:
            self._heard.pop(beat.worker, None)
        return await self._open_engine.write(lambda store: members.beat(store, beat))

    async def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        *,
        want: int,
        queues: Sequence[str] | None,
        sequence: int,
        reports: Sequence[Report] = (),
        held: Collection[TaskId] | None = None,
    ) -> Exchange:
        """See TaskBackend.exchange. The writer does one thing after the other, so `sequence` is not looked at."""
        turn = Turn(worker, outcomes, want, queues, reports, held)
        answer, self._heard[worker] = await self._open_engine.write(lambda store: claims.exchange(store, turn))
        return answer

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """See TaskBackend.wait."""
        watch = WorkWatch(worker, queues, self._heard.get(worker, Heard()))
        return bool(await self._open_engine.wait(watch, timeout))

    async def sweep(self) -> Swept:
        """See TaskBackend.sweep."""
        return await self._open_engine.write(sweep)

    # Reading ------------------------------------------------------------------------------------------------------

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """See TaskBackend.get."""
        return await self._open_engine.read(lambda connection: read.get(connection, ids, body=body))

    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        queue: str | None = None,
        task: str | None = None,
        workflow: TaskId | None = None,
        before: TaskId | None = None,
        limit: int = 50,
    ) -> list[Record]:
        """See TaskBackend.find."""
        sought = read.Sought(statuses, queue, task, workflow, before, limit)
        return await self._open_engine.read(lambda connection: read.find(connection, sought))

    async def counts(self) -> list[QueueCounts]:
        """See TaskBackend.counts."""
        return await self._open_engine.read(read.counts)

    async def workers(self) -> list[WorkerRecord]:
        """See TaskBackend.workers."""
        clock = self._settings.clock
        ahead = clock() - steadied(clock)()
        return await self._open_engine.read(lambda connection: read.workers(connection, ahead=ahead))

    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """See TaskBackend.wait_result."""
        record = (await self.get((task_id,)))[0]
        if record is None:
            raise BackendTaskNotFoundError(task_id=str(task_id))
        if record.status.finished:
            return record
        ended: Record | None = await self._open_engine.wait(EndWatch(task_id), timeout)
        return ended

    # Operators ----------------------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[TaskId], *, error: bytes = b"") -> list[TaskStatus | None]:
        """See TaskBackend.cancel."""
        return await self._open_engine.write(lambda store: operations.cancel(store, ids, error))

    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """See TaskBackend.requeue."""
        return await self._open_engine.write(lambda store: requeue.requeue(store, ids))

    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """See TaskBackend.move."""
        await self._open_engine.write(lambda store: operations.move(store, task_id, status, payload))

    async def pause(self, queue: str) -> None:
        """See TaskBackend.pause."""
        await self._open_engine.write(lambda store: operations.pause(store, queue))

    async def resume(self, queue: str) -> None:
        """See TaskBackend.resume."""
        await self._open_engine.write(lambda store: operations.resume(store, queue))

    async def drain(self, worker: str) -> bool:
        """See TaskBackend.drain."""
        return await self._open_engine.write(lambda store: members.order_drain(store, worker))

    async def purge(
        self, queue: str, *, statuses: Collection[TaskStatus] = (TaskStatus.PENDING, TaskStatus.RETRY)
    ) -> int:
        """See TaskBackend.purge. A long queue goes in steps, and half of the time is left to others."""
        purged = 0
        while True:
            began = time.monotonic()
            step = await self._open_engine.write(lambda store: operations.purge_some(store, queue, statuses))
            purged += step
            if step < operations.PURGED_AT_ONCE:
                return purged
            await asyncio.sleep(time.monotonic() - began)

    async def delete(self, ids: Sequence[TaskId]) -> int:
        """See TaskBackend.delete."""
        return await self._open_engine.write(lambda store: operations.delete(store, ids))

    # Schedules and locks ------------------------------------------------------------------------------------------

    async def save_schedule(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """See TaskBackend.save_schedule."""
        return await self._open_engine.write(lambda store: timetable.save(store, schedule))

    async def load_schedules(self) -> list[ScheduleRecord]:
        """See TaskBackend.load_schedules."""
        return await self._open_engine.read(read.schedules)

    async def remove_schedule(self, name: str) -> bool:
        """See TaskBackend.remove_schedule."""
        return await self._open_engine.write(lambda store: timetable.remove(store, name))

    async def watch_schedules(self, seen: int, timeout: float) -> int:
        """See TaskBackend.watch_schedules."""
        return int(await self._open_engine.wait(ScheduleWatch(seen), timeout))

    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.acquire_lock."""
        return await self._open_engine.write(lambda store: timetable.acquire(store, name, token, ttl))

    async def extend_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.extend_lock."""
        return await self._open_engine.write(lambda store: timetable.extend(store, name, token, ttl))

    async def release_lock(self, name: str, token: str) -> bool:
        """See TaskBackend.release_lock."""
        return await self._open_engine.write(lambda store: timetable.release(store, name, token))
