"""Records of tasks in the memory of one process: the reference of the contract of metadata stores, to be read first."""

from __future__ import annotations

import copy
import heapq
import time
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar, Self

from msgspec.structs import replace

from reinhardt_tasks.backends.memory.shelf import Shelf
from reinhardt_tasks.errors import MetadataNotFoundError, TaskError
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


class InMemoryMetadataStore(MetadataStore):
    """Records in this process's memory, gone with it. `clock` gives the time in Unix seconds.

    Siblings may be used from any thread, each on its own event loop.
    """

    name: ClassVar[str] = "memory"
    shared: ClassVar[bool] = False

    def __init__(self, *, clock: Callable[[], float] = time.time, ttl: Seconds = DEAD_LETTER_TTL) -> None:
        super().__init__(ttl=ttl)
        self._shelf: Shelf[TaskMetadata] = Shelf(clock)

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def sibling(self) -> Self:
        """See Store.sibling."""
        return copy.copy(self)

    async def store_many(self, records: Sequence[TaskMetadata]) -> list[bool]:
        """See MetadataStore.store_many."""
        check_records(records)
        with self._shelf.step():
            return [self._store(record) for record in records]

    async def get_many(self, ids: Sequence[TaskId]) -> list[TaskMetadata | None]:
        """See MetadataStore.get_many."""
        check_ids(ids)
        with self._shelf.step():
            return [self._shelf.find(id) for id in ids]

    async def update_many(self, changes: Sequence[MetadataChange]) -> list[TaskMetadata | TaskError]:
        """See MetadataStore.update_many."""
        check_changes(changes)
        with self._shelf.step():
            return [self._change(change) for change in changes]

    async def delete_many(self, ids: Sequence[TaskId]) -> list[bool]:
        """See MetadataStore.delete_many."""
        check_ids(ids)
        with self._shelf.step():
            for id in ids:
                self._shelf.ring(id)
            return [self._shelf.remove(id) for id in ids]

    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        name: str | None = None,
        before: AnyId | None = None,
        limit: int = 50,
    ) -> list[TaskMetadata]:
        """See MetadataStore.find. Looks at every record; a database has an index."""
        sought = Sought.by(statuses, name, before, limit)

        def matches(record: TaskMetadata) -> bool:
            return (
                (not sought.statuses or record.status in sought.statuses)
                and name in {None, record.name}
                and (sought.before is None or record.id < sought.before)
            )

        with self._shelf.step():
            return heapq.nlargest(sought.limit, filter(matches, self._shelf.all()), key=lambda record: record.id)

    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> TaskMetadata | None:
        """See MetadataStore.wait."""
        task_id, limit = TaskId.parse(id), patience(timeout)

        def look() -> TaskMetadata | None:
            record = self._shelf.find(task_id)
            if record is None:
                raise MetadataNotFoundError(task_id=str(task_id))
            return record if record.status.finished else None

        return await self._shelf.awaited(task_id, look, limit)

    def _store(self, record: TaskMetadata) -> bool:
        if record.id in self._shelf:
            return False
        now = moment(self._shelf.now)
        self._keep(replace(record, created_at=now, updated_at=now, version=1))
        return True

    def _change(self, change: MetadataChange) -> TaskMetadata | TaskError:
        record = self._shelf.find(change.id)
        refused = refusal(change, None if record is None else (record.status, record.version))
        if record is None or refused is not None:
            return refused or MetadataNotFoundError(task_id=str(change.id))
        changed = replace(
            record,
            status=change.status or record.status,
            task_data=record.task_data if change.task_data is None else change.task_data,
            updated_at=moment(self._shelf.now),
            version=record.version + 1,
        )
        if changed.status is record.status:
            self._shelf.replace(record.id, changed)
        else:
            self._keep(changed)
        return changed

    def _keep(self, record: TaskMetadata) -> None:
        """Keep a record of another status than before; only those of finished tasks are ever forgotten."""
        self._shelf.keep(record.id, record, self._ttl if record.status.finished else None)
        if record.status.finished:
            self._shelf.ring(record.id)
