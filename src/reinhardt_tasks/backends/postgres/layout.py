"""How values stand in the tables: stages, flags, codes of statuses, and the columns of a record. No SQL is run here."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from reinhardt_tasks.contract import HELD_TTL, MAX_BATCH, SUSPECT_PATIENCE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL, TOMBSTONE_TTL, Record
from reinhardt_tasks.status import TaskStatus

PURGED_AT_ONCE: Final = 10 * MAX_BATCH
"""The most messages one step of `purge` deletes."""
FORGOTTEN_AT_ONCE: Final = 100
"""The most results or records that are over which one write to a store forgets."""


class Stage(IntEnum):
    """Where an unfinished message stands, for the partial indexes: finer than its status."""

    READY = 1
    SUSPECT = 2
    """Ready, but it lost a worker before: it has a line of its own, and is given out alone."""
    LATER = 3
    BLOCKED = 4
    """It waits for its parents."""
    CLAIMED = 5
    UNOPENED = 6
    """It waits for the start of its workflow, whatever else it waits for."""


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
STATUSES: Final[tuple[TaskStatus, ...]] = (_S.PENDING, _S.RUNNING, _S.RETRY, _S.SUCCESS, _S.FAILURE, _S.CANCELLED)
"""The column `status` is an index into this; those that failed come last."""
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
_WITH_HOLDER: Final = frozenset({TaskStatus.RUNNING, TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.CANCELLED})

_FLAGS: Final = {
    "HELD": HELD,
    "TOLERANT": TOLERANT,
    "PARENT": PARENT,
    "KEEPER": KEEPER,
    "CANCELLING": CANCELLING,
    "ORPHANED": ORPHANED,
    "EXPIRED": EXPIRED,
    "WINDOWED": WINDOWED,
}
# fmt: off
_CARRIED: Final = (
    "id", "name", "queue", "priority", "flags", "claims", "settled", "settler", "attempts", "losses", "unknowns",
    "max_losses", "worker", "run_at", "created_at", "started_at", "result_ttl", "workflow", "unique_key", "progress",
    "error", "body",
)
"""The columns that `messages` and `ended` have in common."""
# fmt: on
_RECORD: Final = (
    "uuid_send(m.id), m.name, m.queue, m.priority, m.status, m.created_at, m.updated_at, m.attempts, m.losses, "
    "m.run_at, m.started_at, {finished_at}, {waiting_on}, m.worker, m.unique_key, uuid_send(m.workflow), m.flags, "
    "{result}, m.error, m.progress"
)

WORDS: Final[dict[str, str]] = {
    **{stage.name: str(stage.value) for stage in Stage},
    **{status.name: str(code) for status, code in CODES.items()},
    **{name: str(bit) for name, bit in _FLAGS.items()},
    "NOW": "extract(epoch FROM clock_timestamp())::float8",
    "CARRIED": ", ".join(_CARRIED),
    "CARRIED_M": ", ".join(f"m.{column}" for column in _CARRIED),
    "RECORD": _RECORD.format(finished_at="NULL::float8", waiting_on="m.waiting_on", result="NULL::bytea"),
    "ENDED_RECORD": _RECORD.format(finished_at="m.finished_at", waiting_on="0", result="m.result"),
    "MAX_BATCH": str(MAX_BATCH),
    "PURGED_AT_ONCE": str(PURGED_AT_ONCE),
    "FORGOTTEN_AT_ONCE": str(FORGOTTEN_AT_ONCE),
    "METADATA": "uuid_send(m.id), m.name, m.status, m.version, m.created_at, m.updated_at, m.task_data",
    "LASTING": "(m.expires_at IS NULL OR m.expires_at > extract(epoch FROM clock_timestamp())::float8)",
    "TOMBSTONE_TTL": str(TOMBSTONE_TTL),
    "DEAD_LETTER_TTL": str(DEAD_LETTER_TTL),
    "HELD_TTL": str(HELD_TTL),
    "SUSPECT_PATIENCE": str(SUSPECT_PATIENCE),
    # Written so that no index but that of the ids fits: the plan is to look each message up, whatever is in the tables.
    "FENCED": f"m.stage IS NOT DISTINCT FROM {Stage.CLAIMED.value} AND m.worker IS NOT DISTINCT FROM _worker",
    # A list of ids is looked up by `id = ANY (list)` and joined by hashing. A join by nested loops would read the whole
    # index of the ids once a nearly empty table was analysed, with all that is dead there and all that comes later.
    "BY_IDS": "SET enable_hashjoin = on SET enable_nestloop = off",
    "BY_INDEX": (
        "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off "
        "SET jit = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '5s'"
    ),
}
"""What stands for `{WORD}` in the .sql files, beside `{T}`, which `statements` adds."""


def to_record(row: tuple[Any, ...]) -> Record:
    """The record in a row of the columns `{RECORD}`, followed by the body or not."""
    code: int = row[4]
    flags, status = row[16], STATUSES[code]
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
