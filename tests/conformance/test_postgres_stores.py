"""The stores in a PostgreSQL database keep every promise of their contracts."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.postgres import PostgresMetadataStore, PostgresResultBackend
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import metadata_machine
from tests.conformance.test_postgres import still_server
from tests.servers.postgres import SharedPostgres, shared


class PostgresResultBench(ResultBench):
    """The tables of the server, which it empties first."""

    def __init__(self) -> None:
        self.server = shared()
        self.patience = self.server.patience
        self.server.empty()

    def connect(self, **options) -> PostgresResultBackend:
        return PostgresResultBackend(self.server.url(), **options)

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestPostgresResults(ResultConformance):
    @pytest.fixture
    def bench(self) -> PostgresResultBench:
        return PostgresResultBench()


class PostgresMetadataBench(MetadataBench):
    """As PostgresResultBench."""

    def __init__(self, server: SharedPostgres) -> None:
        self.server = server
        self.patience = server.patience
        server.empty()

    def connect(self, **options) -> PostgresMetadataStore:
        return PostgresMetadataStore(self.server.url(), **options)

    async def advance(self, seconds: float) -> None:
        await self.server.let_pass(seconds)


class TestPostgresMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self) -> PostgresMetadataBench:
        return PostgresMetadataBench(shared())


TestPostgresMetadataMachine = metadata_machine(lambda: PostgresMetadataBench(still_server()), examples=15)
