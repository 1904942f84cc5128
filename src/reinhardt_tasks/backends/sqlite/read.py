"""Reading: records, lists, counts, workers and schedules. Every function is given a connection with a snapshot open."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from reinhardt_tasks.backends.sqlite.layout import CODES, FALLEN, STATUSES, to_record
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.contract import MAX_PAGE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, QueueCounts, Record, ScheduleRecord, WorkerRecord
from reinhardt_tasks.status import TaskStatus

_SQL = statements("read")
_decode_beat = msgspec.msgpack.Decoder(Beat).decode
_RUNNING: Final = 1 << CODES[TaskStatus.RUNNING]
_RETRY: Final = 1 << CODES[TaskStatus.RETRY]
_FALLEN: Final = sum(1 << code for code in FALLEN)


class Sought(NamedTuple):
    """What `find` is asked for; None and empty stand for any."""

    statuses: Collection[TaskStatus] = ()
    queue: str | None = None
    task: str | None = None
    workflow: TaskId | None = None
    before: TaskId | None = None
    limit: int = 50


def get(connection: apsw.Connection, ids: Sequence[TaskId], *, body: bool) -> list[Record | None]:
    """See TaskBackend.get."""
    sql = _SQL["get_with_body"] if body else _SQL["get"]
    rows = connection.executemany(sql, [(id,) for id in ids]).fetchall()
    records = {record.id: record for record in map(to_record, rows)}
    return [records.get(id) for id in ids]


def find(connection: apsw.Connection, sought: Sought) -> list[Record]:
    """See TaskBackend.find."""
    bits = sum(1 << CODES[status] for status in set(sought.statuses)) or None
    values: list[Any] = [min(sought.limit, MAX_PAGE), sought.before, bits, sought.queue, sought.task]
    if sought.workflow is not None:
        values.append(sought.workflow)
    return [to_record(row) for row in connection.execute(_SQL[_source(sought, bits)], values).fetchall()]


def _source(sought: Sought, bits: int | None) -> str:
    """The statement whose index leads to the fewest rows that do not match."""
    if sought.workflow is not None:
        return "find_workflow"
    if bits == _RUNNING:
        return "find_running"
    if bits == _RETRY:
        return "find_retry"
    if bits and not bits & ~_FALLEN:
        return "find_fallen"
    return "find"


def counts(connection: apsw.Connection) -> list[QueueCounts]:
    """See TaskBackend.counts. Counts along indexes: 0.04 s for a million messages."""
    tally: defaultdict[str, Counter[TaskStatus]] = defaultdict(Counter)
    ready: Counter[str] = Counter()
    for queue, number in _rows(connection, "count_ready"):
        ready[queue] += number
        tally[queue][TaskStatus.PENDING] += number
    for queue, number in _rows(connection, "count_waiting"):
        tally[queue][TaskStatus.PENDING] += number
    for queue, number in _rows(connection, "count_retry"):
        tally[queue][TaskStatus.PENDING] -= number
        tally[queue][TaskStatus.RETRY] += number
    for queue, number in _rows(connection, "count_claimed"):
        tally[queue][TaskStatus.RUNNING] += number
    for queue, status, number in _rows(connection, "count_ended"):
        tally[queue][STATUSES[status]] += number
    paused = {queue for (queue,) in _rows(connection, "paused")}
    return [
        QueueCounts(queue=queue, by_status=dict(+tally[queue]), ready=ready[queue], paused=queue in paused)
        for queue in sorted(tally.keys() | paused)
    ]


def _rows(connection: apsw.Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(_SQL[name]).fetchall()


def workers(connection: apsw.Connection, *, ahead: float) -> list[WorkerRecord]:
    """See TaskBackend.workers. The wall clock is `ahead` of the clock of the beats by so many seconds."""
    return [
        WorkerRecord(beat=_decode_beat(beat), beat_at=beat_at + ahead, claims=claims, suspected=bool(suspected))
        for beat, beat_at, suspected, claims in _rows(connection, "workers")
    ]


def schedules(connection: apsw.Connection) -> list[ScheduleRecord]:
    """See TaskBackend.load_schedules."""
    return [
        ScheduleRecord(name=name, spec=spec, last_due=last_due, paused=bool(paused), version=version)
        for name, spec, last_due, paused, version in _rows(connection, "schedules")
    ]


def by_number(connection: apsw.Connection, numbers: Sequence[int]) -> dict[int, Record]:
    """The records of messages by row number; without those that are gone."""
    wanted = msgspec.json.encode(numbers).decode()
    rows: list[tuple[Any, ...]] = connection.execute(_SQL["records"], (wanted,)).fetchall()
    return {row[0]: to_record(row[1:]) for row in rows}
