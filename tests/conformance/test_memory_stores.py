"""The stores in memory keep every promise of their contracts."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.memory import InMemoryMetadataStore, MemoryResultBackend
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import metadata_machine


class MemoryResultBench(ResultBench):
    """Results in memory, under a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.shelf = MemoryResultBackend(clock=self.clock)._shelf  # noqa: SLF001 - what all instances share

    def connect(self, **options) -> MemoryResultBackend:
        made = MemoryResultBackend(clock=self.clock, **options)
        made._shelf = self.shelf  # noqa: SLF001
        return made

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryResults(ResultConformance):
    @pytest.fixture
    def bench(self) -> MemoryResultBench:
        return MemoryResultBench()


class MemoryMetadataBench(MetadataBench):
    """Records in memory, under a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.shelf = InMemoryMetadataStore(clock=self.clock)._shelf  # noqa: SLF001 - what all instances share

    def connect(self, **options) -> InMemoryMetadataStore:
        made = InMemoryMetadataStore(clock=self.clock, **options)
        made._shelf = self.shelf  # noqa: SLF001
        return made

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryMetadata(MetadataConformance):
    @pytest.fixture
    def bench(self) -> MemoryMetadataBench:
        return MemoryMetadataBench()


TestMemoryMetadataMachine = metadata_machine(MemoryMetadataBench)
