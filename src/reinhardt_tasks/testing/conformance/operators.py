"""What operators do to messages and queues: cancel, pause, drain, purge, delete."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Outcome, Put, Reason, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, ids, message, promise

WHY = ErrorRecord("TaskCancelledError", "asked for", reason=Reason.CANCELLED)


class Cancelling:
    """`cancel`."""

    @promise()
    async def test_what_waits_is_cancelled_at_once(self, stage: Stage) -> None:
        """A pending message is CANCELLED after the call, with the error given, and never runs."""
        put = await stage.put_one()
        assert await stage.backend.cancel((put.id,), error=WHY.encode()) == [TaskStatus.CANCELLED]
        record = await stage.record(put)
        assert (record.status, record.finished_at) == (TaskStatus.CANCELLED, record.updated_at)
        assert await stage.error(put) == WHY
        assert await (await stage.hand()).claim(1) == []

    @promise()
    async def test_what_waits_for_a_retry_is_cancelled_at_once(self, stage: Stage) -> None:
        """A message between two runs does not run."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        assert await stage.backend.cancel((put.id,)) == [TaskStatus.CANCELLED]
        assert await hand.claim(1) == []

    @promise()
    async def test_cancelling_answers_each_id(self, stage: Stage) -> None:
        """The status after the step for each, None for an unknown id; what is finished stays as it is."""
        done, waiting = await stage.put_new(2)
        hand = await stage.hand()
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        answer = await stage.backend.cancel((done.id, TaskId.new(), waiting.id, waiting.id))
        assert answer == [TaskStatus.SUCCESS, None, TaskStatus.CANCELLED, TaskStatus.CANCELLED]
        assert (await stage.record(done)).result == b"r"

    @promise()
    async def test_a_running_message_is_cancelled_by_an_order(self, stage: Stage) -> None:
        """Its worker is told with every exchange and every beat until it has settled."""
        put = await stage.put_one()
        hand, other = await stage.hand("w1"), await stage.hand("w2")
        claim = await hand.claim_one()
        assert await stage.backend.cancel((put.id,)) == [TaskStatus.RUNNING]
        assert (await stage.record(put)).cancelling
        for _ in range(2):
            assert (await hand.exchange()).orders.cancel == (put.id,)
            assert (await hand.beat()).cancel == (put.id,)
        assert (await other.exchange()).orders.cancel == ()
        assert (await hand.exchange(Outcome.cancelled(claim, ERROR))).orders.cancel == ()
        assert await stage.status(put) is TaskStatus.CANCELLED

    @promise()
    async def test_a_run_that_ends_before_the_order_ends_so(self, stage: Stage) -> None:
        """A success or failure of a message that was to be cancelled stands."""
        put = await stage.put_new(2)
        hand = await stage.hand()
        one, two = await hand.claim(2)
        await stage.backend.cancel(ids(put))
        await hand.settle(Outcome.success(one, b"r"), Outcome.failure(two, ERROR))
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS, TaskStatus.FAILURE]
        assert not (await stage.record(put[0])).cancelling

    @promise()
    async def test_what_is_to_be_cancelled_does_not_run_again(self, stage: Stage) -> None:
        """A retry, a release or the death of its worker ends it as CANCELLED, with the error of the cancellation."""
        put = await stage.put_new(3)
        hand, dead = await stage.hand("w1"), await stage.hand("dead")
        one, two = await hand.claim(2)
        await dead.claim_one()
        await stage.backend.cancel(ids(put), error=WHY.encode())
        assert await hand.settle(Outcome.retry(one, 0.0, ERROR), Outcome.release(two)) == [Settled.SETTLED] * 2
        await stage.lose(hand)
        assert await stage.statuses(*put) == [TaskStatus.CANCELLED] * 3
        assert [await stage.error(item) for item in put[1:]] == [WHY] * 2
        assert await hand.claim(5) == []


