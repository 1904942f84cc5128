"""Records of tasks in an SQLite file: each verb is one job for the writer, the reader or the watcher."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Final, Self

from reinhardt_tasks.backends.sqlite.lane import Answer
from reinhardt_tasks.backends.sqlite.layout import CODES, STATUSES
from reinhardt_tasks.backends.sqlite.onfile import LOCK_TIMEOUT, OnFile
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.backends.sqlite.watch import Glance, Watch
from reinhardt_tasks.errors import BackendError, MetadataNotFoundError, TaskError
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
)

_SQL: Final = statements("metadata")


class SqliteMetadataStore(OnFile, MetadataStore):
    """Records in the file at `path`, for all processes of one machine; it may be that of a queue.

    What it is made with is what a SqliteBackend is, and `ttl`, the seconds a record is kept once its task is finished.
    """

    name: ClassVar[str] = "sqlite"
    shared: ClassVar[bool] = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
        ttl: Seconds = DEAD_LETTER_TTL,
    ) -> None:
        OnFile.__init__(self, path, durability=durability, clock=clock, lock_timeout=lock_timeout)
        MetadataStore.__init__(self, ttl=ttl)

    async def open(self) -> None:
        """See Store.open. Creates the file and its tables where there are none, never a directory."""
        await self._open_file()

    async def close(self) -> None:
        """See Store.close. What was asked for before is finished first."""
        await self._close_file()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def store_many(self, records: Sequence[TaskMetadata]) -> list[bool]:
        """See MetadataStore.store_many. Also forgets some of what is over."""
        check_records(records)

        def work(store: Store) -> list[bool]:
            store.run(_SQL["forget"], store.now)
            return [self._store(store, record) for record in records]

        return await self._open_engine.write(work)

    async def get_many(self, ids: Sequence[TaskId]) -> list[TaskMetadata | None]:
        """See MetadataStore.get_many."""
        check_ids(ids)
        asked = [(id, self._settings.clock()) for id in ids]
        rows = await self._open_engine.read(lambda connection: connection.executemany(_SQL["get"], asked).fetchall())
        records = {record.id: record for record in map(_record, rows)}
        return [records.get(id) for id in ids]

    async def update_many(self, changes: Sequence[MetadataChange]) -> list[TaskMetadata | TaskError]:
        """See MetadataStore.update_many. Also forgets some of what is over."""
        check_changes(changes)

        def work(store: Store) -> list[TaskMetadata | TaskError]:
            store.run(_SQL["forget"], store.now)
            return [self._change(store, change) for change in changes]

        return await self._open_engine.write(work)

    async def delete_many(self, ids: Sequence[TaskId]) -> list[bool]:
        """See MetadataStore.delete_many."""
        check_ids(ids)
        return await self._open_engine.write(lambda store: [_remove(store, id) for id in ids])

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
        bits = sum(1 << CODES[status] for status in sought.statuses) or None
        values = [sought.limit, self._settings.clock(), sought.before, bits, sought.name]
        if len(sought.statuses) == 1:
            sql = _SQL["find_status"]
            values += [CODES[status] for status in sought.statuses]
        else:
            sql = _SQL["find"] if name is None else _SQL["find_name"]
        rows = await self._open_engine.read(lambda connection: connection.execute(sql, values).fetchall())
        return [_record(row) for row in rows]

    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> TaskMetadata | None:
        """See MetadataStore.wait."""
        limit = patience(timeout)
        record = await self.get(id)
        if record.status.finished:
            return record
        ended: TaskMetadata | None = await self._open_engine.wait(RecordWatch(record.id), limit)
        return ended

    def _store(self, store: Store, record: TaskMetadata) -> bool:
        until = store.now + self._ttl if record.status.finished else None
        store.run(_SQL["store"], record.id, record.name, CODES[record.status], store.now, until, record.task_data)
        return store.changed() > 0

    def _change(self, store: Store, change: MetadataChange) -> TaskMetadata | TaskError:
        standing = store.row(_SQL["standing"], change.id, store.now)
        refused = refusal(change, None if standing is None else (STATUSES[standing[0]], standing[1]))
        if standing is None or refused is not None:
            return refused or MetadataNotFoundError(task_id=str(change.id))
        code, _, until = standing
        if change.status is not None:
            code = CODES[change.status]
            until = store.now + self._ttl if change.status.finished else None
            store.ends = store.ends or change.status.finished
        return _record(store.rows(_SQL["change"], change.id, code, store.now, until, change.task_data)[0])


def _remove(store: Store, task_id: TaskId) -> bool:
    there = store.row(_SQL["standing"], task_id, store.now) is not None
    store.run(_SQL["remove"], task_id)
    store.ends = True
    return there


def _record(row: tuple[Any, ...]) -> TaskMetadata:
    """The record in a row of the columns `{METADATA}`."""
    id, name, status, version, created_at, updated_at, task_data = row
    return TaskMetadata(
        id=TaskId(id),
        name=name,
        status=STATUSES[status],
        version=version,
        created_at=moment(created_at),
        updated_at=moment(updated_at),
        task_data=task_data,
    )


class RecordWatch(Watch):
    """Waits for the record of a finished task."""

    on_work = False

    def __init__(self, task_id: TaskId) -> None:
        super().__init__(otherwise=None)
        self._task_id = task_id

    def look(self, glance: Glance) -> Answer | None:
        """The record, once its task is finished; an error once it is gone."""
        rows = glance.rows(_SQL["get"], self._task_id, glance.now)
        if not rows:
            return Answer(self.future, error=MetadataNotFoundError(task_id=str(self._task_id)))
        record = _record(rows[0])
        return Answer(self.future, record) if record.status.finished else None

    def at_close(self) -> Answer:
        """An error: there is no telling how the task ends."""
        text = f"the store was closed while the end of {self._task_id} was waited for"
        return Answer(self.future, error=BackendError(text, backend="sqlite"))
