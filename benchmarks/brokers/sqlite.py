"""SQLite: a directory in which each adapter makes its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.guard import Guard


@dataclass(frozen=True, slots=True)
class Sqlite:
    """No server."""

    address: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def reading(self) -> None:
        """Nothing runs that could be read."""

    def filling(self) -> AbstractContextManager[None]:
        """Nothing to do; each connection asks for its durability."""
        return nullcontext()


@contextmanager
def sqlite(_: Guard, directory: Path, durability: str) -> Iterator[Sqlite]:  # noqa: ARG001 - each connection asks for it
    """Nothing runs; the durability is each connection's own affair."""
    yield Sqlite(str(directory))
