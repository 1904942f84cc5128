"""What an adapter offers, and what a process of a peer is told by the driver.

An adapter is one module, imported in its peer's interpreter only. It has

- `describe()`: what the store says of itself to this peer's library; a server is asked by the driver already;
- `producer()`: an async context manager that gives a `Producer`;
- `worker()`: becomes one worker, until SIGTERM;
- for this project only, `put_now()`: enqueues without an event loop; `body()`: bytes of a message as it is sent;
  `claims(backlog, rounds)`: the cost of a claim against the size of the store.

It opens its queue as an application would, at import, as `Job.from_environment()` says. Its task takes a number and a
text of 100 characters, stamps the number (`benchmarks.stamps`) and returns None.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TEXT = "x" * 100
VARIABLE = "BENCHMARK_JOB"


@dataclass(frozen=True, slots=True)
class Job:
    """Where this process works, and with which settings."""

    broker: str  # one of `benchmarks.brokers.BROKERS`
    address: str  # of one that is this repeat's own and empty
    stamps: Path
    settings: Mapping[str, Any]

    def environment(self) -> dict[str, str]:
        """The job as an environment variable, for `from_environment` in another process."""
        told = {"broker": self.broker, "address": self.address, "stamps": str(self.stamps)}
        return {VARIABLE: json.dumps({**told, "settings": dict(self.settings)})}

    @classmethod
    def from_environment(cls) -> Job:
        """The job the driver gave to this process. Raises KeyError in a process it did not start."""
        told = json.loads(os.environ[VARIABLE])
        return cls(told["broker"], told["address"], Path(told["stamps"]), told["settings"])


class Producer(Protocol):
    """Puts messages, each acknowledged by the broker when the call returns."""

    async def put(self, number: int) -> None:
        """Enqueue one message."""

    async def put_many(self, numbers: Sequence[int]) -> None:
        """Enqueue all of `numbers` by the peer's own bulk call; one after another where it has none."""


class Composer(Producer, Protocol):
    """What the producer of a system with workflows does besides. Each step is given the result before it."""

    async def run_chain(self, numbers: Sequence[int]) -> None:
        """Enqueue a chain with a step for each number, and wait for its result."""

    async def put_group(self, numbers: Sequence[int], callback: int) -> None:
        """Enqueue a group with a member for each number, whose results go to a callback that stamps `callback`."""

    async def ask(self, number: int) -> None:
        """Enqueue one message and wait for its result; of this project only."""


class Adapter(Protocol):
    """The verbs every adapter module has."""

    def describe(self) -> Mapping[str, str]:
        """Versions and settings as the store reports them to this library, by name."""

    def producer(self) -> AbstractAsyncContextManager[Producer]:
        """A connected producer."""

    def worker(self) -> None:
        """Work until SIGTERM; may replace this process by the peer's own command."""


class SyncAdapter(Protocol):
    """The verb of an adapter whose system is asynchronous, and can do without an event loop as well."""

    def put_now(self) -> AbstractContextManager[Callable[[int], object]]:
        """What enqueues one message, acknowledged by the broker when the call returns."""
