"""Where messages live during one measurement: a broker of its own, empty, gone when the measurement ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def sqlite(directory: Path) -> Iterator[str]:
    """Nothing runs; the address is the directory in which the adapter makes its file."""
    yield str(directory)


BROKERS: Mapping[str, Callable[[Path], AbstractContextManager[str]]] = {"sqlite": sqlite}
"""Broker → what starts one with its files in an empty directory and gives the address that its adapters are told."""
