"""Waiting is ended by a push, and no wake-up is lost."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from reinhardt_tasks.errors import BackendTaskNotFoundError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Outcome, Record
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, LONG, Feature, Hand, Stage, message, promise, underway

_NEED = Feature.RESULTS


async def _woken_by(stage: Stage, act: Callable[[], Awaitable[object]], queues: list[str] | None = None) -> bool:
    """What an idle worker's `wait`, begun before `act`, answers; `act` happens while it waits."""
    hand = await stage.hand(f"idle{TaskId.new()}", backend=await stage.another())
    assert await hand.claim(1, queues) == []
    waiting = await underway(hand.wait(LONG, queues))
    await act()
    return await waiting


class Waiting:
    """`wait`."""

    @promise()
    async def test_a_put_wakes_a_waiting_worker(self, stage: Stage) -> None:
        """Whether it serves all queues or lists this one; from another instance."""
        for queues in (None, ["other", "default"]):
            assert await _woken_by(stage, lambda: stage.put(message()), queues) is True
            await stage.backend.purge("default")

    @promise()
    async def test_what_came_between_exchange_and_wait_is_not_missed(self, stage: Stage) -> None:
        """A message put after the exchange ends a wait that begins later."""
        hand = await stage.hand()
        assert await hand.claim(1) == []
        await stage.put_one()
        assert await hand.wait(LONG) is True
        assert len(await hand.claim(1)) == 1

    @promise()
    async def test_a_worker_that_never_exchanged_does_not_miss_what_is_there(self, stage: Stage) -> None:
        """Its first wait ends at once when a message is there already."""
        await stage.put_one()
        assert await (await stage.hand()).wait(LONG) is True

    @promise()
    async def test_waiting_ends_with_the_timeout(self, stage: Stage) -> None:
        """False, when nothing happened."""
        hand = await stage.hand()
        await hand.claim(1)
        started = time.monotonic()
        assert await hand.wait(0.05) is False
        assert time.monotonic() - started >= 0.04

    @promise()
    async def test_what_the_last_exchange_knew_ends_no_wait(self, stage: Stage) -> None:
        """A worker that was given all there is sleeps, and does not ask again and again."""
        await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        assert await hand.wait(0.05) is False
        await hand.settle(Outcome.success(claim, b"r"))
        assert await hand.wait(0.05) is False

    @promise()
    async def test_a_release_wakes_other_workers(self, stage: Stage) -> None:
        """What one worker gives back another may take."""
        await stage.put_one()
        hand = await stage.hand("w1")
        claim = await hand.claim_one()
        assert await _woken_by(stage, lambda: hand.settle(Outcome.release(claim))) is True

    @promise()
    async def test_a_rescue_wakes_other_workers(self, stage: Stage) -> None:
        """The sweep that frees a dead worker's message tells those who wait."""
        await stage.put_one()
        await (await stage.hand("dead")).claim_one()
        await stage.advance(stage.lease * 2 / 3)
        await stage.sweep()
        await stage.advance(stage.lease / 2)
        assert await _woken_by(stage, stage.sweep) is True

    @promise()
    async def test_a_requeue_wakes_workers(self, stage: Stage) -> None:
        """What comes back in line is claimable."""
        put = await stage.put_one()
        await stage.backend.cancel((put.id,))
        assert await _woken_by(stage, lambda: stage.backend.requeue((put.id,))) is True

    @promise()
    async def test_resuming_wakes_workers(self, stage: Stage) -> None:
        """What stood in a paused queue is claimable."""
        await stage.backend.pause("default")
        await stage.put_one()
        assert await _woken_by(stage, lambda: stage.backend.resume("default")) is True

    @promise(Feature.WORKFLOWS)
    async def test_the_end_of_a_parent_wakes_workers(self, stage: Stage) -> None:
        """The next step of a chain need not wait for a poll, nor a workflow that is started."""
        parent = await stage.put_one()
        await stage.put_one(waits_on=(parent.id,), queue="next")
        hand = await stage.hand("w1")
        claim = await hand.claim_one()
        assert await _woken_by(stage, lambda: hand.settle(Outcome.success(claim, b"r")), ["next"]) is True
        end = TaskId.new()
        await stage.put_one(queue="held", workflow=end, held=True)
        assert await _woken_by(stage, lambda: stage.backend.start_workflow(end), ["held"]) is True

    @promise()
    async def test_an_order_wakes_its_worker(self, stage: Stage) -> None:
        """A cancellation or a drain reaches a worker that waits."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.claim_one()
        for act in (lambda: stage.backend.cancel((put.id,)), lambda: stage.backend.drain("w")):
            waiting = await underway(hand.wait(LONG, []))
            await act()
            assert await waiting is True
            await hand.exchange(queues=[])

    @promise()
    async def test_an_order_between_exchange_and_wait_is_not_missed(self, stage: Stage) -> None:
        """It ends a wait that begins later."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.claim_one()
        await stage.backend.cancel((put.id,))
        assert await hand.wait(LONG, []) is True

    @promise(Feature.DELAYS)
    async def test_waiting_ends_when_the_next_message_falls_due(self, stage: Stage) -> None:
        """Long before its timeout; also when that message is put while it waits."""
        hand = await stage.hand()
        await stage.put_one(delay=0.2)
        await hand.claim(1)
        await _ends_early(hand)
        await stage.backend.purge("default")
        await hand.claim(1)
        waiting = await underway(_ends_early(hand))
        await stage.put_one(delay=0.2)
        await waiting

    @promise()
    async def test_every_waiting_worker_hears_of_enough_work(self, stage: Stage) -> None:
        """When more comes than one worker takes, none of those who wait sleeps on."""
        hands = [await stage.hand(f"w{n}", backend=await stage.another()) for n in range(4)]
        for hand in hands:
            await hand.claim(1)
        waiting = [await underway(hand.wait(LONG)) for hand in hands]
        await stage.put_new(8)
        assert await asyncio.gather(*waiting) == [True] * 4

    @promise()
    async def test_a_wait_may_be_cancelled(self, stage: Stage) -> None:
        """It takes nothing with it: the next wait is woken as usual."""
        hand = await stage.hand()
        await hand.claim(1)
        waiting = await underway(hand.wait(LONG))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stage.put_one()
        assert await hand.wait(LONG) is True