class Pausing:
    """`pause`, `resume`, `drain`."""

    @promise()
    async def test_a_paused_queue_gives_nothing(self, stage: Stage) -> None:
        """Neither to those who list it nor to those who serve all; other queues go on; resuming ends it."""
        await stage.put_one(queue="q")
        other = await stage.put_one(queue="other")
        hand = await stage.hand()
        await stage.backend.pause("q")
        assert await hand.claim(5, ["q"]) == []
        assert ids(await hand.claim(5, None)) == [other.id]
        assert [(counts.queue, counts.paused) for counts in await stage.backend.counts()] == [
            ("other", False),
            ("q", True),
        ]
        await stage.backend.resume("q")
        assert len(await hand.claim(5, ["q"])) == 1
        assert not any(counts.paused for counts in await stage.backend.counts())

    @promise()
    async def test_what_runs_goes_on_in_a_paused_queue(self, stage: Stage) -> None:
        """Claims made before the pause are settled as usual."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        await stage.backend.pause("default")
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.SETTLED]
        assert await stage.status(put) is TaskStatus.SUCCESS

    @promise()
    async def test_a_queue_may_be_paused_before_it_exists(self, stage: Stage) -> None:
        """It is listed as paused, and what is put there later waits; pausing and resuming twice do nothing more."""
        for _ in range(2):
            await stage.backend.pause("new")
        (counts,) = await stage.backend.counts()
        assert (counts.queue, counts.paused) == ("new", True)
        await stage.put_one(queue="new")
        hand = await stage.hand()
        assert await hand.claim(1) == []
        for _ in range(2):
            await stage.backend.resume("new")
        assert len(await hand.claim(1)) == 1

    @promise()
    async def test_a_worker_is_told_to_drain(self, stage: Stage) -> None:
        """With its next exchange and its next beat; others are not."""
        hand, other = await stage.hand("w1"), await stage.hand("w2")
        assert await stage.backend.drain("w1") is True
        assert (await hand.exchange()).orders.drain
        assert (await hand.beat()).drain
        assert not (await other.exchange()).orders.drain

    @promise()
    async def test_a_worker_that_drains_is_given_nothing_more(self, stage: Stage) -> None:
        """Not even in the exchange that brings the order; what it holds it may still end."""
        put = await stage.put_new(2)
        hand = await stage.hand()
        claim = await hand.claim_one()
        await stage.backend.drain("w")
        answer = await hand.exchange(Outcome.success(claim, b"r"), want=5)
        assert (answer.settled, answer.claims) == ([Settled.SETTLED], [])
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS, TaskStatus.PENDING]

    @promise()
    async def test_a_worker_that_is_not_registered_cannot_be_drained(self, stage: Stage) -> None:
        """False, and it is not told when it registers later."""
        assert await stage.backend.drain("later") is False
        hand = await stage.hand("later")
        assert not (await hand.exchange()).orders.drain


class Removing:
    """`purge` and `delete`."""

    @promise()
    async def test_a_purge_deletes_what_waits_in_one_queue(self, stage: Stage) -> None:
        """Pending and retrying messages of that queue are gone; what runs or is finished stays, other queues too."""
        running, retrying, done, waiting = await stage.put_new(4, queue="q")
        other = await stage.put_one(queue="other")
        hand = await stage.hand()
        _, two, three = await hand.claim(3, ["q"])
        await hand.settle(Outcome.retry(two, stage.lease, ERROR), Outcome.success(three, b"r"))
        assert await stage.backend.purge("q") == 2
        assert await stage.backend.get((waiting.id, retrying.id)) == [None, None]
        assert await stage.statuses(running, done, other) == [
            TaskStatus.RUNNING,
            TaskStatus.SUCCESS,
            TaskStatus.PENDING,
        ]
        assert await hand.claim(5, ["q"]) == []
        assert await stage.backend.purge("q") == 0

    @promise()
    async def test_a_purge_takes_the_statuses_it_is_told(self, stage: Stage) -> None:
        """Dead letters alone, for example; running messages never."""
        failed, running, waiting = await stage.put_new(3)
        hand = await stage.hand()
        one, _ = await hand.claim(2)
        await hand.settle(Outcome.failure(one, ERROR))
        assert await stage.backend.purge("default", statuses=[TaskStatus.FAILURE, TaskStatus.RUNNING]) == 1
        assert await stage.backend.get((failed.id,)) == [None]
        assert await stage.statuses(running, waiting) == [TaskStatus.RUNNING, TaskStatus.PENDING]

    @promise(Feature.WORKFLOWS)
    async def test_a_purge_cancels_what_waits_for_the_purged(self, stage: Stage) -> None:
        """Messages of other queues that wait for a deleted one are cancelled, with the reason."""
        parent = await stage.put_one(queue="q")
        child = await stage.put_one(waits_on=(parent.id,))
        assert await stage.backend.purge("q") == 1
        assert await stage.status(child) is TaskStatus.CANCELLED
        assert (await stage.error(child)).reason is Reason.PARENT_FAILED

    @promise()
    async def test_only_finished_messages_are_deleted(self, stage: Stage) -> None:
        """Each is gone wholly; unfinished and unknown ones are left alone and not counted."""
        done, running, waiting = await stage.put_new(3)
        hand = await stage.hand()
        one, _ = await hand.claim(2)
        await hand.settle(Outcome.success(one, b"r"))
        assert await stage.backend.delete((done.id, done.id, running.id, waiting.id, TaskId.new())) == 1
        assert await stage.backend.get((done.id,)) == [None]
        assert await stage.statuses(running, waiting) == [TaskStatus.RUNNING, TaskStatus.PENDING]

    @promise()
    async def test_a_deleted_id_is_unknown_again(self, stage: Stage) -> None:
        """It may be put anew, and what its former worker says about it is LOST."""
        put = message()
        await stage.put(put)
        hand = await stage.hand()
        claim = await hand.claim_one()
        await hand.settle(Outcome.success(claim, b"r"))
        await stage.backend.delete((put.id,))
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.LOST]
        assert await stage.put(put) == [Put(put.id, created=True)]
        assert await stage.status(put) is TaskStatus.PENDING
