"""The PostgreSQL backend keeps every promise of the contract."""

from __future__ import annotations

import atexit
import functools

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.testing.conformance import BackendConformance, Bench
from reinhardt_tasks.testing.conformance.machine import conformance_machine
from tests.servers.postgres import PostgresServer, SharedPostgres, shared


@functools.cache
def still_server() -> PostgresServer:
    """A server whose clock stands while the machine works, as the clock of its model does."""
    started = PostgresServer(still=True)
    atexit.register(started.close)
    started.start()
    return started


class PostgresBench(Bench):
    """The tables of the server, which it empties first. Instances share nothing but the database."""

    def __init__(self, server: SharedPostgres) -> None:
        self.server = server
        self.lease = server.lease
        self.patience = server.patience
        server.empty()

    def connect(self) -> PostgresBackend:
        return PostgresBackend(self.server.url())

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestPostgres(BackendConformance):
    @pytest.fixture
    def bench(self) -> PostgresBench:
        return PostgresBench(shared())


TestPostgresMachine = conformance_machine(lambda: PostgresBench(still_server()), examples=25)
