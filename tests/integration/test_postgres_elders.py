"""A transaction that somebody leaves open in PostgreSQL: which session it is stands in the log, and in `check`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import psycopg
import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend, elders
from tests.servers.postgres import PostgresServer, running


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One whose clock can be moved."""
    with running(clock=True) as started:
        yield started


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sweep looks."""
    monkeypatch.setattr(elders, "EVERY", 0.0)


@contextlib.contextmanager
def forgotten(url: str, *, writing: bool = True) -> Iterator[int]:
    """A transaction that stays open, and the session it is in."""
    with psycopg.connect(url, application_name="report") as connection:
        connection.execute("SELECT txid_current()" if writing else "SELECT 1")
        yield connection.info.backend_pid


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings so far."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_transaction_that_stays_open_is_told_once(server, caplog):
    """By whoever sweeps, with the session, the program and how to end it; each new one anew."""
    url = server.url(server.new_database())
    async with PostgresBackend(url) as backend:
        for number in (1, 2):
            with forgotten(url) as pid:
                await backend.sweep()
                assert len(told(caplog)) == number - 1
                server.advance(elders.OLD + 1)
                for _ in range(3):
                    await backend.sweep()
                assert len(told(caplog)) == number
                assert f"transaction_open session={pid} user=postgres program='report'" in told(caplog)[-1]
                assert f"SELECT pg_terminate_backend({pid})" in told(caplog)[-1]
            await backend.sweep()


async def test_a_check_names_the_session(server):
    """While it lasts; the statement that ends it is there to be copied, and works."""
    url = server.url(server.new_database())
    async with PostgresBackend(url) as backend:
        with contextlib.suppress(psycopg.OperationalError), forgotten(url) as pid:
            assert "warning transaction" not in await backend.check()
            server.advance(elders.OLD + 1)
            warning = (await backend.check())["warning transaction"]
            assert warning.startswith(f"session {pid} of postgres (report) has had a transaction open for 3")
            server.execute(warning[warning.index("SELECT") :])
        assert "warning transaction" not in await backend.check()


async def test_sessions_that_are_in_nobodys_way_are_not_told(server, caplog):
    """One that has only read keeps no dead row, nor does one in another database."""
    url = server.url(server.new_database())
    async with PostgresBackend(url) as backend:
        with forgotten(url, writing=False), forgotten(server.url(server.new_database())):
            server.advance(elders.OLD + 1)
            await backend.sweep()
            assert told(caplog) == []
            assert "warning transaction" not in await backend.check()
