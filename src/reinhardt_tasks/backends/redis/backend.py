"""The Redis backend: each verb of the contract is one script on the server, or several where it may be long."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Final, Unpack

from reinhardt_tasks.backends.redis import operations, place, reading, timetable, wire
from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import Options
from reinhardt_tasks.backends.redis.sleepers import Sleepers
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError, ConfigurationError, UnsupportedError
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

PREFIX: Final = "reinhardt:tasks:"
"""What every key begins with, unless told otherwise."""
_TAG: Final = re.compile(r"\{[^}]+\}")
_NET: Final = 5.0
"""Seconds after which a waiting worker looks by itself: one that was woken before it may have died of it."""
_LONG: Final = 1e9
"""Seconds that no connection stands."""


class RedisTaskBackend(TaskBackend):
    """Messages on the Redis or Valkey server at `url`, which all machines that reach it may use at once.

    All keys begin with `prefix`, which is their hash tag: in a cluster they are on one node, and several prefixes share
    a server without meeting. With `wait_replicas`, so many replicas must have what a producer or an operator writes
    within `replica_timeout` seconds, else that call is a BackendUnavailableError; so is one that is not answered within
    `timeout` seconds. A server that may evict keys is refused unless `allow_eviction`. The URL's query may say the
    same (`?prefix=…&wait_replicas=1`); what is given beside it counts more.
    """

    name: ClassVar[str] = "redis"
    remote: ClassVar[bool] = True

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        where, asked = place.parse(url)
        self._settle(where, {**asked, **options})

    def _settle(self, where: place.Place, options: Options) -> None:
        prefix = options.get("prefix", PREFIX)
        if not prefix:
            raise ConfigurationError(
                "the prefix is empty; leave it out, or write one such as 'shop:'", setting="prefix"
            )
        self._place = where
        self._options = options
        self._link = Link(
            where,
            root=_root(prefix),
            timeout=options.get("timeout", 5.0),
            wait_replicas=options.get("wait_replicas", 0),
            replica_timeout=options.get("replica_timeout", 1.0),
            allow_eviction=options.get("allow_eviction", False),
        )
        self._sleepers = Sleepers()

    @classmethod
    def from_url(cls, url: str) -> RedisTaskBackend:
        """The backend that `url` names, with the options in its query."""
        return cls(url)

    def __repr__(self) -> str:
        return f"RedisTaskBackend({str(self._place)!r}, prefix={self._options.get('prefix', PREFIX)!r})"

    # Life cycle ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See TaskBackend.open."""
        await self._link.open()

    async def close(self) -> None:
        """See TaskBackend.close."""
        await super().close()
        await self._link.close()
        self._sleepers = Sleepers()

    def sibling(self) -> RedisTaskBackend:
        """See TaskBackend.sibling."""
        other = object.__new__(type(self))
        other._settle(self._place, self._options)
        return other

    async def check(self) -> Mapping[str, str]:
        """See TaskBackend.check."""
        return await self._link.check()

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
        parts, plain = wire.as_puts(messages)
        if plain and messages and guard is None:
            return wire.puts(messages, await self._link.call("put_plain", *parts, replicate=True))
        for linked in wire.links(messages):
            await self._link.call("link", *linked)
        answer = await self._link.call("put", *wire.guard(guard), *parts, replicate=True)
        return wire.puts(messages, answer)

    async def start_workflow(self, workflow: TaskId) -> bool:
        """See TaskBackend.start_workflow. What is more than MAX_BATCH messages the next exchanges let go, in order."""
        return bool(await self._link.call("start_workflow", workflow, replicate=True))

    # Workers ------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> Orders:
        """See TaskBackend.beat."""
        return wire.orders(await self._link.call("beat", *wire.beat(beat)))

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
        """See TaskBackend.exchange."""
        with self._sleepers.awake(worker) as (awake, woken):
            settled, orders, claims = await self._link.call(
                "exchange",
                worker,
                sequence,
                want,
                int(awake),
                -1 if queues is None else len(queues),
                -1 if woken is None else len(woken),
                -1 if held is None else len(held),
                len(reports),
                *(queues or ()),
                *(woken or ()),
                *(held or ()),
                *wire.reports(reports),
                *wire.outcomes(outcomes),
            )
        return Exchange(wire.claims(claims), wire.settled(settled), wire.orders(orders))

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """See TaskBackend.wait."""
        listener = await self._link.heard()
        with self._sleepers.asleep(worker) as also, listener.sleeper(b"w" + worker.encode()) as sleeper:
            served = ("1",) if queues is None else ("0", *queues)
            longest = min(timeout, _NET)
            seconds = await self._link.call("sleep", worker, listener.channel, longest, int(also), *served)
            if seconds is None:
                return True
            woken = await sleeper.woken(float(seconds))
        if woken:
            self._sleepers.woke(worker, queues)
        return woken

    async def sweep(self) -> Swept:
        """See TaskBackend.sweep. After a lost connection nobody is given up before there was time to come back."""
        link = self._link
        await link.command(
            "PING"
        )  # which connects anew where the connection was lost: now it is known how long it stands
        stood = time.monotonic() - link.connected_at if link.reconnects > 0 else _LONG
        suspected, rescued, poisoned, promoted, cancelled, expired, deleted = await link.call("sweep", stood)
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
        return await reading.get(self._link, ids, body=body)

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
        return await reading.find(self._link, reading.Sought(statuses, queue, task, workflow, before, limit))

    async def counts(self) -> list[QueueCounts]:
        """See TaskBackend.counts."""
        return await reading.counts(self._link)

    async def workers(self) -> list[WorkerRecord]:
        """See TaskBackend.workers."""
        return await reading.workers(self._link)

    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """See TaskBackend.wait_result."""
        listener = await self._link.heard()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with listener.sleeper(b"m" + task_id) as sleeper:
                unfinished = await self._link.call("await", task_id, listener.channel)
                record = None if unfinished else (await self.get((task_id,)))[0]
                if record is None and not unfinished:
                    raise BackendTaskNotFoundError(task_id=str(task_id))
                if record is not None and record.status.finished:
                    return record
                left = None if deadline is None else deadline - time.monotonic()
                if (left is not None and left <= 0) or not await sleeper.woken(left):
                    return None

    # Operators ----------------------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[TaskId], *, error: bytes = b"") -> list[TaskStatus | None]:
        """See TaskBackend.cancel."""
        return await operations.cancel(self._link, ids, error)

    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """See TaskBackend.requeue."""
        return await operations.requeue(self._link, ids)

    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """See TaskBackend.move."""
        await operations.move(self._link, task_id, status, payload)

    async def pause(self, queue: str) -> None:
        """See TaskBackend.pause."""
        await operations.pause(self._link, queue)

    async def resume(self, queue: str) -> None:
        """See TaskBackend.resume."""
        await operations.resume(self._link, queue)

    async def drain(self, worker: str) -> bool:
        """See TaskBackend.drain."""
        return await operations.drain(self._link, worker)

    async def purge(
        self, queue: str, *, statuses: Collection[TaskStatus] = (TaskStatus.PENDING, TaskStatus.RETRY)
    ) -> int:
        """See TaskBackend.purge."""
        return await operations.purge(self._link, queue, statuses)

    async def delete(self, ids: Sequence[TaskId]) -> int:
        """See TaskBackend.delete."""
        return await operations.delete(self._link, ids)

    # Schedules and locks ------------------------------------------------------------------------------------------

    async def save_schedule(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """See TaskBackend.save_schedule."""
        return await timetable.save(self._link, schedule)

    async def load_schedules(self) -> list[ScheduleRecord]:
        """See TaskBackend.load_schedules."""
        return await timetable.load(self._link)

    async def remove_schedule(self, name: str) -> bool:
        """See TaskBackend.remove_schedule."""
        return await timetable.remove(self._link, name)

    async def watch_schedules(self, seen: int, timeout: float) -> int:
        """See TaskBackend.watch_schedules."""
        return await timetable.watch(self._link, seen, timeout)

    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.acquire_lock."""
        return await timetable.acquire(self._link, name, token, ttl)

    async def extend_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.extend_lock."""
        return await timetable.extend(self._link, name, token, ttl)

    async def release_lock(self, name: str, token: str) -> bool:
        """See TaskBackend.release_lock."""
        return await timetable.release(self._link, name, token)


def _root(prefix: str) -> bytes:
    """What every key begins with: the prefix as a hash tag, unless it holds one already."""
    return (prefix if _TAG.search(prefix) else f"{{{prefix}}}").encode()
