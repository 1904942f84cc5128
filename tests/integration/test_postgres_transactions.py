"""Messages in the user's own transaction: they exist if and only if it commits, whatever library it is made with."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import load_backend
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from reinhardt_tasks import TaskQueue
from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.errors import BackendError, QueueError, UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message
from reinhardt_tasks.sync import blocking
from tests.servers.postgres import PostgresServer, running

COMMITS = 11
QUIET = 0.2
"""Seconds: past the first, quick looks of who waits, so that only a push can be as quick."""
LOOK = 0.8
"""Seconds between two looks of who waits, at least."""
OVERLOADED = 0.03
"""Seconds that a process of nothing takes from start to end where others keep the machine busy."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """For the tests of this file."""
    with running() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    """Of a database of this test's own."""
    return server.url(server.new_database())


def message(**options: Any) -> AnyMessage:
    """A fresh one."""
    id = TaskId.new()
    return Message(id=id, name="mail.send", body=b'"\\{}\x00\xff,' + id, **options)


# What each library calls a transaction --------------------------------------------------------------------------------


@asynccontextmanager
async def psycopg_async(url: str):
    """An AsyncConnection of psycopg."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection, connection.commit, connection.rollback


@asynccontextmanager
async def psycopg_sync(url: str):
    """A Connection of psycopg, whose rows are dictionaries."""
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        yield connection, _later(connection.commit), _later(connection.rollback)


@asynccontextmanager
async def sqlalchemy_connection(url: str):
    """A Connection of SQLAlchemy."""
    engine = sqlalchemy.create_engine(_dialect(url))
    with engine.connect() as connection:
        yield connection, _later(connection.commit), _later(connection.rollback)
    engine.dispose()


@asynccontextmanager
async def sqlalchemy_session(url: str):
    """A Session of SQLAlchemy."""
    engine = sqlalchemy.create_engine(_dialect(url))
    with Session(engine) as session:
        yield session, _later(session.commit), _later(session.rollback)
    engine.dispose()


@asynccontextmanager
async def sqlalchemy_async_connection(url: str):
    """An AsyncConnection of SQLAlchemy."""
    engine = create_async_engine(_dialect(url))
    async with engine.connect() as connection:
        yield connection, connection.commit, connection.rollback
    await engine.dispose()


@asynccontextmanager
async def sqlalchemy_async_session(url: str):
    """An AsyncSession of SQLAlchemy."""
    engine = create_async_engine(_dialect(url))
    async with AsyncSession(engine) as session:
        yield session, session.commit, session.rollback
    await engine.dispose()


@asynccontextmanager
async def django(url: str):
    """What `transaction.atomic()` does: a connection that no longer commits by itself."""
    wrapper = await asyncio.to_thread(_django_wrapper, url)
    yield wrapper, _in_thread(wrapper.commit), _in_thread(wrapper.rollback)
    await asyncio.to_thread(wrapper.close)


def _django_wrapper(url: str) -> DatabaseWrapper:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    settings = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"],
        "USER": parts["user"],
        "PASSWORD": "",
        "HOST": parts["host"],
        "PORT": str(parts["port"]),
        "OPTIONS": {},
        "TIME_ZONE": None,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "AUTOCOMMIT": True,
        "ATOMIC_REQUESTS": False,
    }
    wrapper = load_backend("django.db.backends.postgresql").DatabaseWrapper(settings, "default")
    wrapper.inc_thread_sharing()  # the test's own steps run in whichever thread is free
    wrapper.set_autocommit(False)
    return wrapper


def _dialect(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def _later(act: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def done() -> None:
        act()

    return done


def _in_thread(act: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.to_thread(act)


@pytest.fixture(scope="module", autouse=True)
def _django_settings() -> None:
    from django.conf import settings

    if not settings.configured:
        settings.configure(USE_TZ=True, DATABASES={})


LIBRARIES = [
    psycopg_async,
    psycopg_sync,
    sqlalchemy_connection,
    sqlalchemy_session,
    sqlalchemy_async_connection,
    sqlalchemy_async_session,
    django,
]
each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)


# Promises -------------------------------------------------------------------------------------------------------------


@each_library
async def test_what_is_rolled_back_was_never_put(url, library):
    """No message, and nothing to run; the id is free."""
    async with PostgresBackend(url) as backend, library(url) as (connection, _, rollback):
        put = message()
        assert [answer.created for answer in await backend.put((put,), connection=connection)] == [True]
        await rollback()
        assert await backend.get((put.id,)) == [None]
        assert [answer.created for answer in await backend.put((put,))] == [True]


@each_library
async def test_what_is_committed_is_there_whole(url, library):
    """Unseen before the commit; after it each message with its body, its key, its delay and its parents."""
    async with PostgresBackend(url) as backend, library(url) as (connection, commit, _):
        first = message(unique_key='a "quoted" \\ key', priority=9, result_ttl=5.5)
        second = message(waits_on=(first.id,), queue="other")
        third = message(delay=60.0)
        repeat = message(unique_key='a "quoted" \\ key')
        puts = await backend.put((first, second, third, repeat), connection=connection)
        assert [(put.id, put.created) for put in puts] == [
            (first.id, True),
            (second.id, True),
            (third.id, True),
            (first.id, False),
        ]
        assert await backend.get((first.id,)) == [None]
        await commit()
        one, two, three = await backend.get((first.id, second.id, third.id), body=True)
        assert one is not None
        assert two is not None
        assert three is not None
        assert (one.body, one.priority, one.unique_key) == (first.body, 9, first.unique_key)
        assert (two.waiting_on, two.queue) == (1, "other")
        assert three.run_at is not None


@each_library
async def test_a_commit_wakes_a_worker_that_waits(url, library):
    """Within 100 ms in the median of several commits; of a machine that is overloaded only that it is pushed."""
    latencies: list[float] = []
    stalls: list[float] = []
    async with PostgresBackend(url) as backend, PostgresBackend(url) as other, library(url) as (connection, commit, _):
        await other.beat(Beat(worker="w", number=1))
        for sequence in range(1, COMMITS + 1):
            await other.exchange("w", (), want=1, queues=None, sequence=sequence)
            waiting = asyncio.create_task(other.wait("w", None, 30.0))
            await asyncio.sleep(QUIET)
            await backend.put((message(),), connection=connection)
            assert not waiting.done()
            stalls.append(await _stall())
            began = time.monotonic()
            await commit()
            assert await waiting is True
            latencies.append(time.monotonic() - began)
            assert await backend.purge("default") == 1
    print(f"median {statistics.median(latencies):.4f} s, stalls {statistics.median(stalls):.4f} s")  # noqa: T201
    assert statistics.median(latencies) < (0.1 if statistics.median(stalls) < OVERLOADED else LOOK / 2)


async def _stall() -> float:
    """Seconds that this machine takes for what takes a few milliseconds on one that is free: two processes in turn."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    return time.monotonic() - began


