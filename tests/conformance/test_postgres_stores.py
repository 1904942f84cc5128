"""The stores in a PostgreSQL database keep every promise of their contracts."""

from __future__ import annotations

import functools

import pytest

from reinhardt_tasks.backends.postgres import PostgresMetadataStore, PostgresResultBackend
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import metadata_machine
from tests.conformance.test_postgres import PostgresBench


class PostgresResultBench(ResultBench):
    """The tables of the server, which it empties first."""

    def __init__(self) -> None:
        self.database = PostgresBench()

    def connect(self, **options) -> PostgresResultBackend:
        return PostgresResultBackend(self.database.server.url(), **options)

    async def advance(self, seconds: float) -> None:
        await self.database.advance(seconds)


class TestPostgresResults(ResultConformance):
    @pytest.fixture
    def bench(self) -> PostgresResultBench:
        return PostgresResultBench()


class PostgresMetadataBench(MetadataBench):
    """As PostgresResultBench."""

    def __init__(self, *, still: bool = False) -> None:
        self.database = PostgresBench(still=still)

    def connect(self, **options) -> PostgresMetadataStore:
        return PostgresMetadataStore(self.database.server.url(), **options)

    async def advance(self, seconds: float) -> None:
        await self.database.advance(seconds)


class TestPostgresMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self) -> PostgresMetadataBench:
        return PostgresMetadataBench()


TestPostgresMetadataMachine = metadata_machine(functools.partial(PostgresMetadataBench, still=True), examples=15)
