"""A worker's sign of life comes from a thread of its own, and its end is noticed, whichever way it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.message import Beat, Orders, Swept, WorkerRecord
from reinhardt_tasks.worker.heartbeat import Heartbeat
from tests.eventually import eventually, eventually_async
from tests.workshop import ENDLESS, FlakyBackend, awaited

LEASE = 0.6
"""The beats of these tests come every 0.2 s."""


class Ward:
    """A heartbeat of worker "one", what it was told, and how often its beat was made."""

    def __init__(self, *, lease: float = LEASE, backend: FlakyBackend | None = None) -> None:
        self.backend = backend or FlakyBackend()
        self.faults = self.backend.faults
        self.orders: list[Orders] = []
        self.beats: list[Beat] = []
        self.threads: set[int] = set()
        self.alive = True
        self.heartbeat = Heartbeat(
            self.backend.sibling(),
            lease=lease,
            make_beat=self._make_beat,
            on_orders=self._on_orders,
            may_live=lambda: self.alive,
        )

    def _make_beat(self, number: int, leaving: bool) -> Beat:
        beat = Beat(worker="one", number=number, lease=LEASE, leaving=leaving)
        self.beats.append(beat)
        return beat

    def _on_orders(self, orders: Orders) -> None:
        self.threads.add(threading.get_ident())
        self.orders.append(orders)

    async def workers(self) -> list[WorkerRecord]:
        return await self.backend.steady().workers()


@contextlib.asynccontextmanager
async def ward(**settings: Any) -> AsyncIterator[Ward]:
    """A heart that beats within the block."""
    made = Ward(**settings)
    try:
        await asyncio.wait_for(made.heartbeat.start(), 20)
        yield made
    finally:
        await made.heartbeat.stop()


async def test_the_first_beat_is_confirmed_before_anything_is_claimed():
    """The worker is registered then."""
    async with ward() as here:
        assert [worker.beat.worker for worker in await here.workers()] == ["one"]
        assert here.heartbeat.trusted


async def test_beats_come_every_third_of_the_lease_with_rising_numbers():
    """Whatever the worker's own loop is doing."""
    async with ward() as here:
        began = time.monotonic()
        eventually(lambda: len(here.beats) >= 4)  # blocks this loop
        assert LEASE * 0.8 <= time.monotonic() - began < LEASE * 4
        assert [beat.number for beat in here.beats[:4]] == [1, 2, 3, 4]
        assert here.heartbeat.trusted


async def test_orders_are_obeyed_in_the_worker_s_own_loop():
    """Not in the thread that fetched them."""
    async with ward() as here:
        await here.backend.steady().drain("one")
        here.heartbeat.beat_now()
        await eventually_async(lambda: any(orders.drain for orders in here.orders))
        assert here.threads == {threading.get_ident()}


async def test_a_beat_can_be_asked_for_at_once():
    """From any thread."""
    async with ward(lease=60) as here:
        for count in (2, 3):
            here.heartbeat.beat_now()
            await eventually_async(lambda count=count: len(here.beats) == count, timeout=5)


async def test_the_last_beat_says_that_the_worker_leaves():
    """It is taken off the list at once; nobody waits for its lease to end."""
    async with ward() as here:
        pass
    assert here.beats[-1].leaving
    assert await here.workers() == []


async def test_trust_ends_with_two_thirds_of_the_lease():
    """Without a confirmed beat the worker cannot know whether its claims are its own; the next one restores it."""
    async with ward() as here:
        here.faults.refuse["beat"] = ENDLESS
        began = time.monotonic()
        await eventually_async(lambda: not here.heartbeat.trusted)
        assert time.monotonic() - began <= LEASE
        here.faults.heal()
        await eventually_async(lambda: here.heartbeat.trusted)


async def test_a_beat_that_gets_no_answer_is_given_up(caplog):
    """A line that swallows everything does not hold up the next beat for ever; the log says that nobody answered."""
    async with ward() as here:
        here.faults.gates["beat"] = threading.Event()
        await eventually_async(lambda: not here.heartbeat.trusted)
        here.faults.gates.pop("beat")
        await eventually_async(lambda: here.heartbeat.trusted)
    assert "beat_failed failures=1 error=no answer within 0.2 s" in caplog.text


async def test_a_worker_that_forfeits_its_lease_beats_no_more():
    """Until it deserves it again."""
    async with ward() as here:
        here.alive = False
        await eventually_async(lambda: not here.heartbeat.trusted)
        here.alive = True
        await eventually_async(lambda: here.heartbeat.trusted)


