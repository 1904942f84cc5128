"""The PostgreSQL backend: each verb of the contract is one statement, most of them the call of one function."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import msgspec

from reinhardt_tasks.backends.postgres import check, exchange, puts, read, schema
from reinhardt_tasks.backends.postgres.arrays import Blobs, Integers, Texts, Uuids
from reinhardt_tasks.backends.postgres.bell import ANY_QUEUE, ENDS, SCHEDULES, queue, worker
from reinhardt_tasks.backends.postgres.elders import Watchman
from reinhardt_tasks.backends.postgres.engine import LONG
from reinhardt_tasks.backends.postgres.exchange import Answer, Heard, Turn
from reinhardt_tasks.backends.postgres.faults import NAME, is_data_error, is_known
from reinhardt_tasks.backends.postgres.layout import CODES, PURGED_AT_ONCE, STATUSES
from reinhardt_tasks.backends.postgres.ondatabase import OnDatabase
from reinhardt_tasks.backends.postgres.place import Options
from reinhardt_tasks.backends.postgres.watch import SOON, Glance, Patience
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendError, BackendTaskNotFoundError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Exchange,
    Guard,
    Lock,
    Orders,
    Outcome,
    OutcomeKind,
    Put,
    QueueCounts,
    Record,
    Report,
    ScheduleRecord,
    Swept,
    WorkerRecord,
)
from reinhardt_tasks.status import TRANSITIONS, TaskStatus, check_transition

_encode = msgspec.msgpack.Encoder().encode
_REPEATED_WITHIN = 60.0
"""Seconds after a connection broke in which a message that is put may have been put before."""
_ENDING = frozenset({OutcomeKind.SUCCESS, OutcomeKind.FAILURE, OutcomeKind.CANCELLED})


class PostgresBackend(OnDatabase, TaskBackend):
    """Messages in tables of the database that `url` names, called `table_prefix` and their own name.

    `notify=False` tells nobody of work by NOTIFY: who waits then looks once a second. `listen_url` leads to the server
    itself where `url` leads to a pooler, through which nothing can be listened to. `migrate=False` creates no tables at
    open. A statement that takes longer than `timeout` seconds is given up with BackendUnavailableError.
    """

    name: ClassVar[str] = NAME
    remote: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        *,
        table_prefix: str = "reinhardt_",
        notify: bool = True,
        migrate: bool = True,
        listen_url: str | None = None,
        timeout: float = 15.0,
    ) -> None:
        options = Options(
            table_prefix=table_prefix, notify=notify, migrate=migrate, listen_url=listen_url, timeout=timeout
        )
        OnDatabase.__init__(self, url, options)
        self._heard: dict[str, Heard] = {}
        self._watchman = Watchman()

    @classmethod
    def from_url(cls, url: str) -> PostgresBackend:
        """The backend for `postgresql://user:password@host/database?table_prefix=…`."""
        return cls(url)

    # Life cycle ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See TaskBackend.open. Creates the tables, or brings them up to this version, where that is needed."""
        await self._open_database()

    async def close(self) -> None:
        """See TaskBackend.close. What was asked for before is finished first."""
        await super().close()
        self._heard.clear()
        await self._close_database()

    def sibling(self) -> PostgresBackend:
        """See TaskBackend.sibling."""
        other = PostgresBackend(self._place.url)
        other._place = self._place
        return other

    async def check(self) -> Mapping[str, str]:
        """See TaskBackend.check."""
        return await check.facts(self._open_engine, self._place)

    async def migrate(self) -> schema.Versions:
        """Create the tables, or bring them up to this version, whatever `migrate` says. It need not be open.

        Answers the versions before and after; 0: there were no tables. Raises what open raises.
        """
        return await schema.migrate_now(self._place)

    async def migration(self) -> str:
        """The SQL that `migrate` would run now, one transaction; empty where there is nothing to do."""
        return await schema.told(self._place)

    # Producers ----------------------------------------------------------------------------------------------------

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put. `connection` is one of those that `transaction.run` knows."""
        if len(messages) > MAX_BATCH:
            raise ValueError(f"{len(messages)} messages in one put; the most is {MAX_BATCH}, put the rest in another")
        if not messages:
            return []
        engine = self._open_engine
        if connection is not None:
            return puts.unpack(messages, await engine.put_within(connection, messages, guard))
        try:
            answers = await self._put(messages, guard, as_new=engine.calm > _REPEATED_WITHIN)
        except BackendError as error:
            if not is_known(error.__cause__):
                raise
            answers = await self._put(messages, guard, as_new=False)
        if any(put.created for put in answers):
            engine.ringer.ring({queue(message.queue) for message in messages})
        return answers

    async def _put(self, messages: Sequence[AnyMessage], guard: Guard | None, *, as_new: bool) -> list[Put]:
        """`put` in a transaction of its own. `as_new`: for messages that are most likely new; it costs less."""
        engine = self._open_engine
        values = engine.packed(lambda: puts.pack(messages, guard, as_new=as_new))
        ((known,),) = await engine.call("put", values)
        return puts.unpack(messages, known)

    async def start_workflow(self, workflow: TaskId) -> bool:
        """See TaskBackend.start_workflow."""
        ((held, rings),) = await self._open_engine.call("start_workflow", [workflow.uuid], timeout=LONG)
        self._ring(rings)
        return bool(held)

    # Workers ------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> Orders:
        """See TaskBackend.beat."""
        if beat.leaving:
            self._heard.pop(beat.worker, None)
        values = [
            beat.worker,
            beat.number,
            _encode(msgspec.structs.replace(beat, reports=())),
            float(beat.lease),
            beat.leaving,
            Uuids.of([report.id for report in beat.reports]),
            Integers.of([report.number for report in beat.reports]),
            Blobs.of([report.progress for report in beat.reports]),
        ]
        ((registered, draining, cancel, rings, ends),) = await self._open_engine.call("beat", values)
        self._ring(rings, ends=ends)
        return Orders(tuple(map(TaskId, cancel or ())), draining, registered)

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
        """See TaskBackend.exchange. An exchange that a later one of the same worker has overtaken does nothing."""
        turn = Turn(worker, outcomes, want, queues, sequence, reports, held)
        try:
            return await self._exchange(turn)
        except Exception as error:
            if not outcomes or not is_data_error(error.__cause__ or error):
                raise
            return await self._exchange_in_parts(turn, error)

    async def _exchange(self, turn: Turn) -> Exchange:
        engine = self._open_engine
        (row,) = await engine.hot("exchange", engine.packed(lambda: exchange.pack(turn)))
        answer = Answer(*row)
        if not answer.overtaken:
            self._heard[turn.worker] = answer.heard()
            given = len(answer.ids or ())
            engine.vacuum.gave(given, at_rest=given < turn.want and not answer.withheld)
        self._ring(answer.rings, ends=any(outcome.kind in _ENDING for outcome in turn.outcomes))
        return exchange.unpack(turn, answer)

    async def _exchange_in_parts(self, turn: Turn, error: Exception) -> Exchange:
        """Settle the outcomes in halves, until the one that cannot be stored is alone and fails; then claim."""
        if len(turn.outcomes) == 1:
            return await self._exchange(turn._replace(outcomes=(exchange.refused(turn.outcomes[0], error),)))
        middle = len(turn.outcomes) // 2
        first = await self.exchange(turn.worker, turn.outcomes[:middle], want=0, queues=(), sequence=turn.sequence)
        rest = turn._replace(outcomes=turn.outcomes[middle:])
        last = await self.exchange(**rest._asdict())
        return msgspec.structs.replace(last, settled=first.settled + last.settled)

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """See TaskBackend.wait."""
        engine, patience = self._open_engine, Patience(timeout, share=SOON)
        topics = [_order(worker), *([ANY_QUEUE] if queues is None else map(queue, queues))]
        served = None if queues is None else Texts.of(dict.fromkeys(queues))
        engine.listener.start()
        with engine.bell.listening(topics) as ring:
            while True:
                (row,) = await engine.call("glance", [worker, served])
                glance = Glance(*row)
                if glance.concerns(self._heard.get(worker, Heard())):
                    return True
                if patience.left <= 0 or (glance.moment is not None and glance.moment <= 0):
                    return False
                if not await patience.sleep(ring, engine.hint(topics), until=glance.moment):
                    return False

    async def sweep(self) -> Swept:
        """See TaskBackend.sweep. Also tells the log of transactions that stay open."""
        engine = self._open_engine
        ((suspected, rescued, poisoned, promoted, cancelled, expired, deleted, rings),) = await engine.call(
            "sweep", [engine.calm], timeout=LONG
        )
        self._ring(rings, ends=bool(poisoned or cancelled or rescued))
        with contextlib.suppress(BackendError):  # what was swept is swept
            await self._watchman.look(engine)
        return Swept(
            suspected=suspected,
            rescued=rescued,
            poisoned=poisoned,
            promoted=promoted,
            cancelled=cancelled,
            expired=expired,
            deleted=deleted,
        )

    def _ring(self, queues: Sequence[str] | None, *, ends: bool = False) -> None:
        """Wake those who wait for work in `queues`, and for ends."""
        topics = {queue(name) for name in queues or ()}
        if ends:
            topics.add(ENDS)
        if topics:
            self._open_engine.ringer.ring(topics)

    # Reading ------------------------------------------------------------------------------------------------------

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """See TaskBackend.get."""
        rows = await self._open_engine.read("get_with_body" if body else "get", [Uuids.of(ids)])
        records = read.by_id(rows)
        return [records.get(id) for id in ids]

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
        rows = await self._open_engine.read(sought.statement(), sought.values())
        return list(read.by_id(rows).values())

    async def counts(self) -> list[QueueCounts]:
        """See TaskBackend.counts. Counts along indexes."""
        return read.counts(await self._open_engine.read("counts", []))

    async def workers(self) -> list[WorkerRecord]:
        """See TaskBackend.workers."""
        return read.workers(await self._open_engine.read("workers", []))

    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """See TaskBackend.wait_result."""

        async def look() -> Record | None:
            record = (await self.get((task_id,)))[0]
            if record is None:
                raise BackendTaskNotFoundError(task_id=str(task_id))
            return record if record.status.finished else None

        return await self._told(ENDS, look, timeout)

    # Operators ----------------------------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[TaskId], *, error: bytes = b"") -> list[TaskStatus | None]:
        """See TaskBackend.cancel."""
        engine = self._open_engine
        ((codes, workers, rings),) = await engine.call("cancel", [Uuids.of(ids), error or None])
        self._ring(rings, ends=True)
        engine.ringer.ring(map(_order, workers or ()))
        return [None if code is None else STATUSES[code] for code in codes]

    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """See TaskBackend.requeue."""
        ((known, rings),) = await self._open_engine.call("requeue", [Uuids.of(ids)])
        self._ring(rings)
        return list(known)

    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """See TaskBackend.move."""
        allowed = [CODES[old] for old in TaskStatus if status in TRANSITIONS[old] and status is not TaskStatus.RUNNING]
        values = [task_id.uuid, CODES[status], Integers.of(allowed), payload or None]
        ((code, rings),) = await self._open_engine.call("move", values)
        if code is None:
            raise BackendTaskNotFoundError(task_id=str(task_id))
        old = STATUSES[int(code)]
        if status is TaskStatus.RUNNING:
            raise TransitionError(
                f"message {task_id} cannot be moved to running: a worker takes it by a claim",
                task_id=str(task_id),
                from_status=old.value,
                to_status=status.value,
            )
        check_transition(old, status, task_id=str(task_id))
        if old.finished:
            await self.requeue((task_id,))
        else:
            self._ring(rings, ends=status.finished)

    async def pause(self, queue: str) -> None:
        """See TaskBackend.pause."""
        await self._open_engine.call("pause", [queue])

    async def resume(self, queue: str) -> None:
        """See TaskBackend.resume."""
        await self._open_engine.call("resume", [queue])
        self._ring([queue])

    async def drain(self, worker: str) -> bool:
        """See TaskBackend.drain."""
        engine = self._open_engine
        ((known,),) = await engine.call("order_drain", [worker])
        engine.ringer.ring([_order(worker)])
        return bool(known)

    async def purge(
        self, queue: str, *, statuses: Collection[TaskStatus] = (TaskStatus.PENDING, TaskStatus.RETRY)
    ) -> int:
        """See TaskBackend.purge. A long queue goes in steps, and half of the time is left to others."""
        codes = Integers.of([CODES[status] for status in frozenset(statuses) - {TaskStatus.RUNNING}])
        purged = 0
        while True:
            began = time.monotonic()
            ((step, rings),) = await self._open_engine.call("purge_some", [queue, codes], timeout=LONG)
            self._ring(rings, ends=step > 0)
            purged += int(step)
            if step < PURGED_AT_ONCE:
                return purged
            await asyncio.sleep(time.monotonic() - began)

    async def delete(self, ids: Sequence[TaskId]) -> int:
        """See TaskBackend.delete."""
        ((deleted,),) = await self._open_engine.call("delete", [Uuids.of(ids)])
        self._ring((), ends=deleted > 0)
        return int(deleted)

    # Schedules and locks ------------------------------------------------------------------------------------------

    async def save_schedule(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """See TaskBackend.save_schedule."""
        engine = self._open_engine
        values = [schedule.name, schedule.spec, schedule.last_due, schedule.paused]
        ((last_due, version),) = await engine.call("save", values)
        engine.ringer.ring([SCHEDULES])
        return msgspec.structs.replace(schedule, last_due=last_due, version=version)

    async def load_schedules(self) -> list[ScheduleRecord]:
        """See TaskBackend.load_schedules."""
        return read.schedules(await self._open_engine.read("schedules", []))

    async def remove_schedule(self, name: str) -> bool:
        """See TaskBackend.remove_schedule."""
        engine = self._open_engine
        ((known,),) = await engine.call("remove", [name])
        engine.ringer.ring([SCHEDULES])
        return bool(known)

    async def watch_schedules(self, seen: int, timeout: float) -> int:
        """See TaskBackend.watch_schedules."""
        engine, patience = self._open_engine, Patience(timeout)
        engine.listener.start()
        with engine.bell.listening([SCHEDULES]) as ring:
            while True:
                ((changes,),) = await engine.read("counter", [])
                if changes != seen or patience.left <= 0:
                    return int(changes)
                await patience.sleep(ring, engine.hint([SCHEDULES]))

    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.acquire_lock."""
        ((until,),) = await self._open_engine.call("acquire", [name, token, float(ttl)])
        return None if until is None else Lock(name, token, until)

    async def extend_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """See TaskBackend.extend_lock."""
        ((until,),) = await self._open_engine.call("extend", [name, token, float(ttl)])
        return None if until is None else Lock(name, token, until)

    async def release_lock(self, name: str, token: str) -> bool:
        """See TaskBackend.release_lock."""
        ((held,),) = await self._open_engine.call("release", [name, token])
        return bool(held)


def _order(name: str) -> str:
    """The topic of orders to the worker called `name`."""
    return worker(name)
