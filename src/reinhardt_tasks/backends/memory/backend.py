"""The memory backend: every verb of the contract on plain Python values, for one process. Read this one first."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import heapq
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import ClassVar, Self

from reinhardt_tasks.backends.memory.bell import Bell
from reinhardt_tasks.backends.memory.entries import Entry
from reinhardt_tasks.backends.memory.messages import Messages
from reinhardt_tasks.backends.memory.operations import Operations
from reinhardt_tasks.backends.memory.schedules import Locks, Schedules
from reinhardt_tasks.backends.memory.workers import Workers
from reinhardt_tasks.contract import MAX_BATCH, MAX_PAGE, TaskBackend
from reinhardt_tasks.errors import ConfigurationError
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


class MemoryStore:
    """What all siblings share: the parts, one lock around each step, and the clock that decides what is due."""

    def __init__(self, clock: Callable[[], float], *, patient: bool) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.bell = Bell()
        self.messages = Messages(self.bell, patient=patient)
        self.workers = Workers(self.messages, self.bell)
        self.operations = Operations(self.messages, self.workers)
        self.schedules = Schedules(self.bell)
        self.locks = Locks()

    @contextlib.contextmanager
    def step(self) -> Iterator[float]:
        """One atomic step; gives the time at which it happens."""
        with self._lock:
            yield self._clock()


class MemoryBackend(TaskBackend):
    """Messages in this process's memory, gone with it. For tests, and for work that may be lost with the process.

    `clock` gives the time in Unix seconds. With `patient=False` delays are noted but not waited for. Siblings may be
    used from any thread, each on its own event loop.
    """

    name: ClassVar[str] = "memory"

    def __init__(self, *, clock: Callable[[], float] = time.time, patient: bool = True) -> None:
        self._store = MemoryStore(clock, patient=patient)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A backend with a store of its own. Raises ConfigurationError when the URL says more than its scheme."""
        scheme, _, rest = url.partition("://")
        if rest.strip("/"):
            raise ConfigurationError(
                f"{scheme}:// takes nothing after it: every such URL is a store of its own, within this process",
                setting="url",
            )
        return cls()

    # Life cycle ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Nothing to connect to."""

    def sibling(self) -> Self:
        """See TaskBackend.sibling."""
        other = copy.copy(self)
        other._consumer = None  # noqa: SLF001 - what `dequeue` holds is this one's own
        return other

    async def check(self) -> Mapping[str, str]:
        """See TaskBackend.check."""
        return {
            "backend": self.name,
            "messages": str(len(self._store.messages.known)),
            "durability": "none: messages are lost with this process",
        }

    # Producers ----------------------------------------------------------------------------------------------------

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put. `connection` is only kept, for tests to ask for with `connection_of`."""
        if len(messages) > MAX_BATCH:
            raise ValueError(f"{len(messages)} messages in one put; the most is {MAX_BATCH}, put the rest in another")
        with self._store.step() as now:
            if guard is not None and not self._store.schedules.allows(guard):
                return [Put(message.id, created=False) for message in messages]
            puts = self._store.messages.plan(messages, now)
            if guard is not None:
                self._store.schedules.fire(guard)
            self._store.messages.store(messages, puts, now, connection)
            return puts

    async def start_workflow(self, workflow: TaskId) -> bool:
        """See TaskBackend.start_workflow."""
        with self._store.step() as now:
            return self._store.messages.start_workflow(workflow, now)

    def connection_of(self, task_id: TaskId) -> object:
        """The `connection` that a message was put with. Raises BackendTaskNotFoundError."""
        with self._store.step():
            return self._store.messages.find(task_id).connection

    # Workers ------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> Orders:
        """See TaskBackend.beat."""
        with self._store.step() as now:
            return self._store.workers.beat(beat, now)

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
        """See TaskBackend.exchange. Steps cannot overtake each other here, so `sequence` is not looked at."""
        await asyncio.sleep(0)  # nothing here waits by itself: a loop of exchanges would keep all others from running
        with self._store.step() as now:
            return self._store.workers.exchange(
                worker, outcomes, want=want, queues=queues, reports=reports, held=held, now=now
            )

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """See TaskBackend.wait."""
        workers, bell = self._store.workers, self._store.bell
        with self._store.step() as now:
            if workers.missed(worker, queues):
                return True
            moment = workers.next_moment(now)
            sleeper = bell.listen(*workers.topics(worker, queues))
        try:
            return await sleeper.woken(timeout if moment is None else min(timeout, max(0.0, moment - now)))
        finally:
            with self._store.step():
                bell.leave(sleeper)

    async def sweep(self) -> Swept:
        """See TaskBackend.sweep."""
        store = self._store
        with store.step() as now:
            suspected, rescued, poisoned = store.workers.rescue(now)
            store.locks.expire(now)
            promoted = store.messages.promote(now)
            cancelled = store.messages.drop_unopened(now)
            expired, deleted = store.messages.expire(now)
        return Swept(
            suspected=suspected,
            rescued=rescued,
            poisoned=poisoned,
            promoted=promoted,
            cancelled=cancelled,
            expired=expired,
            deleted=deleted,
        )

    # Reading ------------------------------------------------------------------------------------------------------

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """See TaskBackend.get."""
        with self._store.step():
            entries = [self._store.messages.known.get(id) for id in ids]
            return [None if entry is None else entry.record(body=body) for entry in entries]

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
        """See TaskBackend.find. Looks at every message; a database has an index."""

        def matches(entry: Entry) -> bool:
            message = entry.message
            return (
                (not statuses or entry.status in statuses)
                and queue in {None, message.queue}
                and task in {None, message.name}
                and workflow in {None, message.workflow}
                and (before is None or entry.id < before)
            )

        with self._store.step():
            found = filter(matches, self._store.messages.known.values())
            newest = heapq.nlargest(min(limit, MAX_PAGE), found, key=lambda entry: entry.id)
            return [entry.record(body=False) for entry in newest]

    async def counts(self) -> list[QueueCounts]:
        """See TaskBackend.counts."""
        messages, paused = self._store.messages, self._store.workers.paused
        with self._store.step():
            tallies = {queue: {s: n for s, n in tally.items() if n} for queue, tally in messages.tally.items()}
            return [
                QueueCounts(
                    queue=queue,
                    by_status=tallies.get(queue, {}),
                    ready=messages.ready.sizes.get(queue, 0) + messages.suspects.sizes.get(queue, 0),
                    paused=queue in paused,
                )
                for queue in sorted({queue for queue, tally in tallies.items() if tally} | paused)
            ]

    async def workers(self) -> list[WorkerRecord]:
        """See TaskBackend.workers."""
        with self._store.step():
            return self._store.workers.records()

    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """See TaskBackend.wait_result."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._store.step():
                entry = self._store.messages.find(task_id)
                if entry.status.finished:
                    return entry.record(body=False)
                sleeper = self._store.bell.listen(("message", task_id))
            try:
                left = None if deadline is None else deadline - time.monotonic()
                if (left is not None and left <= 0) or not await sleeper.woken(left):
                    return None
            finally:
                with self._store.step():
                    self._store.bell.leave(sleeper)

    # Operators ----------------------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[TaskId], *, error: bytes = b"") -> list[TaskStatus | None]:
        """See TaskBackend.cancel."""
        with self._store.step() as now:
            return self._store.operations.cancel(ids, error, now)

    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """See TaskBackend.requeue."""
        with self._store.step() as now:
            return self._store.operations.requeue(ids, now)

    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """See TaskBackend.move."""
        with self._store.step() as now:
            self._store.operations.move(task_id, status, payload, now)

    async def pause(self, queue: str) -> None:
        """See TaskBackend.pause."""
        with self._store.step():
            self._store.workers.paused.add(queue)

    async def resume(self, queue: str) -> None:
        """See TaskBackend.resume."""
        with self._store.step():
            self._store.workers.paused.discard(queue)
            self._store.bell.ring(("queue", queue), "queues")

    async def drain(self, worker: str) -> bool:
        """See TaskBackend.drain."""
        with self._store.step():
            return self._store.workers.order_drain(worker)

    async def purge(
        self, queue: str, *, statuses: Collection[TaskStatus] = (TaskStatus.PENDING, TaskStatus.RETRY)
    ) -> int:
        """See TaskBackend.purge."""
        with self._store.step() as now:
            return self._store.operations.purge(queue, statuses, now)

    async def delete(self, ids: Sequence[TaskId]) -> int:
        """See TaskBackend.delete."""
        with self._store.step():
            return self._store.operations.delete(ids)

    # Schedules and locks ------------------------------------------------------------------------------------------

    async def save_schedule(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """See TaskBackend.save_schedule."""
        with self._store.step():
            return self._store.schedules.save(schedule)

    async def load_schedules(self) -> list[ScheduleRecord]:
        """See TaskBackend.load_schedules."""
        with self._store.step():
            return self._store.schedules.records()

    async def remove_schedule(self, name: str) -> bool:
        """See TaskBackend.remove_schedule."""
        with self._store.step():
            return self._store.schedules.remove(name)

    async def watch_schedules(self, seen: int, timeout: float) -> int:
        """See TaskBackend.watch_schedules."""
        with self._store.step():
            if self._store.schedules.changes != seen:
                return self._store.schedules.changes
            sleeper = self._store.bell.listen("schedules")
        try:
            await sleeper.woken(timeout)
        finally:
            with self._store.step():
                self._store.bell.leave(sleeper)
        return self._store.schedules.changes

    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.acquire_lock."""
        with self._store.step() as now:
            return self._store.locks.acquire(name, token, ttl, now)

    async def extend_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.extend_lock."""
        with self._store.step() as now:
            return self._store.locks.extend(name, token, ttl, now)

    async def release_lock(self, name: str, token: str) -> bool:
        """See TaskBackend.release_lock."""
        with self._store.step() as now:
            return self._store.locks.release(name, token, now)
