"""How values stand in the tables: stages, flags, codes of statuses, and the columns of a record. No SQL is run here."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL, TOMBSTONE_TTL, Record
from reinhardt_tasks.status import TaskStatus

APPLICATION_ID: Final = 0x52744B53
"""What marks a database file as one of ours ("RtKS"; `PRAGMA application_id`)."""
SCHEMA_VERSION: Final = 1
"""The version of schema.sql (`PRAGMA user_version`)."""


SHORT: Final = 400
"""The most bytes of a sealed envelope that stand in the message's own row; a longer one stands in `bodies`."""


class Stage(IntEnum):
    """Where a message stands, for the partial indexes: finer than its status before it runs, coarser after."""

    READY = 1
    SUSPECT = 2
    """Ready, but it lost a worker before: it has a line of its own, and is given out alone."""
    LATER = 3
    BLOCKED = 4
    """It waits for its parents, or for the start of its workflow."""
    CLAIMED = 5
    ENDED = 6


# Bits of the column `flags`.
HELD: Final = 1
TOLERANT: Final = 2
PARENT: Final = 4
"""Others were put to wait for it."""
KEEPER: Final = 8
"""Finished messages of its workflow are kept until it has finished."""
CANCELLING: Final = 16
ORPHANED: Final = 32
"""It was cancelled because a parent failed."""
EXPIRED: Final = 64
WINDOWED: Final = 128
"""Its unique key holds for a time, whatever becomes of it."""

_S = TaskStatus
STATUSES: Final = (_S.PENDING, _S.RUNNING, _S.RETRY, _S.SUCCESS, _S.FAILURE, _S.CANCELLED)
"""The column `status` is an index into this; those that failed come last."""
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
FALLEN: Final = (CODES[TaskStatus.FAILURE], CODES[TaskStatus.CANCELLED])
_WITH_HOLDER: Final = frozenset({TaskStatus.RUNNING, TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.CANCELLED})

_FLAGS: Final = {
    "HELD": HELD,
    "TOLERANT": TOLERANT,
    "PARENT": PARENT,
    "KEEPER": KEEPER,
    "CANCELLING": CANCELLING,
    "ORPHANED": ORPHANED,
    "EXPIRED": EXPIRED,
}
_RECORD: Final = (
    "m.id, m.name, m.queue, m.priority, m.status, m.created_at, m.updated_at, m.attempts, m.losses, m.run_at, "
    "m.started_at, m.finished_at, m.waiting_on, m.worker, m.unique_key, m.workflow, m.flags, m.result, m.error, "
    "m.progress"
)
_METADATA: Final = "id, name, status, version, created_at, updated_at, task_data"
_BODY: Final = "iif(m.body IS NULL, (SELECT b.body FROM bodies b WHERE b.no = m.no), m.body)"

WORDS: Final[dict[str, str]] = {
    **{stage.name: str(stage.value) for stage in Stage},
    **{status.name: str(code) for status, code in CODES.items()},
    **{name: str(bit) for name, bit in _FLAGS.items()},
    "RECORD": _RECORD,
    "BODY": _BODY,
    "METADATA": _METADATA,
    "SHORT": f"{SHORT:,}",
    "MAX_BATCH": str(MAX_BATCH),  # not as a parameter: a statement with LIMIT ? is compiled anew each time it is run
    "TOMBSTONE_TTL": str(TOMBSTONE_TTL),
    "DEAD_LETTER_TTL": str(DEAD_LETTER_TTL),
}
"""What stands for `{WORD}` in the .sql files."""


def stage_for(run_at: float | None, now: float, *, blocked: bool = False, losses: int = 0) -> Stage:
    """Where an unfinished message that nobody holds belongs at `now`."""
    if blocked:
        return Stage.BLOCKED
    if run_at is not None and run_at > now:
        return Stage.LATER
    return Stage.SUSPECT if losses else Stage.READY


def to_record(row: tuple[Any, ...]) -> Record:
    """The record in a row of the columns `{RECORD}`, followed by the body or not."""
    flags, status = row[16], STATUSES[row[4]]
    return Record(
        id=TaskId(row[0]),
        name=row[1],
        queue=row[2],
        priority=row[3],
        status=status,
        created_at=row[5],
        updated_at=row[6],
        attempts=row[7],
        losses=row[8],
        run_at=row[9],
        started_at=row[10],
        finished_at=row[11],
        waiting_on=row[12],
        worker=row[13] if status in _WITH_HOLDER and row[10] is not None else None,
        unique_key=row[14],
        workflow=None if row[15] is None else TaskId(row[15]),
        cancelling=bool(flags & CANCELLING),
        expired=bool(flags & EXPIRED),
        result=row[17],
        error=row[18],
        progress=row[19],
        body=row[20] if len(row) > 20 else None,
    )
