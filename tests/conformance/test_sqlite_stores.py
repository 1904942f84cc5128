"""The stores in an SQLite file keep every promise of their contracts."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import pytest

from reinhardt_tasks.backends.sqlite import SqliteMetadataStore, SqliteResultBackend
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import metadata_machine


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

    def __init__(self, path: Path, durability: str = "full") -> None:
        self.path = path
        self.durability = durability
        self.clock = StillClock()

    def connect(self, **options) -> SqliteMetadataStore:
        return SqliteMetadataStore(self.path, durability=self.durability, clock=self.clock, **options)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestSqliteMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> SqliteMetadataBench:
        return SqliteMetadataBench(tmp_path / "metadata.db")


def passing_bench() -> SqliteMetadataBench:
    """A bench whose file goes with it."""
    directory = tempfile.mkdtemp(prefix="reinhardt-tasks-")
    bench = SqliteMetadataBench(Path(directory, "metadata.db"), durability="off")
    weakref.finalize(bench, shutil.rmtree, directory, ignore_errors=True)
    return bench


TestSqliteMetadataMachine = metadata_machine(passing_bench, examples=15)
