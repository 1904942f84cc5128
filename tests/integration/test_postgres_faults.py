"""PostgreSQL goes away, hangs, refuses, or is not what it should be: each is told in words, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend, schema
from reinhardt_tasks.errors import BackendUnavailableError, ConfigurationError, SchemaError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message, Outcome, Put, Settled
from tests.eventually import eventually
from tests.servers.postgres import PgBouncer, PostgresServer, running
from tests.servers.proxy import Proxy

T = TypeVar("T")
_PATIENCE = 30.0
_SESSIONS = "SELECT {} FROM pg_stat_activity WHERE datname = '{}'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """For the tests of this file; each leaves it running."""
    with running() as started:
        yield started


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of a database of this test's own."""
    return server.new_database()


@pytest.fixture
def url(server: PostgresServer, database: str) -> str:
    """The URL of that."""
    return server.url(database)


def message(**options: Any) -> AnyMessage:
    """A fresh one."""
    id = TaskId.new()
    return Message(id=id, name="mail.send", body=b"body of " + id, **options)


async def persistent(call: Callable[[], Awaitable[T]]) -> T:
    """The answer to a call that is repeated while the server is away."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return await call()
        except BackendUnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


# What open says -------------------------------------------------------------------------------------------------------


async def refusal(url: str, **options: Any) -> ConfigurationError:
    """The error that opening ends with."""
    with pytest.raises(ConfigurationError) as caught:
        await PostgresBackend(url, **options).open()
    assert "hunter2" not in f"{caught.value!r}{caught.value}"
    return caught.value


def _locked_out(server: PostgresServer, role: str) -> None:
    """Make a role whose password is asked for."""
    server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    rules = server.data / "pg_hba.conf"
    rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    server.execute("SELECT pg_reload_conf()")


async def test_a_wrong_password_is_told(server, database):
    """Which database, which user; never the password."""
    _locked_out(server, "ada")
    told = str(await refusal(server.url(database, login="ada:hunter2")))
    assert "password authentication failed" in told
    assert f"postgresql://ada@127.0.0.1:{server.port}/{database}" in told


async def test_a_missing_database_is_told_with_how_to_make_it(server):
    """The statement is there to be copied."""
    assert 'CREATE DATABASE "nowhere";' in str(await refusal(server.url("nowhere", login="postgres:hunter2")))


async def test_an_unknown_user_is_told(server, database):
    """By name."""
    assert "nobody_here" in str(await refusal(server.url(database, login="nobody_here:hunter2")))


async def test_a_missing_right_is_told_with_the_grants(server, database):
    """They work: once run, the same user opens it."""
    server.execute("CREATE ROLE plain LOGIN")
    told = str(await refusal(server.url(database, login="plain")))
    assert 'GRANT USAGE, CREATE ON SCHEMA "public" TO "plain";' in told
    server.execute(told[told.index("GRANT") :], database=database)
    async with PostgresBackend(server.url(database, login="plain")) as backend:
        assert (await backend.put((message(),)))[0].created


async def test_a_server_that_only_reads_is_told(server, database, url):
    """A standby takes no messages either."""
    server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert "read-only" in str(await refusal(url))


async def test_a_standby_is_told():
    """It is one that follows no primary here, and takes no messages all the same."""
    with running() as follower:
        async with PostgresBackend(follower.url()):
            follower.stop()
        (follower.data / "standby.signal").touch()
        follower.start()
        told = str(await refusal(follower.url()))
        assert "is a standby" in told
        assert "target_session_attrs=read-write" in told


async def test_tables_that_a_crash_would_empty_are_told_with_the_cure(server, database, url):
    """It works: once run, the database is opened."""
    async with PostgresBackend(url):
        for table in ("messages", "schedules"):
            server.execute(f"ALTER TABLE reinhardt_{table} SET UNLOGGED", database=database)
    told = str(await refusal(url))
    assert "reinhardt_messages, reinhardt_schedules" in told
    server.execute(told[told.index("ALTER TABLE") :], database=database)
    async with PostgresBackend(url) as backend:
        assert (await backend.put((message(),)))[0].created


async def test_a_database_in_another_encoding_is_told(server):
    """Not every text could be stored there."""
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    assert "LATIN1" in str(await refusal(server.url("latin")))


async def test_a_server_that_is_too_old_is_told(url, monkeypatch):
    """With the version that is needed."""
    monkeypatch.setattr(schema, "OLDEST", 990000)
    assert "13 or newer" in str(await refusal(url))


async def test_an_unreadable_url_is_told_without_its_password():
    """What follows a misplaced sign may be the password."""
    for url in ("postgresql://ada:hunter2%zz@host/db", "postgresql://h/db?password=hunter2&colour=blue"):
        with pytest.raises(ConfigurationError) as caught:
            PostgresBackend(url)
        assert "hunter2" not in f"{caught.value!r}{caught.value}{caught.value.__cause__!r}"


async def test_a_password_is_never_shown(server, database):
    """Neither by the backend nor by its errors."""
    backend = PostgresBackend(server.url(database, login="postgres:hunter2"), table_prefix="x_")
    assert repr(backend) == (
        f"PostgresBackend('postgresql://postgres@127.0.0.1:{server.port}/{database}', table_prefix='x_')"
    )


async def test_nobody_there_is_unavailable():
    """It may come; whoever waits for it repeats."""
    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1"):
        await PostgresBackend("postgresql://127.0.0.1:1/db").open()


# Tables ---------------------------------------------------------------------------------------------------------------


async def test_tables_of_a_newer_version_are_refused(server, database, url):
    """They are left as they are."""
    async with PostgresBackend(url):
        server.execute("INSERT INTO reinhardt_migrations (version) VALUES (99)", database=database)
    with pytest.raises(SchemaError) as caught:
        await PostgresBackend(url).open()
    assert caught.value.found == 99


async def test_no_tables_are_made_where_that_is_not_wanted(server, database, url):
    """The error says what to run."""
    with pytest.raises(SchemaError, match="migrate"):
        await PostgresBackend(f"{url}?migrate=false").open()
    assert server.execute("SELECT to_regclass('reinhardt_messages')", database=database) == [(None,)]


async def test_many_may_open_an_empty_database_at_once(url):
    """One makes the tables, the others wait for it."""
    backends = [PostgresBackend(url) for _ in range(5)]
    await asyncio.gather(*(backend.open() for backend in backends))
    assert (await backends[0].put((message(),)))[0].created
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_a_migration_that_was_killed_fifty_times_is_made_whole_by_the_next(server, database, url):
    """At whatever point each time: what it did is undone with it. After one that was quicker, other tables follow."""
    began = time.monotonic()
    await PostgresBackend(url).migrate()
    duration, prefixes, killed = time.monotonic() - began, ["p0_"], 0
    while killed < 50:
        migrating = asyncio.create_task(PostgresBackend(url, table_prefix=prefixes[-1]).migrate())
        await asyncio.sleep(random.uniform(0.0, duration))  # noqa: S311 - chaos
        await asyncio.to_thread(_terminate, server, database)
        (ended,) = await asyncio.gather(migrating, return_exceptions=True)
        if isinstance(ended, BackendUnavailableError):
            killed += 1
        else:
            assert isinstance(ended, schema.Versions)
            prefixes.append(f"p{len(prefixes)}_")
    for prefix in prefixes:
        async with PostgresBackend(url, table_prefix=prefix) as backend:
            put = message()
            await backend.put((put,))
            assert (await backend.get((put.id,)))[0] is not None


async def test_tables_of_two_prefixes_know_nothing_of_each_other(url):
    """Two applications may share a database."""
    async with PostgresBackend(f"{url}?table_prefix=a_") as one, PostgresBackend(f"{url}?table_prefix=b_") as two:
        put = message()
        await one.put((put,))
        assert await two.get((put.id,)) == [None]


# Away and back --------------------------------------------------------------------------------------------------------


def _terminate(server: PostgresServer, database: str) -> None:
    """End every session of a database."""
    server.execute(_SESSIONS.format("count(pg_terminate_backend(pid))", database))


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[PostgresBackend]:
    """A backend with a registered worker `w`."""
    async with PostgresBackend(url) as backend:
        await backend.beat(Beat(worker="w", number=1))
        yield backend


async def _work_through(backend: PostgresBackend, wanted: set[TaskId]) -> set[TaskId]:
    """Claim and settle as a worker does, repeating with what it holds after each failure, until `wanted` is done."""
    done: set[TaskId] = set()
    outcomes: list[Outcome] = []
    sequence, unsure, beats = 0, False, 1
    deadline = time.monotonic() + _PATIENCE
    while done != wanted and time.monotonic() < deadline:
        sequence += 1
        try:
            answer = await backend.exchange(
                "w", outcomes, want=10, queues=None, sequence=sequence, held=set() if unsure else None
            )
        except BackendUnavailableError:
            unsure = True
            await asyncio.sleep(0.01)
            continue
        unsure = False
        assert Settled.LOST not in answer.settled
        done |= {outcome.id for outcome in outcomes}
        outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]
        if not answer.orders.registered:
            beats += 1
            await persistent(lambda number=beats: backend.beat(Beat(worker="w", number=number)))
    return done


async def test_a_server_that_crashes_again_and_again_loses_nothing(server, url):
    """What `put` has answered is done, each once, though the server is killed under the work; it heals by itself."""
    async with worker(url) as backend, PostgresBackend(url) as producer:
        batches = [[message() for _ in range(10)] for _ in range(30)]

        async def produce() -> set[TaskId]:
            for batch in batches:
                await persistent(lambda batch=batch: producer.put(batch))
            return {one.id for batch in batches for one in batch}

        async def crash() -> None:
            for _ in range(3):
                await asyncio.sleep(0.1)
                await asyncio.to_thread(server.restart)

        wanted = {one.id for batch in batches for one in batch}
        done, stored, _ = await asyncio.gather(_work_through(backend, wanted), produce(), crash())
        assert done == stored == wanted


async def test_ended_sessions_lose_nothing(server, database, url):
    """As an administrator or a failover ends them, again and again while there is work."""
    async with worker(url) as backend:
        puts = [message() for _ in range(300)]
        await backend.put(puts)

        async def terminate() -> None:
            for _ in range(20):
                await asyncio.sleep(0.03)
                await asyncio.to_thread(_terminate, server, database)

        done, _ = await asyncio.gather(_work_through(backend, {put.id for put in puts}), terminate())
        assert done == {put.id for put in puts}


async def test_a_session_that_ended_while_nothing_went_on_is_not_noticed(server, database, url):
    """The next call makes a new connection; nobody has to repeat it."""
    async with PostgresBackend(url) as backend:
        await backend.put((message(),))
        _terminate(server, database)
        eventually(lambda: _sessions(server, database) == 0)
        assert (await backend.put((message(),)))[0].created


def _sessions(server: PostgresServer, database: str) -> object:
    return server.execute(_SESSIONS.format("count(*)", database))[0][0]


async def test_a_server_that_hangs_hangs_no_verb(server, url):
    """Each gives up within its time, and works once the server does."""
    async with PostgresBackend(url, timeout=0.5) as backend:
        await backend.put((message(),))
        server.pause()
        try:
            for call in (lambda: backend.put((message(),)), lambda: backend.wait("w", None, 10.0), backend.sweep):
                began = time.monotonic()
                with pytest.raises(BackendUnavailableError):
                    await call()
                assert time.monotonic() - began < 15
        finally:
            server.unpause()
        assert (await persistent(lambda: backend.put((message(),))))[0].created


async def test_a_put_whose_answer_was_lost_stores_nothing_twice(server, database):
    """The connection is cut after the server has committed; the repeat finds the message."""
    with Proxy(server.port) as proxy:
        async with PostgresBackend(server.url(database, port=proxy.port)) as backend:
            for _ in range(20):
                put = message()
                proxy.cut_when(lambda request: b"put(" in request)
                with pytest.raises(BackendUnavailableError):
                    await backend.put((put,))
                proxy.heal()
                assert await persistent(lambda put=put: backend.put((put,))) == [Put(put.id, created=False)]
            assert len(await backend.find(limit=200)) == 20


async def test_an_exchange_whose_answer_was_lost_orphans_nothing(server, database):
    """Repeated with what the worker holds, it brings what that answer gave."""
    with Proxy(server.port) as proxy:
        async with worker(server.url(database, port=proxy.port)) as backend:
            put = message()
            await backend.put((put,))
            proxy.cut_when(lambda request: b"exchange(" in request)
            with pytest.raises(BackendUnavailableError):
                await backend.exchange("w", (), want=1, queues=None, sequence=1)
            proxy.heal()
            answer = await persistent(
                lambda: backend.exchange("w", (), want=1, queues=None, sequence=2, held=frozenset())
            )
            assert [claim.id for claim in answer.claims] == [put.id]


async def test_an_exchange_that_was_overtaken_does_nothing(url):
    """An older call of the same worker, held up on its way, gives nothing to a worker that no longer waits for it."""
    async with worker(url) as backend:
        put = message()
        await backend.exchange("w", (), want=0, queues=None, sequence=7)
        await backend.put((put,))
        late = await backend.exchange("w", (), want=1, queues=None, sequence=6)
        assert late.claims == []
        answer = await backend.exchange("w", (), want=1, queues=None, sequence=8)
        assert [claim.id for claim in answer.claims] == [put.id]


async def test_a_row_that_somebody_locks_holds_nobody_up_for_ever(server, database, url):
    """The call ends with an error that says what to look for, and can be repeated."""
    async with worker(url) as backend:
        await backend.put((message(),))
        (claim,) = (await backend.exchange("w", (), want=1, queues=None, sequence=1)).claims
        outcome = Outcome.success(claim, b"r")
        with psycopg.connect(server.url(database)) as other:
            other.execute("SELECT 1 FROM reinhardt_messages FOR UPDATE")
            with pytest.raises(BackendUnavailableError, match="transaction that stays open"):
                await backend.exchange("w", (outcome,), want=0, queues=None, sequence=2)
        answer = await backend.exchange("w", (outcome,), want=0, queues=None, sequence=3)
        assert answer.settled == [Settled.SETTLED]


# Waking ---------------------------------------------------------------------------------------------------------------


async def _idle(backend: PostgresBackend) -> asyncio.Task[bool]:
    """A worker that has been waiting for a while."""
    await backend.beat(Beat(worker="w", number=1))
    await backend.exchange("w", (), want=1, queues=None, sequence=1)
    waiting = asyncio.create_task(backend.wait("w", None, _PATIENCE))
    await asyncio.sleep(0.3)
    return waiting


@pytest.mark.parametrize("query", ["", "?notify=false"], ids=["pushed", "looked for"])
async def test_a_put_wakes_a_worker_with_and_without_notify(url, query):
    """At once where it is pushed; where that is switched off, within a second or two."""
    async with PostgresBackend(f"{url}{query}") as backend, PostgresBackend(f"{url}{query}") as other:
        waiting = await _idle(other)
        began = time.monotonic()
        await backend.put((message(),))
        assert await waiting is True
        assert time.monotonic() - began < (0.5 if not query else 5.0)


async def test_the_first_message_of_all_wakes_a_worker_that_asked_for_nothing(url):
    """A worker that was full when it asked last knows of no place in line yet, and sees that there is one."""
    async with PostgresBackend(url) as backend, PostgresBackend(url) as other:
        await other.beat(Beat(worker="w", number=1))
        await other.exchange("w", (), want=0, queues=None, sequence=1)
        waiting = asyncio.create_task(other.wait("w", None, _PATIENCE))
        await backend.put((message(),))
        assert await waiting is True


async def test_a_queue_is_told_of_at_most_ten_times_a_second(server, database, url):
    """However many messages come; the last of them is told of too."""
    heard: list[float] = []
    async with PostgresBackend(url) as backend, await psycopg.AsyncConnection.connect(url, autocommit=True) as ear:
        channel = backend._open_engine.names.channel  # noqa: SLF001 - what others listen to
        await ear.execute(f'LISTEN "{channel}"'.encode())
        began = time.monotonic()
        for _ in range(300):
            await backend.put((message(),))
        last = time.monotonic()
        async for told in ear.notifies(timeout=1.0):
            assert told.payload == "q:default"
            heard.append(time.monotonic())
        assert 2 <= len(heard) <= (last - began) / 0.1 + 3
    assert server.execute("SELECT count(*) FROM reinhardt_messages", database=database) == [(300,)]


# Behind a pooler ------------------------------------------------------------------------------------------------------


async def test_everything_works_through_a_pooler_that_shares_connections(server, database, url):
    """PgBouncer in transaction mode: work, a wake-up heard on a line to the server itself, and one by looking."""
    with PgBouncer(server) as pooler:
        through = pooler.url(database)
        async with worker(through) as backend:
            puts = [message(), message(unique_key="k"), message(delay=0.1)]
            await asyncio.gather(*(backend.put((put,)) for put in puts))
            assert await _work_through(backend, {put.id for put in puts}) == {put.id for put in puts}
        for listen_url in (url, None):
            async with PostgresBackend(through, listen_url=listen_url) as other, PostgresBackend(through) as producer:
                waiting = await _idle(other)
                await producer.put((message(),))
                assert await waiting is True
                await producer.purge("default")
