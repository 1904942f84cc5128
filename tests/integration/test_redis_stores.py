"""Result and metadata stores on a Redis server that is full, restarts, forgets its scripts, or holds large things."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from reinhardt_tasks.backends.redis import RedisMetadataStore, RedisResultBackend
from reinhardt_tasks.errors import BackendFullError, BackendUnavailableError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.stores import MetadataChange, TaskMetadata
from tests.eventually import eventually_async
from tests.servers.redis import RedisServer

MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may fill and end; what it answers for is on the disk."""
    with RedisServer({"appendonly": "yes", "appendfsync": "always"}) as it:
        yield it


@pytest.fixture
def clocked() -> Iterator[RedisServer]:
    """A server whose clock the test moves."""
    with RedisServer(clock=True) as it:
        yield it


def record(**fields) -> TaskMetadata:
    """A fresh record."""
    return TaskMetadata(id=TaskId.new(), name="a.task", **fields)


def fill(server: RedisServer) -> None:
    """Leave the server no memory for anything new."""
    server.call("CONFIG", "SET", "maxmemory", 1)


def make_room(server: RedisServer) -> None:
    """Take the limit away."""
    server.call("CONFIG", "SET", "maxmemory", 0)


async def works_again(ask) -> None:
    """Return when `ask()` gets through."""
    async with asyncio.timeout(20):
        while True:
            try:
                await ask()
            except BackendUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_what_is_under_way_ends_when_memory_is_full(server):
    """Nothing new is stored; records that are there go on, are read, waited for and deleted."""
    async with RedisMetadataStore(server.url()) as store, RedisResultBackend(server.url()) as results:
        running, gone, waiting = (record(status=TaskStatus.RUNNING) for _ in range(3))
        await store.store_many([running, gone, waiting])
        await results.store_result(running.id, "before")
        fill(server)
        for ask in (lambda: store.store(record()), lambda: results.store_result(running.id, "x")):
            with pytest.raises(BackendFullError, match="maxmemory"):
                await ask()
        ended = asyncio.create_task(store.wait(waiting.id, 20))
        awaited = asyncio.create_task(results.wait(waiting.id, 20))
        assert (await store.update_status(running.id, TaskStatus.SUCCESS, task_data=b"done")).task_data == b"done"
        assert await store.delete(gone.id) is True
        assert await results.get_result(running.id) == "before"
        assert await results.delete_result(running.id) is True
        await store.update_status(waiting.id, TaskStatus.FAILURE)
        assert (await ended).status is TaskStatus.FAILURE
        make_room(server)
        await results.store_result(waiting.id, "after")
        assert await awaited == "after"


async def test_what_is_over_makes_room_when_memory_is_full(clocked):
    """Records that nobody has asked to forget yet do not keep new ones out."""
    async with RedisMetadataStore(clocked.url(), ttl=100) as store:
        for _ in range(3):
            await store.store_many([record(status=TaskStatus.SUCCESS, task_data=b"x" * 20_000) for _ in range(300)])
        clocked.call("CONFIG", "SET", "maxmemory", clocked.call("INFO", "memory")["used_memory"])
        with pytest.raises(BackendFullError):
            await store.store(record(task_data=b"y" * 20_000))
        clocked.advance(100)
        for _ in range(100):
            assert await store.store(record(task_data=b"y" * 20_000)) is True


async def test_a_wait_outlives_a_restart_of_the_server(server):
    """Whoever waits hears of what is stored after it, and what was stored before it is there."""
    async with RedisMetadataStore(server.url()) as store, RedisResultBackend(server.url()) as results:
        running, old = record(status=TaskStatus.RUNNING), TaskId.new()
        await store.store(running)
        await results.store_result(old, "old")
        ended = asyncio.create_task(store.wait(running.id, 60))
        awaited = asyncio.create_task(results.wait(running.id, 60))
        await eventually_async(lambda: len(server.call("KEYS", "*awaiting*")) == 2)
        server.kill()
        server.start()
        await works_again(lambda: store.update_status(running.id, TaskStatus.SUCCESS))
        await works_again(lambda: results.store_result(running.id, "new"))
        assert (await ended).status is TaskStatus.SUCCESS
        assert await awaited == "new"
        assert await results.get_result(old) == "old"


async def test_scripts_that_the_server_forgot_are_sent_again(server):
    """Every call works after a SCRIPT FLUSH."""
    async with RedisMetadataStore(server.url()) as store, RedisResultBackend(server.url()) as results:
        for number in range(20):
            server.call("SCRIPT", "FLUSH")
            one = record()
            await store.store(one)
            await store.update_status(one.id, TaskStatus.RUNNING)
            await results.store_result(one.id, number)
            assert await results.wait(one.id, 5) == number


async def test_large_data_come_in_answers_of_bounded_size(server):
    """A page and a list of large records are whole, although no single answer holds them."""
    async with RedisMetadataStore(server.url()) as store:
        records = [record(task_data=bytes([number]) * MIB) for number in range(12)]
        for one in records:
            await store.store(one)
        ids = sorted((one.id for one in records), reverse=True)
        found = await store.find(limit=200)
        assert [one.id for one in found] == ids
        assert await store.get_many(ids) == found
        assert {one.id: one.task_data for one in found} == {one.id: one.task_data for one in records}
        peak = server.call("INFO", "memory")["used_memory_peak"]
        assert peak < 6 * 12 * MIB


async def test_only_what_is_over_is_given_up_by_the_server(server):
    """A result has a time to live there; records have none, whatever becomes of the server's memory."""
    async with RedisMetadataStore(server.url()) as store, RedisResultBackend(server.url(), ttl=100) as results:
        id = TaskId.new()
        await results.store_result(id, 1)
        await store.store_many([record(status=status) for status in TaskStatus])
        lives = {key: server.call("PTTL", key) for key in server.call("KEYS", "*")}
        mortal = {key for key, life in lives.items() if life != -1}
        assert mortal == {b"{reinhardt:results:}result:" + id}
        assert 90_000 < lives[mortal.pop()] <= 100_000


async def test_forgotten_records_leave_nothing_on_the_server(clocked):
    """Once all are deleted or over, no key holds anything of them."""
    async with RedisMetadataStore(clocked.url(), ttl=100) as store:
        records = [record(status=status, task_data=b"x") for status in TaskStatus]
        await store.store_many(records)
        await store.update_many([MetadataChange(id=records[0].id, status=TaskStatus.CANCELLED)])
        assert await store.wait(records[0].id, 1)
        clocked.advance(100)
        unfinished = [one.id for one in await store.find()]
        assert len(unfinished) == 2
        await store.update_many([MetadataChange(id=id, task_data=b"") for id in unfinished])
        assert await store.delete_many([one.id for one in records]) == [one.id in unfinished for one in records]
        assert set(clocked.call("KEYS", "*")) == {b"{reinhardt:metadata:}format"}


async def test_a_password_is_shown_nowhere(server):
    """Neither by a store nor by its errors."""
    url = server.url(user="someone", password="hush-hush")
    for store in (RedisResultBackend(url), RedisMetadataStore(url)):
        with pytest.raises(Exception, match="user and password") as caught:
            await store.open()
        assert "hush" not in f"{caught.value!r} {caught.value} {store!r}"
