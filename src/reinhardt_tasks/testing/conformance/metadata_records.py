"""Records that tests of a metadata store begin with."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from typing import Any

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import MetadataStore, TaskMetadata
from reinhardt_tasks.testing.conformance.stores import StoreStage

Stage = StoreStage[MetadataStore]


def fresh(name: str = "conformance.task", **fields: Any) -> TaskMetadata:
    """A fresh record."""
    return TaskMetadata(id=TaskId.new(), name=name, **fields)


async def stored(store: MetadataStore, name: str = "conformance.task", **fields: Any) -> TaskMetadata:
    """A fresh record, as it is in the store."""
    record = fresh(name, **fields)
    assert await store.store(record) is True
    return await store.get(record.id)


async def stored_many(store: MetadataStore, count: int, **fields: Any) -> list[TaskId]:
    """The ids of `count` fresh records, oldest first."""
    records = [fresh(**fields) for _ in range(count)]
    for start in range(0, count, MAX_BATCH):
        await store.store_many(records[start : start + MAX_BATCH])
    return sorted(record.id for record in records)
