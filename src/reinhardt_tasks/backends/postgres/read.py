"""Reading: which statement leads to the fewest rows, and records out of rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from reinhardt_tasks.backends.postgres.arrays import Integers
from reinhardt_tasks.backends.postgres.layout import CODES, STATUSES, to_record
from reinhardt_tasks.contract import MAX_PAGE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, QueueCounts, Record, ScheduleRecord, WorkerRecord
from reinhardt_tasks.status import FALLEN, TaskStatus

Row = tuple[Any, ...]
_decode_beat = msgspec.msgpack.Decoder(Beat).decode


class Sought(NamedTuple):
    """What `find` is asked for; None and empty stand for any."""

    statuses: Collection[TaskStatus] = ()
    queue: str | None = None
    task: str | None = None
    workflow: TaskId | None = None
    before: TaskId | None = None
    limit: int = 50

    def statement(self) -> str:
        """The statement whose index leads to the fewest rows that do not match."""
        asked = frozenset(self.statuses)
        if self.workflow is not None or not asked:
            return "find"
        if asked <= FALLEN:
            return "find_fallen"
        return {frozenset({TaskStatus.RUNNING}): "find_running", frozenset({TaskStatus.RETRY}): "find_retry"}.get(
            asked, "find"
        )

    def values(self) -> list[Any]:
        """Its values."""
        codes = Integers.of([CODES[status] for status in self.statuses]) if self.statuses else None
        before, workflow = (None if id is None else id.uuid for id in (self.before, self.workflow))
        return [max(0, min(self.limit, MAX_PAGE)), before, codes, self.queue, self.task, workflow]


def by_id(rows: Sequence[Row]) -> dict[TaskId, Record]:
    """Records by their ids."""
    return {record.id: record for record in map(to_record, rows)}


def counts(rows: Sequence[Row]) -> list[QueueCounts]:
    """See TaskBackend.counts."""
    tally: defaultdict[str, Counter[TaskStatus]] = defaultdict(Counter)
    ready: Counter[str] = Counter()
    paused = {queue for where, queue, _, _ in rows if where == "paused"}
    for where, queue, code, number in rows:
        if where == "ready":
            ready[queue] += number
        elif where == "retry":
            tally[queue][TaskStatus.PENDING] -= number
        if where != "paused":
            tally[queue][STATUSES[code]] += number
    return [
        QueueCounts(queue=queue, by_status=dict(+tally[queue]), ready=ready[queue], paused=queue in paused)
        for queue in sorted(tally.keys() | paused)
    ]


def workers(rows: Sequence[Row]) -> list[WorkerRecord]:
    """See TaskBackend.workers."""
    return [
        WorkerRecord(beat=_decode_beat(beat), beat_at=beat_at, claims=claims, suspected=suspected)
        for beat, beat_at, suspected, claims in rows
    ]


def schedules(rows: Sequence[Row]) -> list[ScheduleRecord]:
    """See TaskBackend.load_schedules."""
    return [
        ScheduleRecord(name=name, spec=bytes(spec), last_due=last_due, paused=paused, version=version)
        for name, spec, last_due, paused, version in rows
    ]