async def test_it_waits_for_a_broker_that_is_away():
    """No error; the first beat comes when the broker does."""
    here = Ward()
    here.faults.refuse["open"] = 3
    here.faults.refuse["beat"] = 1
    beating = here.heartbeat.start()
    try:
        await asyncio.wait_for(beating, 20)
        assert here.faults.calls["open"] == 4
    finally:
        await here.heartbeat.stop()


async def test_until_one_is_confirmed_each_beat_is_the_first():
    """A worker that was never registered has lost nothing, and is not told so."""
    here = Ward()
    here.faults.refuse["beat"] = 2
    try:
        await asyncio.wait_for(here.heartbeat.start(), 20)
        await eventually_async(lambda: len(here.orders) >= 2)
        assert [beat.number for beat in here.beats[:4]] == [1, 1, 1, 2]
        assert all(orders.registered for orders in here.orders)
    finally:
        await here.heartbeat.stop()


@pytest.mark.parametrize("verb", ["open", "beat"])
async def test_it_can_be_stopped_while_the_broker_is_away(verb):
    """Nobody has to wait for a broker only to leave."""
    here = Ward()
    here.faults.refuse[verb] = ENDLESS
    beating = here.heartbeat.start()
    await eventually_async(lambda: here.faults.calls[verb] >= 2)
    await asyncio.wait_for(here.heartbeat.stop(), 5)
    assert beating.cancelled()
    assert _no_thread_left()


async def test_what_the_backend_refuses_to_open_is_raised():
    """Waiting would not help."""
    here = Ward()
    here.faults.break_with["open"] = ConfigurationError("no such place")
    with pytest.raises(ConfigurationError):
        await asyncio.wait_for(here.heartbeat.start(), 20)
    await here.heartbeat.stop()
    assert _no_thread_left()


@pytest.mark.parametrize("verb", ["beat", "sweep"])
async def test_a_defect_that_ends_the_heartbeat_is_told(verb, caplog):
    """A worker without a pulse must not go on as if nothing were: whoever watches `broken` learns it."""
    async with ward() as here:
        here.faults.break_with[verb] = ZeroDivisionError("a defect")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(here.heartbeat.broken, 20)
    assert "heartbeat_ended" in caplog.text
    assert _no_thread_left()


async def test_it_sweeps_for_the_dead():
    """What another worker held comes back."""
    async with ward() as here:
        await here.backend.steady().beat(Beat(worker="two", number=1, lease=0.2))
        await eventually_async(lambda: here.faults.calls["sweep"] >= 2)

        async def gone() -> bool:
            return [worker.beat.worker for worker in await here.workers()] == ["one"]

        await awaited(gone)


class Backlog(FlakyBackend):
    """Where each sweep takes 20 ms and leaves more to be done."""

    sweeps: list[tuple[float, float]]
    """When each began and ended."""

    def sibling(self) -> Backlog:
        other = Backlog()
        other.sweeps = self.sweeps = []
        return other

    async def sweep(self) -> Swept:
        began = time.monotonic()
        await asyncio.sleep(0.02)
        self.sweeps.append((began, time.monotonic()))
        return Swept(expired=MAX_BATCH)


async def test_a_backlog_is_swept_in_half_of_the_time():
    """Soon again, long before the next sweep would be due, but not at once: others have to get at the database too."""
    backlog = Backlog()
    async with ward(lease=3, backend=backlog):
        await eventually_async(lambda: len(backlog.sweeps) >= 4)
        sweeps = backlog.sweeps[:4]
    pauses = [after[0] - before[1] for before, after in pairwise(sweeps)]
    assert all(0.019 <= pause < 0.3 for pause in pauses), pauses


async def test_after_a_failed_call_it_lets_half_a_lease_pass_before_it_sweeps():
    """A broker that was away may have missed everybody's beats."""
    async with ward(lease=1.2) as here:
        await eventually_async(lambda: here.faults.calls["sweep"] >= 1)
        here.faults.refuse["beat"] = 1
        here.heartbeat.beat_now()
        await eventually_async(lambda: not here.faults.refuse["beat"])
        failed_at, sweeps = time.monotonic(), here.faults.calls["sweep"]
        await eventually_async(lambda: here.faults.calls["sweep"] > sweeps)
        assert time.monotonic() - failed_at >= 0.5


def _no_thread_left() -> bool:
    return eventually(lambda: not any(thread.name == "reinhardt-heartbeat" for thread in threading.enumerate()))
