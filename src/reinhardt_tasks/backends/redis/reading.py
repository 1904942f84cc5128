"""Reading: `get`, `find`, `counts`, `workers`; what is long in pieces that keep the server for a few ms each."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.contract import MAX_BATCH, MAX_PAGE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, QueueCounts, Record, WorkerRecord
from reinhardt_tasks.status import TaskStatus

STATUSES: Final[tuple[TaskStatus, ...]] = tuple(TaskStatus)
"""The statuses by the numbers that scripts know them by."""
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
_ANY: Final = (1 << len(STATUSES)) - 1
_CANCELLING: Final = 1
_EXPIRED: Final = 2
_TIMED: Final = 4
_times = struct.Struct(">ddddd").unpack
_decode_beat = msgspec.msgpack.Decoder(Beat).decode


class Sought(NamedTuple):
    """What `find` is asked for; None and empty stand for any."""

    statuses: Collection[TaskStatus] = ()
    queue: str | None = None
    task: str | None = None
    workflow: TaskId | None = None
    before: TaskId | None = None
    limit: int = 50


def bits_of(statuses: Iterable[TaskStatus]) -> int:
    """A set of statuses as scripts are told it."""
    return sum(1 << CODES[status] for status in set(statuses))


async def get(link: Link, ids: Sequence[TaskId], *, body: bool) -> list[Record | None]:
    """See TaskBackend.get."""
    records: list[Record | None] = []
    while len(records) < len(ids):
        wanted = ids[len(records) : len(records) + MAX_BATCH]
        records += map(_record, await link.call("get", int(body), *wanted))
    return records


async def find(link: Link, sought: Sought) -> list[Record]:
    """See TaskBackend.find. Newest first, until there are enough, or as many as are known to match."""
    bits = bits_of(sought.statuses) or _ANY
    asked = (bits, _given(sought.queue), _given(sought.task), _given(sought.workflow))
    limit = min(sought.limit, MAX_PAGE)
    found: list[Record] = []
    source, below, left = b"", sought.before or b"", None
    while len(found) < limit:
        first = not source
        below, source, seen, there, *rows = await link.call("find", source, below, limit - len(found), *asked)
        found += [record for row in rows if (record := _record(row)) is not None]
        if first and sought.before is None:
            left = there
        if left is not None:
            left -= seen
        if below is None or left == 0:
            break
    return found


def _given(value: str | bytes | None) -> bytes:
    """A name or id to look for, as `find` is told it: empty where any will do."""
    if value is None:
        return b""
    return b"=" + (value.encode() if isinstance(value, str) else value)


def _record(row: Sequence[Any] | None) -> Record | None:
    """The record in a row of `lua/reading.lua`; None for an unknown message."""
    if row is None:
        return None
    id, name, queue, worker, key, workflow, times, status, priority, attempts, losses, waiting_on, bits = row[:13]
    created_at, updated_at, run_at, started_at, finished_at = _times(times)
    return Record(
        id=TaskId(id),
        name=name.decode(),
        queue=queue.decode(),
        priority=priority,
        status=STATUSES[int(status)],
        created_at=created_at,
        updated_at=updated_at,
        attempts=attempts,
        losses=losses,
        run_at=run_at if bits & _TIMED else None,
        started_at=started_at or None,
        finished_at=finished_at or None,
        waiting_on=waiting_on,
        worker=worker.decode() or None,
        unique_key=None if key is None else key.decode(),
        workflow=None if workflow is None else TaskId(workflow),
        cancelling=bool(bits & _CANCELLING),
        expired=bool(bits & _EXPIRED),
        result=row[13],
        error=row[14],
        progress=row[15],
        body=row[16],
    )


async def counts(link: Link) -> list[QueueCounts]:
    """See TaskBackend.counts. One step for some hundred queues, more for more."""
    tally: defaultdict[str, dict[TaskStatus, int]] = defaultdict(dict)
    ready: dict[str, int] = {}
    cursor: bytes | int = 0
    while cursor != b"0":
        cursor, *fields = await link.call("counts", cursor)
        for field, number, can_start in _grouped(fields, 3):
            queue = field[1:].decode()
            tally[queue][STATUSES[field[0] - ord("0")]] = int(number)
            ready[queue] = can_start
    paused = {queue.decode() for queue in await link.command("SMEMBERS", link.root + b"paused")}
    return [
        QueueCounts(
            queue=queue,
            by_status={status: number for status, number in tally[queue].items() if number},
            ready=ready.get(queue, 0),
            paused=queue in paused,
        )
        for queue in sorted(tally.keys() | paused)
    ]


async def workers(link: Link) -> list[WorkerRecord]:
    """See TaskBackend.workers."""
    names: list[bytes] = sorted(await link.command("SMEMBERS", link.root + b"workers"))
    rows: list[Any] = []
    for first in range(0, len(names), MAX_BATCH):
        rows += await link.call("workers", *names[first : first + MAX_BATCH])
    return [_worker_record(*row) for row in rows if row is not None]  # None: it has left meanwhile


def _worker_record(beat: bytes, beat_at: bytes, suspected_at: bytes, claims: int) -> WorkerRecord:
    return WorkerRecord(beat=_decode_beat(beat), beat_at=float(beat_at), claims=claims, suspected=bool(suspected_at))


def _grouped(flat: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """The values of a flat answer, so many at a time."""
    return zip(*[iter(flat)] * size, strict=True)