class WaitingForResults:
    """`wait_result`."""

    @promise(_NEED)
    async def test_a_finished_message_is_answered_at_once(self, stage: Stage) -> None:
        """Its record, whatever its end was; no time is needed for it."""
        put = await stage.put_new(3)
        hand = await stage.hand()
        one, two, three = await hand.claim(3)
        await hand.settle(Outcome.success(one, b"r"), Outcome.failure(two, ERROR), Outcome.cancelled(three, ERROR))
        for item in put:
            assert await stage.backend.wait_result(item.id, 0.0) == await stage.record(item)

    @promise(_NEED)
    async def test_the_end_is_pushed_to_those_who_wait(self, stage: Stage) -> None:
        """Several waiters on several instances, with and without a timeout, get the record once it is finished."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        waiting = [
            await underway(instance.wait_result(put.id, timeout))
            for instance in (stage.backend, await stage.another())
            for timeout in (LONG, None)
        ]
        await hand.settle(Outcome.success(claim, b"r"))
        async with asyncio.timeout(LONG):
            records = await asyncio.gather(*waiting)
        assert [record and record.result for record in records] == [b"r"] * 4

    @promise(_NEED)
    async def test_a_retry_is_not_the_end(self, stage: Stage) -> None:
        """Who waits for the result waits through retries."""
        put = await stage.put_one()
        hand = await stage.hand()
        waiting = await underway(stage.backend.wait_result(put.id, LONG))
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        record = await waiting
        assert record is not None
        assert (record.status, record.attempts) == (TaskStatus.SUCCESS, 1)

    @promise(_NEED)
    async def test_a_cancellation_is_an_end(self, stage: Stage) -> None:
        """Also that of a message which never ran."""
        put = await stage.put_one()
        assert await _result_after(stage, put.id, lambda: stage.backend.cancel((put.id,))) is TaskStatus.CANCELLED

    @promise(_NEED)
    async def test_waiting_for_a_result_ends_with_the_timeout(self, stage: Stage) -> None:
        """None, and the message goes on."""
        put = await stage.put_one()
        started = time.monotonic()
        assert await stage.backend.wait_result(put.id, 0.05) is None
        assert time.monotonic() - started >= 0.04
        assert await stage.status(put) is TaskStatus.PENDING

    @promise(_NEED)
    async def test_an_unknown_message_is_not_waited_for(self, stage: Stage) -> None:
        """It is an error at once, and when the message is deleted meanwhile."""
        with pytest.raises(BackendTaskNotFoundError):
            await stage.backend.wait_result(TaskId.new(), LONG)
        put = await stage.put_one()
        with pytest.raises(BackendTaskNotFoundError):
            await _result_after(stage, put.id, lambda: stage.backend.purge("default"))


async def _result_after(stage: Stage, id: TaskId, act: Callable[[], Awaitable[object]]) -> TaskStatus:
    """The status that a waiter, begun before `act`, is answered."""
    waiting = await underway(stage.backend.wait_result(id, LONG))
    await act()
    record: Record | None = await waiting
    assert record is not None
    return record.status


async def _ends_early(hand: Hand) -> None:
    started = time.monotonic()
    await hand.wait(LONG)
    assert time.monotonic() - started < LONG / 2
