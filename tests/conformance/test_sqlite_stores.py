"""The stores in an SQLite file keep every promise of their contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from reinhardt_tasks.backends.sqlite import SqliteMetadataStore, SqliteResultBackend
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance


class SqliteResultBench(ResultBench):
    """A file of its own, under a clock that moves when told to. Instances share nothing but the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = StillClock()

    def connect(self, **options) -> SqliteResultBackend:
        return SqliteResultBackend(self.path, clock=self.clock, **options)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestSqliteResults(ResultConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> SqliteResultBench:
        return SqliteResultBench(tmp_path / "results.db")


class SqliteMetadataBench(MetadataBench):
    """As SqliteResultBench."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = StillClock()

    def connect(self, **options) -> SqliteMetadataStore:
        return SqliteMetadataStore(self.path, clock=self.clock, **options)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestSqliteMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> SqliteMetadataBench:
        return SqliteMetadataBench(tmp_path / "metadata.db")
