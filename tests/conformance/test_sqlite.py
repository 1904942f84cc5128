"""The SQLite backend keeps every promise of the contract."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import pytest

from reinhardt_tasks.backends.sqlite import SqliteBackend
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import BackendConformance, Bench, Feature
from reinhardt_tasks.testing.conformance.machine import conformance_machine


class SqliteBench(Bench):
    """A file of its own, under a clock that moves when told to. Instances share nothing but the file."""

    lacks = (Feature.CONNECTIONS,)

    def __init__(self, path: Path, durability: str = "full") -> None:
        self.path = path
        self.durability = durability
        self.clock = StillClock()

    def connect(self) -> SqliteBackend:
        return SqliteBackend(self.path, durability=self.durability, clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestSqlite(BackendConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> SqliteBench:
        return SqliteBench(tmp_path / "tasks.db")


def passing_bench() -> SqliteBench:
    """A bench whose file goes with it."""
    directory = tempfile.mkdtemp(prefix="reinhardt-tasks-")
    bench = SqliteBench(Path(directory, "tasks.db"), durability="off")
    weakref.finalize(bench, shutil.rmtree, directory, ignore_errors=True)
    return bench


TestSqliteMachine = conformance_machine(passing_bench, examples=25)
