"""What the author of a result or metadata store provides (`StoreBench`), and what its tests play on (`StoreStage`)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import pytest

from reinhardt_tasks.stores import MetadataStore, ResultBackend, Store
from reinhardt_tasks.testing.conformance.bench import LONG

S = TypeVar("S", bound=Store)


class StoreBench(ABC, Generic[S]):
    """One empty store for one test, as its author provides it.

    `patience` is the longest wait in seconds that `advance` may be asked for; tests that need more are skipped. A clock
    that really waits makes it short.
    """

    patience: float = math.inf

    @abstractmethod
    def connect(self, **options: Any) -> S:
        """A new instance, not opened, on the store of this bench, made with `options` (`ttl`, `secret_keys`, …)."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass by the store's clock. A store whose clock can be set sets it; any other really waits."""
        await asyncio.sleep(seconds)


ResultBench = StoreBench[ResultBackend]
"""A bench of a ResultBackend."""
MetadataBench = StoreBench[MetadataStore]
"""A bench of a MetadataStore."""


class StoreStage(Generic[S]):
    """One test's instances; `store` is the first of them."""

    def __init__(self, bench: StoreBench[S], store: S, closing: contextlib.AsyncExitStack) -> None:
        self.bench = bench
        self.store = store
        self._closing = closing

    async def another(self, **options: Any) -> S:
        """One more open instance on the same store."""
        store = self.bench.connect(**options)
        await self._closing.enter_async_context(store)
        return store

    async def advance(self, seconds: float) -> None:
        """Let `seconds` and a little more pass. Skips the test where the bench has not the patience."""
        if seconds > self.bench.patience:
            pytest.skip(f"the clock of this store cannot be set, and the test would wait for {seconds:g} s")
        await self.bench.advance(seconds + 0.05)


Play = Callable[[Any, StoreStage[Any]], Awaitable[None]]


def promise(play: Play) -> Callable[[Any, StoreBench[Any]], None]:
    """Make a test of a coroutine that plays on a stage."""

    @functools.wraps(play)
    def test(suite: Any, bench: StoreBench[Any]) -> None:
        asyncio.run(_run(play, suite, bench))

    del test.__wrapped__  # pytest looks there for the names of fixtures
    return test


async def _run(play: Play, suite: object, bench: StoreBench[Any]) -> None:
    async with contextlib.AsyncExitStack() as closing:
        store = bench.connect()
        await closing.enter_async_context(store)
        async with asyncio.timeout(5 * LONG):
            await play(suite, StoreStage(bench, store, closing))
