"""Records of tasks on a Redis server: each verb is one script."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final, Self, Unpack

from reinhardt_tasks.backends.redis import place
from reinhardt_tasks.backends.redis.connection import Part
from reinhardt_tasks.backends.redis.onserver import OnServer
from reinhardt_tasks.backends.redis.reading import CODES, STATUSES
from reinhardt_tasks.errors import BackendFullError, MetadataNotFoundError, TaskError
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

PREFIX: Final = "reinhardt:metadata:"
"""What every key begins with, unless told otherwise."""
_times = struct.Struct(">dd").unpack


class RedisMetadataStore(OnServer, MetadataStore):
    """Records on the Redis or Valkey server at `url`, for all machines that reach it.

    URL, `prefix` and what else concerns the server are those of a RedisTaskBackend; a record is kept for `ttl` seconds
    once its task is finished.
    """

    name: ClassVar[str] = "redis"
    shared: ClassVar[bool] = True

    def __init__(self, url: str, *, ttl: Seconds = DEAD_LETTER_TTL, **options: Unpack[place.Options]) -> None:
        MetadataStore.__init__(self, ttl=ttl)
        OnServer.__init__(self, url, options, prefix=PREFIX)

    async def open(self) -> None:
        """See Store.open."""
        await self._link.open()

    async def close(self) -> None:
        """See Store.close."""
        await self._link.close()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def store_many(self, records: Sequence[TaskMetadata]) -> list[bool]:
        """See MetadataStore.store_many. Also forgets some of what is over, more of it where memory is full."""
        check_records(records)
        parts: list[Part] = [self._ttl]
        for record in records:
            parts += (record.id, record.name, CODES[record.status], record.task_data)
        while True:
            try:
                answer = await self._link.call("metadata_store", *parts, replicate=True)
            except BackendFullError:
                if not await self._link.call("metadata_forget", replicate=True):
                    raise
            else:
                return [bool(stored) for stored in answer]

    async def get_many(self, ids: Sequence[TaskId]) -> list[TaskMetadata | None]:
        """See MetadataStore.get_many. Where that is much, it comes in several answers, each of one moment."""
        check_ids(ids)
        records: list[TaskMetadata | None] = []
        while len(records) < len(ids):
            rows = await self._link.call("metadata_get", *ids[len(records) :])
            records += [None if row is None else _record(row) for row in rows]
        return records

    async def update_many(self, changes: Sequence[MetadataChange]) -> list[TaskMetadata | TaskError]:
        """See MetadataStore.update_many. Also forgets some of what is over."""
        check_changes(changes)
        parts: list[Part] = [self._ttl]
        for change in changes:
            parts += _as_parts(change)
        answers = await self._link.call("metadata_update", *parts, replicate=True)
        return [_judged(change, answer) for change, answer in zip(changes, answers, strict=True)]

    async def delete_many(self, ids: Sequence[TaskId]) -> list[bool]:
        """See MetadataStore.delete_many."""
        check_ids(ids)
        return [bool(there) for there in await self._link.call("metadata_delete", *ids, replicate=True)]

    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        name: str | None = None,
        before: AnyId | None = None,
        limit: int = 50,
    ) -> list[TaskMetadata]:
        """See MetadataStore.find. Where few match, it looks in steps that keep the server for a few ms each."""
        sought = Sought.by(statuses, name, before, limit)
        bits = _bits(sought.statuses or frozenset(TaskStatus))
        wanted = "" if name is None else f"={name}"
        found: list[TaskMetadata] = []
        below: bytes | None = sought.before or b""
        while below is not None and len(found) < sought.limit:
            answer = await self._link.call("metadata_find", below, sought.limit - len(found), bits, wanted)
            below = answer[0]
            found += [_record(row) for row in answer[1:]]
        return found

    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> TaskMetadata | None:
        """See MetadataStore.wait."""
        task_id, limit = TaskId.parse(id), patience(timeout)
        record = await self.get(task_id)
        if record.status.finished or limit == 0:
            return record if record.status.finished else None

        async def ask(channel: bytes, seconds: float) -> TaskMetadata | None:
            answer = await self._link.call("metadata_watch", task_id, channel, seconds)
            if answer is None:
                raise MetadataNotFoundError(task_id=str(task_id))
            return _record(answer) if isinstance(answer, list) else None

        return await self._told(b"m" + task_id, ask, limit)


def _bits(statuses: Collection[TaskStatus]) -> int:
    return sum(1 << CODES[status] for status in statuses)


_SOURCES: Final = {status: _bits(sources(status)) for status in TaskStatus}


def _as_parts(change: MetadataChange) -> tuple[Part, ...]:
    """A change as the script `metadata_update` takes it."""
    status, legal = (-1, 0) if change.status is None else (CODES[change.status], _SOURCES[change.status])
    version = "" if change.version is None else str(change.version)
    data = b"" if change.task_data is None else b"=" + change.task_data
    return change.id, status, legal, version, data


def _judged(change: MetadataChange, answer: list[Any]) -> TaskMetadata | TaskError:
    """The record as it is now, or why it was left alone."""
    refused = refusal(change, (STATUSES[answer[0]], answer[1]) if answer else None)
    return refused or _record(answer[2], change.task_data)


def _record(row: list[Any], data: bytes | None = None) -> TaskMetadata:
    """The record in a row; with `data` in place of those of the row, where they are given."""
    id, name, status, version, times, kept = row
    created_at, updated_at = map(moment, _times(times))
    return TaskMetadata(
        id=TaskId(id),
        name=name.decode(),
        status=STATUSES[status],
        version=version,
        created_at=created_at,
        updated_at=updated_at,
        task_data=kept if data is None else data,
    )
