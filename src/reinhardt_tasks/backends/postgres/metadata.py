"""Records of tasks in a PostgreSQL database: each verb is one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final, Self, Unpack

from reinhardt_tasks.backends.postgres import bell, place
from reinhardt_tasks.backends.postgres.arrays import Blobs, Integers, Texts, Uuids
from reinhardt_tasks.backends.postgres.faults import NAME
from reinhardt_tasks.backends.postgres.layout import CODES, STATUSES
from reinhardt_tasks.backends.postgres.ondatabase import OnDatabase
from reinhardt_tasks.errors import TaskError
from reinhardt_tasks.identity import AnyId, TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.stores import (
    MetadataChange,
    MetadataStore,
    Sought,
    TaskMetadata,
    check_changes,
    check_ids,
    check_records,
    moment,
    patience,
    refusal,
    sources,
)

_AS_IT_IS: Final = -1
_LEGAL: Final = {status: sum(1 << CODES[old] for old in sources(status)) for status in TaskStatus}


class PostgresMetadataStore(OnDatabase, MetadataStore):
    """Records in the database that `url` names, for all machines that reach it; it may be that of a queue.

    URL, `table_prefix` and what else concerns the database are those of a PostgresBackend; a record is kept for `ttl`
    seconds once its task is finished.
    """

    name: ClassVar[str] = NAME
    shared: ClassVar[bool] = True

    def __init__(self, url: str, *, ttl: Seconds = DEAD_LETTER_TTL, **options: Unpack[place.Options]) -> None:
        MetadataStore.__init__(self, ttl=ttl)
        OnDatabase.__init__(self, url, options)

    async def open(self) -> None:
        """See Store.open. Creates the tables, or brings them up to this version, where that is needed."""
        await self._open_database()

    async def close(self) -> None:
        """See Store.close. What was asked for before is finished first."""
        await self._close_database()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def store_many(self, records: Sequence[TaskMetadata]) -> list[bool]:
        """See MetadataStore.store_many. Also forgets some of what is over."""
        check_records(records)
        values = [
            Uuids.of(record.id for record in records),
            Texts.of(record.name for record in records),
            Integers.of(CODES[record.status] for record in records),
            Blobs.of(record.task_data for record in records),
            float(self._ttl),
        ]
        ((stored,),) = await self._open_engine.call("metadata_store", values)
        return _first_ones([record.id for record in records], stored)

    async def get_many(self, ids: Sequence[TaskId]) -> list[TaskMetadata | None]:
        """See MetadataStore.get_many."""
        check_ids(ids)
        rows = await self._open_engine.read("metadata_get", [Uuids.of(ids)])
        records = {record.id: record for record in map(_record, rows)}
        return [records.get(id) for id in ids]

    async def update_many(self, changes: Sequence[MetadataChange]) -> list[TaskMetadata | TaskError]:
        """See MetadataStore.update_many. Also forgets some of what is over."""
        check_changes(changes)
        engine = self._open_engine
        statuses = [change.status for change in changes]
        values = [
            Uuids.of(change.id for change in changes),
            Integers.of(_AS_IT_IS if status is None else CODES[status] for status in statuses),
            Integers.of(0 if status is None else _LEGAL[status] for status in statuses),
            Texts.of(None if change.version is None else str(change.version) for change in changes),
            Blobs.of(change.task_data for change in changes),
            float(self._ttl),
        ]
        rows = await engine.call("metadata_update", values)
        answers = [_judged(change, row) for change, row in zip(changes, rows, strict=True)]
        engine.ringer.ring(
            bell.record(answer.id) for answer in answers if isinstance(answer, TaskMetadata) and answer.status.finished
        )
        return answers

    async def delete_many(self, ids: Sequence[TaskId]) -> list[bool]:
        """See MetadataStore.delete_many."""
        check_ids(ids)
        engine = self._open_engine
        ((deleted,),) = await engine.call("metadata_delete", [Uuids.of(ids)])
        engine.ringer.ring(map(bell.record, map(TaskId, deleted or ())))
        return _first_ones(ids, deleted)

    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        name: str | None = None,
        before: AnyId | None = None,
        limit: int = 50,
    ) -> list[TaskMetadata]:
        """See MetadataStore.find."""
        sought = Sought.by(statuses, name, before, limit)
        values: list[Any] = [sought.limit, None if sought.before is None else sought.before.uuid]
        codes = Integers.of(CODES[status] for status in sought.statuses) if sought.statuses else None
        statement = "metadata_find"
        if sought.name is not None:
            statement = "metadata_find_name"
            values += [sought.name, codes]
        elif codes is not None:
            statement = "metadata_find_status"
            values.append(codes)
        return [_record(row) for row in await self._open_engine.read(statement, values)]

    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> TaskMetadata | None:
        """See MetadataStore.wait."""
        task_id, limit = TaskId.parse(id), patience(timeout)

        async def look() -> TaskMetadata | None:
            found = await self.get(task_id)
            return found if found.status.finished else None

        return await self._told(bell.record(task_id), look, limit)


def _first_ones(ids: Sequence[TaskId], done: Sequence[bytes] | None) -> list[bool]:
    """Per id whether something was done for it: it was at its first mention, if at all."""
    left = set(map(TaskId, done or ()))
    answers: list[bool] = []
    for id in ids:
        answers.append(id in left)
        left.discard(id)
    return answers


def _judged(change: MetadataChange, row: Sequence[Any]) -> TaskMetadata | TaskError:
    """The record as it is now, or why it was left alone, from a row of `metadata_update`."""
    changed, columns = row[0], row[1:]
    if changed:
        return _record(columns)
    standing = None if changed is None else (STATUSES[int(columns[2])], int(columns[3]))
    refused = refusal(change, standing)
    if refused is None:
        raise AssertionError(f"{change} was not made to a record that stands so: {standing}")
    return refused


def _record(row: Sequence[Any]) -> TaskMetadata:
    """The record in a row of the columns `{METADATA}`."""
    id, name, status, version, created_at, updated_at, task_data = row
    return TaskMetadata(
        id=TaskId(id),
        name=name,
        status=STATUSES[int(status)],
        version=version,
        created_at=moment(created_at),
        updated_at=moment(updated_at),
        task_data=task_data,
    )
