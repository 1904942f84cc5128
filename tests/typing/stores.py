"""Stores as type checkers must see them: every type here is asserted, and checked by mypy and pyright."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

from reinhardt_tasks import (
    InMemoryMetadataStore,
    MemoryResultBackend,
    MetadataChange,
    MetadataStore,
    ResultBackend,
    TaskError,
    TaskId,
    TaskMetadata,
    TaskStatus,
)
from reinhardt_tasks.backends.redis import RedisMetadataStore, RedisResultBackend
from reinhardt_tasks.backends.sqlite import SqliteMetadataStore, SqliteResultBackend


@dataclass
class Report:
    total: int


def every_store_takes_its_options() -> tuple[list[ResultBackend], list[MetadataStore]]:
    day = timedelta(days=1)
    results: list[ResultBackend] = [
        MemoryResultBackend(ttl=day, max_size=1000),
        SqliteResultBackend("results.db", durability="normal", ttl=3600, secret_keys=["a key of sixteen"]),
        RedisResultBackend("redis://localhost", prefix="a:", wait_replicas=1, ttl=day, encryption_keys=[]),
    ]
    metadata: list[MetadataStore] = [
        InMemoryMetadataStore(ttl=day),
        SqliteMetadataStore("metadata.db", durability="off", ttl=day),
        RedisMetadataStore("redis://localhost", prefix="b:", timeout=2, ttl=3600),
    ]
    return results, metadata


async def results_come_back_typed(results: ResultBackend, uuid: UUID) -> None:
    async with results as opened:
        assert_type(opened, ResultBackend)
    assert_type(results.sibling(), ResultBackend)
    await results.store_result(uuid, Report(1))
    await results.store_result(str(uuid), [Report(1)], type=list[Report], ttl=timedelta(hours=1))
    await results.store_error(TaskId.new(), ValueError("no"), ttl=60)
    assert_type(await results.get_result(uuid), Any)
    assert_type(await results.get_result(uuid, type=Report), Report)
    assert_type(await results.wait(uuid, 10), Any)
    assert_type(await results.wait(uuid, timedelta(seconds=1), type=list[Report]), list[Report])
    assert_type(await results.delete_result(uuid), bool)


async def metadata_is_typed(store: MetadataStore, id: TaskId) -> None:
    record = TaskMetadata(id=id, name="a", task_data=b"")
    assert_type(record.created_at, datetime)
    assert_type(await store.store(record), bool)
    assert_type(await store.get(str(id)), TaskMetadata)
    assert_type(await store.update_status(id, TaskStatus.RUNNING, version=record.version), TaskMetadata)
    assert_type(await store.update_data(id, b"x"), TaskMetadata)
    assert_type(await store.delete(id), bool)
    assert_type(await store.find(statuses=[TaskStatus.RUNNING], name="a", before=id, limit=5), list[TaskMetadata])
    assert_type(await store.wait(id, 5), TaskMetadata | None)
    assert_type(await store.store_many([record]), list[bool])
    assert_type(await store.get_many([id]), list[TaskMetadata | None])
    answers = await store.update_many([MetadataChange(id=id, status=TaskStatus.SUCCESS)])
    assert_type(answers, list[TaskMetadata | TaskError])
    assert_type(await store.delete_many([id]), list[bool])
    assert_type(store.shared, bool)
