"""The memory backend keeps every promise of the contract."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import BackendConformance, Bench
from reinhardt_tasks.testing.conformance.machine import conformance_machine


class MemoryBench(Bench):
    """A store in memory, under a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.first = MemoryBackend(clock=self.clock)

    def connect(self) -> MemoryBackend:
        return self.first.sibling()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemory(BackendConformance):
    @pytest.fixture
    def bench(self) -> MemoryBench:
        return MemoryBench()


TestMemoryMachine = conformance_machine(MemoryBench)
