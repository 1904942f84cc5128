"""Messages moved from one status to another by hand."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from reinhardt_tasks.errors import BackendTaskNotFoundError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, ErrorRecord, Outcome, Settled
from reinhardt_tasks.status import TRANSITIONS, TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, ids, promise

WHY = ErrorRecord("RuntimeError", "an operator said so")


class Requeueing:
    """`requeue`."""

    @promise()
    async def test_a_dead_letter_comes_back_as_new(self, stage: Stage) -> None:
        """PENDING, counters at zero, no error, and it runs."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        await hand.settle(Outcome.failure(await hand.claim_one(), ERROR))
        assert await stage.backend.requeue((put.id,)) == [True]
        record = await stage.record(put)
        assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)
        assert (record.error, record.finished_at, record.worker) == (None, None, None)
        claim = await hand.claim_one()
        assert (claim.id, claim.attempts, claim.losses) == (put.id, 0, 0)

    @promise()
    async def test_a_requeued_message_has_a_new_token(self, stage: Stage) -> None:
        """An outcome of a run before the requeue cannot end a run after it."""
        await stage.put_one()
        hand = await stage.hand()
        old = await hand.claim_one()
        await hand.settle(Outcome.failure(old, ERROR))
        await stage.backend.requeue((old.id,))
        new = await hand.claim_one()
        assert new.number > old.number
        assert await hand.settle(Outcome.success(old, b"old")) != [Settled.SETTLED]
        assert await hand.settle(Outcome.success(new, b"new")) == [Settled.SETTLED]

    @promise()
    async def test_a_requeued_message_stands_at_the_end(self, stage: Stage) -> None:
        """It gets a new place in line."""
        first, second = await stage.put_new(2)
        await stage.backend.cancel((first.id,))
        await stage.backend.requeue((first.id,))
        assert ids(await (await stage.hand()).claim(5)) == [second.id, first.id]

    @promise(Feature.DELAYS)
    async def test_a_requeued_message_is_due_now(self, stage: Stage) -> None:
        """The moment it was put for no longer counts."""
        put = await stage.put_one(delay=stage.lease * 100)
        await stage.backend.cancel((put.id,))
        await stage.backend.requeue((put.id,))
        assert ids(await (await stage.hand()).claim(1)) == [put.id]

    @promise()
    async def test_an_unknown_message_is_not_requeued(self, stage: Stage) -> None:
        """False, and the others are."""
        put = await stage.put_one()
        await stage.backend.cancel((put.id,))
        assert await stage.backend.requeue((TaskId.new(), put.id)) == [False, True]
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_only_what_failed_or_was_cancelled_is_requeued(self, stage: Stage) -> None:
        """Anything else is a TransitionError that names it, and nothing is done, for the others neither."""
        cancelled, running, done, waiting = await stage.put_new(4)
        await stage.backend.cancel((cancelled.id,))
        hand = await stage.hand()
        claims = await hand.claim(2)
        await hand.settle(Outcome.success(claims[1], b"r"))
        for refused in (running, done, waiting):
            with pytest.raises(TransitionError) as caught:
                await stage.backend.requeue((cancelled.id, refused.id))
            assert (caught.value.task_id, caught.value.to_status) == (str(refused.id), "pending")
        assert await stage.status(cancelled) is TaskStatus.CANCELLED


