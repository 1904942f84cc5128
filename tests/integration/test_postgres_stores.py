"""Result and metadata stores in a PostgreSQL database, beside a queue, between instances, and through a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend, PostgresMetadataStore, PostgresResultBackend
from reinhardt_tasks.backends.postgres.statements import Names, migrations
from reinhardt_tasks.errors import BackendError, BackendUnavailableError, SchemaError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.stores import MetadataChange, TaskMetadata
from tests.servers.postgres import PostgresServer, running

LATE = 10.0
"""Seconds: nobody who is told waits for so long, and nobody who looks does either."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """For the tests of this file; each leaves it running."""
    with running() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    """Of a database of this test's own."""
    return server.url(server.new_database())


def record(**fields) -> TaskMetadata:
    """A fresh record."""
    return TaskMetadata(id=TaskId.new(), name="a.task", **fields)


@pytest.mark.parametrize("query", ["", "?notify=false"], ids=["told", "looking"])
async def test_who_waits_elsewhere_hears(url, query):
    """Of what another instance stores: told by the server, or, where that is switched off, by looking."""
    place = f"{url}{query}"
    async with (
        PostgresResultBackend(place) as results,
        PostgresMetadataStore(place) as store,
        PostgresResultBackend(place) as ear,
        PostgresMetadataStore(place) as eye,
    ):
        one, gone = record(status=TaskStatus.RUNNING), record()
        await store.store_many([one, gone])
        waits = [asyncio.create_task(wait) for wait in (ear.wait(one.id), eye.wait(one.id), eye.wait(gone.id))]
        await asyncio.sleep(0.3)  # past the first, quick looks
        began = time.monotonic()
        await results.store_result(one.id, "made")
        await store.update_status(one.id, TaskStatus.SUCCESS)
        await store.delete(gone.id)
        made, ended, deleted = await asyncio.gather(*waits, return_exceptions=True)
        assert time.monotonic() - began < LATE
        assert made == "made"
        assert getattr(ended, "status", None) is TaskStatus.SUCCESS
        assert str(gone.id) in str(deleted)


async def test_a_database_holds_a_queue_and_both_stores(url):
    """Each keeps its own under the same id, and none sees what another forgets."""
    id = TaskId.new()
    async with (
        PostgresBackend(url) as queue,
        PostgresResultBackend(url) as results,
        PostgresMetadataStore(url) as store,
    ):
        await queue.put([Message(id=id, name="a", body=b"b")])
        await asyncio.gather(results.store_result(id, 7), store.store(TaskMetadata(id=id, name="a")))
        assert await results.delete_result(id) is True
        assert await queue.get_status(id) is TaskStatus.PENDING
        assert (await store.get(id)).status is TaskStatus.PENDING
        await queue.cancel([id])
        await queue.delete([id])
        assert (await store.get(id)).status is TaskStatus.PENDING


async def test_stores_of_two_prefixes_know_nothing_of_each_other(url):
    """Given as an option or in the URL."""
    async with (
        PostgresMetadataStore(url, table_prefix="a_") as one,
        PostgresMetadataStore(f"{url}?table_prefix=b_") as two,
    ):
        kept = record()
        await one.store(kept)
        assert await two.get_many([kept.id]) == [None]


async def test_no_tables_are_made_where_that_is_not_wanted(url):
    """The error says what to run."""
    for store in (PostgresResultBackend(url, migrate=False), PostgresMetadataStore(f"{url}?migrate=false")):
        with pytest.raises(SchemaError, match="reinhardt-tasks migrate"):
            await store.open()


async def test_who_waits_when_the_store_is_closed_is_told(url):
    """There is no telling how it ends."""
    results, store = PostgresResultBackend(url), PostgresMetadataStore(url)
    await asyncio.gather(results.open(), store.open())
    one = record()
    await store.store(one)
    waits = [asyncio.create_task(results.wait(one.id)), asyncio.create_task(store.wait(one.id))]
    await asyncio.sleep(0.3)
    await asyncio.gather(results.close(), store.close())
    for wait in waits:
        with pytest.raises(BackendError, match=r"closed while somebody waited|not open"):
            await wait


async def test_what_was_stored_outlives_a_crash_and_a_wait_outlives_it_too(server, url):
    """Callers hear that the server is away, and may repeat."""
    async with PostgresResultBackend(url) as results, PostgresMetadataStore(url) as store:
        one = record(status=TaskStatus.RUNNING)
        await store.store(one)
        await results.store_result(one.id, "kept")
        await asyncio.to_thread(server.restart)
        assert await _persistent(lambda: results.get_result(one.id)) == "kept"
        ended = await _persistent(lambda: store.update_status(one.id, TaskStatus.SUCCESS, version=1))
        assert ended.version == 2


async def _persistent(call):
    """The answer to a call that is repeated while the server is away."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except BackendUnavailableError:
                await asyncio.sleep(0.02)


async def test_changes_in_any_order_by_many_end_well(url):
    """Two that change the same records in opposite orders are in each other's way, and both get through."""
    async with PostgresMetadataStore(url) as one, PostgresMetadataStore(url) as two:
        records = [record() for _ in range(100)]
        await one.store_many(records)
        changes = [MetadataChange(id=kept.id, task_data=b"x") for kept in records]
        for _ in range(10):
            await asyncio.gather(one.update_many(changes), two.update_many(changes[::-1]))
        assert {kept.version for kept in await one.find(limit=200)} == {21}


async def test_tables_of_version_1_get_the_stores_and_keep_what_they_hold(server):
    """A queue that was there before goes on."""
    database, id = server.new_database(), TaskId.new()
    head = "CREATE TABLE reinhardt_migrations (version int PRIMARY KEY, applied_at timestamptz DEFAULT now())"
    message = (
        "INSERT INTO reinhardt_messages "
        "(id, created_at, updated_at, result_ttl, max_losses, priority, stage, name, queue, seq, body) "
        f"SELECT '{id}', 1, 1, 60, 3, 5, 1, 'n', 'default', 1, 'b'"
    )
    applied = "INSERT INTO reinhardt_migrations (version) VALUES (1)"
    for step in (head, migrations(Names("public", "reinhardt_"))[0][1], message, applied):
        server.execute(step, database=database)
    url = server.url(database)
    async with PostgresBackend(url) as queue, PostgresResultBackend(url) as results:
        assert await queue.get_status(id) is TaskStatus.PENDING
        await results.store_result(id, 7)
        assert await results.get_result(id) == 7
