"""Messages that are due later, by the store's clock."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.message import Outcome
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import Feature, Stage, ids, message, promise


class Delays:
    """`delay` and `run_at`."""

    @promise(Feature.DELAYS)
    async def test_a_delayed_message_waits(self, stage: Stage) -> None:
        """It is PENDING with `run_at` ahead, is not given out before, and is afterwards."""
        put = await stage.put_one(delay=2 * stage.moment)
        record = await stage.record(put)
        assert record.status is TaskStatus.PENDING
        assert record.run_at == pytest.approx(record.created_at + 2 * stage.moment, abs=0.01)
        hand = await stage.hand()
        await stage.advance(stage.moment)
        assert await hand.claim(1) == []
        await stage.advance(stage.moment)
        claim = await hand.claim_one()
        assert claim.id == put.id
        assert claim.run_at == pytest.approx(record.run_at, abs=0.01)

    @promise(Feature.DELAYS)
    async def test_a_message_for_a_moment_waits_for_it(self, stage: Stage) -> None:
        """`run_at` is an instant of the store's clock."""
        now = (await stage.record(await stage.put_one(queue="clock"))).created_at
        put = await stage.put_one(run_at=now + stage.moment)
        assert (await stage.record(put)).run_at == pytest.approx(now + stage.moment, abs=0.01)
        hand = await stage.hand()
        assert await hand.claim(1, ["default"]) == []
        await stage.advance(stage.moment)
        assert ids(await hand.claim(1, ["default"])) == [put.id]

    @promise(Feature.DELAYS)
    async def test_a_moment_that_has_passed_is_now(self, stage: Stage) -> None:
        """A message for the past starts at once, and knows the moment it was meant for."""
        now = (await stage.record(await stage.put_one(queue="clock"))).created_at
        put = await stage.put_one(run_at=now - 1000.0)
        claim = await (await stage.hand()).claim_one(["default"])
        assert claim.id == put.id
        assert claim.run_at == pytest.approx(now - 1000.0, abs=0.01)

    @promise(Feature.DELAYS)
    async def test_what_falls_due_first_comes_first(self, stage: Stage) -> None:
        """Within a priority the moments decide, not the order of the puts; priority still counts before."""
        late = await stage.put_one(delay=3 * stage.moment)
        early = await stage.put_one(delay=stage.moment)
        urgent = await stage.put_one(delay=2 * stage.moment, priority=9)
        await stage.advance(3 * stage.moment)
        claims = await (await stage.hand()).claim(5)
        assert ids(claims) == [urgent.id, early.id, late.id]

    @promise(Feature.DELAYS)
    async def test_a_message_joins_the_line_when_it_falls_due(self, stage: Stage) -> None:
        """It stands behind what was ready before, though it was put earlier."""
        delayed = await stage.put_one(delay=stage.moment)
        ready = await stage.put_one()
        await stage.advance(stage.moment)
        claims = await (await stage.hand()).claim(5)
        assert ids(claims) == [ready.id, delayed.id]

    @promise(Feature.DELAYS)
    async def test_nothing_due_is_left_behind(self, stage: Stage) -> None:
        """More than one batch that falls due at once is promoted in several steps, all of it."""
        for _ in range(2):
            await stage.put(*(message(delay=stage.moment) for _ in range(MAX_BATCH)))
        await stage.put_one(delay=stage.moment)
        await stage.advance(stage.moment)
        promoted = [(await stage.sweep()).promoted for _ in range(4)]
        assert max(promoted) <= MAX_BATCH
        assert sum(promoted) == 2 * MAX_BATCH + 1

    @promise(Feature.DELAYS)
    async def test_a_sweep_does_not_hurry_anything(self, stage: Stage) -> None:
        """What is not due stays where it is."""
        await stage.put_one(delay=2 * stage.moment)
        await stage.advance(stage.moment)
        assert (await stage.sweep()).promoted == 0
        assert await (await stage.hand()).claim(1) == []

    @promise(Feature.DELAYS)
    async def test_a_delayed_message_is_not_ready_in_the_counts(self, stage: Stage) -> None:
        """It counts as pending, and not among those that could start now."""
        await stage.put_new(2, delay=stage.lease)
        await stage.put_new(3)
        (counts,) = await stage.backend.counts()
        assert (counts.by_status.get(TaskStatus.PENDING), counts.ready) == (5, 3)

    @promise(Feature.DELAYS)
    async def test_a_delayed_message_may_be_cancelled(self, stage: Stage) -> None:
        """What was cancelled before its time never starts."""
        put = await stage.put_one(delay=stage.moment)
        assert await stage.backend.cancel((put.id,)) == [TaskStatus.CANCELLED]
        await stage.advance(stage.moment)
        await stage.sweep()
        assert await (await stage.hand()).claim(1) == []

    @promise(Feature.DELAYS)
    async def test_a_message_is_not_lost_while_it_waits(self, stage: Stage) -> None:
        """A delayed message whose producer and workers all went away is still there when it falls due."""
        producer = stage.backend.sibling()
        put = message(delay=stage.lease * 2)
        async with producer:
            await producer.enqueue(put)
        await stage.hand("gone")
        await stage.lose()
        await stage.advance(stage.lease)
        hand = await stage.hand("later")
        claim = await hand.claim_one()
        assert await hand.settle(Outcome.success(claim, b"r")) == [0]
        assert await stage.status(put) is TaskStatus.SUCCESS