class Moving:
    """`move`."""

    @promise()
    async def test_every_move_follows_the_table(self, stage: Stage) -> None:
        """From each status to each other: what the table allows is done, the rest refused; RUNNING is never given."""
        for old in TaskStatus:
            for new in TaskStatus:
                put = await _in_status(stage, old)
                if new in TRANSITIONS[old] and new is not TaskStatus.RUNNING:
                    await stage.backend.move(put.id, new)
                    assert await stage.status(put) is new, (old, new)
                else:
                    with pytest.raises(TransitionError) as caught:
                        await stage.backend.move(put.id, new)
                    assert (caught.value.from_status, caught.value.to_status) == (old.value, new.value)
                    assert await stage.status(put) is old, (old, new)

    @promise()
    async def test_a_move_stores_what_goes_with_it(self, stage: Stage) -> None:
        """The result of a success, the error of a failure."""
        done, failed = await _in_status(stage, TaskStatus.RUNNING), await stage.put_one()
        await stage.backend.move(done.id, TaskStatus.SUCCESS, payload=b"by hand")
        await stage.backend.move(failed.id, TaskStatus.FAILURE, payload=WHY.encode())
        record = await stage.record(done)
        assert (record.result, record.finished_at) == (b"by hand", record.updated_at)
        assert await stage.error(failed) == WHY

    @promise()
    async def test_a_move_ends_the_claim(self, stage: Stage) -> None:
        """The worker's outcome comes too late, wherever the message was moved."""
        for status in (
            TaskStatus.SUCCESS,
            TaskStatus.FAILURE,
            TaskStatus.CANCELLED,
            TaskStatus.PENDING,
            TaskStatus.RETRY,
        ):
            put = await stage.put_one(queue=status)
            hand = await stage.hand(status)
            claim = await hand.claim_one([status])
            await stage.backend.move(put.id, status)
            assert await hand.settle(Outcome.success(claim, b"late")) == [Settled.LOST]
            assert await stage.status(put) is status
            assert [worker.claims for worker in await stage.backend.workers() if worker.beat.worker == status] == [0]

    @promise()
    async def test_what_is_moved_back_runs_again(self, stage: Stage) -> None:
        """PENDING and RETRY put a running message in line; PENDING from a finished status is a requeue."""
        for old, new in (
            (TaskStatus.RUNNING, TaskStatus.PENDING),
            (TaskStatus.RUNNING, TaskStatus.RETRY),
            (TaskStatus.FAILURE, TaskStatus.PENDING),
        ):
            put = await _in_status(stage, old)
            await stage.backend.move(put.id, new)
            hand = await stage.hand(f"{old}-{new}")
            claim = await hand.claim_one()
            assert (claim.id, claim.attempts) == (put.id, 0)
            await hand.settle(Outcome.success(claim, b"r"))

    @promise()
    async def test_moving_an_unknown_message_is_an_error(self, stage: Stage) -> None:
        """It names the id."""
        stray = TaskId.new()
        with pytest.raises(BackendTaskNotFoundError, match=str(stray)):
            await stage.backend.move(stray, TaskStatus.CANCELLED)

    @promise(Feature.WORKFLOWS)
    async def test_a_move_is_told_to_what_waits(self, stage: Stage) -> None:
        """A success by hand releases the next step, a failure by hand cancels it."""
        for status, then in ((TaskStatus.SUCCESS, TaskStatus.PENDING), (TaskStatus.FAILURE, TaskStatus.CANCELLED)):
            parent = await _in_status(stage, TaskStatus.RUNNING)
            child = await stage.put_one(waits_on=(parent.id,))
            await stage.backend.move(parent.id, status)
            record = await stage.record(child)
            assert (record.status, record.waiting_on) == (then, 0)
            await stage.backend.cancel((child.id,))


async def _in_status(stage: Stage, status: TaskStatus) -> AnyMessage:
    """A fresh message that stands in `status`, alone in a queue of its own."""
    put = await stage.put_one(queue=str(TaskId.new()))
    if status is TaskStatus.PENDING:
        return put
    hand = await stage.hand(put.queue)
    claim = await hand.claim_one([put.queue])
    ends = {
        TaskStatus.RETRY: Outcome.retry(claim, 0.0, ERROR),
        TaskStatus.SUCCESS: Outcome.success(claim, b"r"),
        TaskStatus.FAILURE: Outcome.failure(claim, ERROR),
        TaskStatus.CANCELLED: Outcome.cancelled(claim, ERROR),
    }
    if status in ends:
        await hand.settle(ends[status])
    return put
