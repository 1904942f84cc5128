"""The PostgreSQL backend keeps every promise of the contract."""

from __future__ import annotations

import atexit
import functools
import itertools

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.testing.conformance import BackendConformance, Bench
from reinhardt_tasks.testing.conformance.machine import conformance_machine
from tests.servers.postgres import PostgresServer

_prefixes = itertools.count(1)


@functools.cache
def server(*, still: bool = False) -> PostgresServer:
    """One server for all tests of this process, under a clock that moves when told to."""
    started = PostgresServer(clock=True, still=still)
    atexit.register(started.close)
    started.start()
    return started


class PostgresBench(Bench):
    """Tables of its own. Instances share nothing but the database."""

    def __init__(self, *, still: bool = False) -> None:
        self.server = server(still=still)
        self.prefix = f"t{next(_prefixes)}_"

    def connect(self) -> PostgresBackend:
        return PostgresBackend(self.server.url(), table_prefix=self.prefix)

    async def advance(self, seconds: float) -> None:
        self.server.advance(seconds)


class TestPostgres(BackendConformance):
    @pytest.fixture
    def bench(self) -> PostgresBench:
        return PostgresBench()


TestPostgresMachine = conformance_machine(functools.partial(PostgresBench, still=True), examples=25)