@each_library
async def test_a_refusal_is_told_in_our_words(url, library):
    """An unknown parent is a QueueError on any connection; nothing is stored once the transaction is rolled back."""
    async with PostgresBackend(url) as backend, library(url) as (connection, _, rollback):
        stray = TaskId.new()
        with pytest.raises(QueueError, match=str(stray)):
            await backend.put((message(waits_on=(stray,)),), connection=connection)
        await rollback()


async def test_what_is_no_connection_is_refused_by_name(url):
    """UnsupportedError tells what would do."""
    async with PostgresBackend(url) as backend:
        with pytest.raises(UnsupportedError, match="SQLAlchemy"):
            await backend.put((message(),), connection=object())


async def test_a_connection_to_another_database_is_told(server, url):
    """The tables are not there: an error that says so, and nothing is stored in either."""
    elsewhere = server.url(server.new_database())
    async with PostgresBackend(url) as backend, await psycopg.AsyncConnection.connect(elsewhere) as connection:
        put = message()
        with pytest.raises(BackendError, match="lacks something"):
            await backend.put((put,), connection=connection)
        assert await backend.get((put.id,)) == [None]


async def test_a_task_is_enqueued_in_a_transaction(url):
    """`using(connection=…)` from the application's side."""
    queue = TaskQueue(url)

    @queue.task
    async def greet(name: str) -> str:
        return name

    async with queue, await psycopg.AsyncConnection.connect(url) as connection:
        handle = await greet.using(connection=connection).enqueue("Ada")
        backend = await queue.backend()
        assert await backend.get((handle.id,)) == [None]
        await connection.commit()
        assert (await backend.get((handle.id,)))[0] is not None


def test_a_task_is_enqueued_in_a_transaction_from_plain_code(url):
    """`enqueue_sync` on a blocking connection."""
    queue = TaskQueue(url)

    @queue.task
    def greet(name: str) -> str:
        return name

    with psycopg.connect(url) as connection:
        greet.using(connection=connection).enqueue_sync("Ada")
        assert _count(url) == 0
        connection.commit()
    assert _count(url) == 1
    blocking(queue.close, instead="queue.close()")


def test_django_s_own_name_for_its_connection_will_do(url):
    """`django.db.connection` stands for the calling thread's connection, whichever thread the enqueue happens in."""
    from django.db import connections

    queue = TaskQueue(url)

    @queue.task
    def greet(name: str) -> str:
        return name

    wrapper = _django_wrapper(url)
    connections["default"] = wrapper
    for end, stored in ((wrapper.rollback, 0), (wrapper.commit, 1)):
        greet.using(connection=connection).enqueue_sync("Ada")
        end()
        assert _count(url) == stored
    queue.enqueue_many_sync([greet.message("Bob")], connection=connection)
    wrapper.rollback()
    assert _count(url) == 1
    wrapper.close()
    blocking(queue.close, instead="queue.close()")


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM reinhardt_messages").fetchone()
        assert row is not None
        return int(row[0])
