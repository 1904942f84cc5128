"""The PostgreSQL backend keeps every promise of the contract."""

from __future__ import annotations

import atexit
import functools

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.testing.conformance import BackendConformance, Bench
from reinhardt_tasks.testing.conformance.machine import conformance_machine
from tests.servers.postgres import PostgresServer

_EMPTY = """
DO $$ DECLARE tables text := (
    SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
    WHERE tablename LIKE 'reinhardt%' AND tablename NOT IN ('reinhardt_migrations', 'reinhardt_counters'));
BEGIN
    IF tables IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || tables;
    END IF;
END $$
"""


@functools.cache
def server(*, still: bool = False) -> PostgresServer:
    """One server for all tests of this process, under a clock that moves when told to."""
    started = PostgresServer(clock=True, still=still)
    atexit.register(started.close)
    started.start()
    return started


class PostgresBench(Bench):
    """The tables of the server, which it empties first. Instances share nothing but the database."""

    def __init__(self, *, still: bool = False) -> None:
        self.server = server(still=still)
        self.server.execute(_EMPTY)

    def connect(self) -> PostgresBackend:
        return PostgresBackend(self.server.url())

    async def advance(self, seconds: float) -> None:
        self.server.advance(seconds)


class TestPostgres(BackendConformance):
    @pytest.fixture
    def bench(self) -> PostgresBench:
        return PostgresBench()


TestPostgresMachine = conformance_machine(functools.partial(PostgresBench, still=True), examples=25)
