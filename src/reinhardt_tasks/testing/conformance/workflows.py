"""Messages that wait for others."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reinhardt_tasks.errors import QueueError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Outcome, Put, Reason
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Hand, Stage, ids, message, promise

_NEED = Feature.WORKFLOWS


async def _run(hand: Hand, *wanted: TaskId, fail: Sequence[TaskId] = ()) -> None:
    """Claim exactly the messages in `wanted`, in any order, and settle them."""
    claims = await hand.claim(len(wanted) + 1)
    assert sorted(ids(claims)) == sorted(wanted)
    ends = [Outcome.failure(claim, ERROR) if claim.id in fail else Outcome.success(claim, b"r") for claim in claims]
    await hand.settle(*ends)


class Workflows:
    """`waits_on` and `tolerant`."""

    @promise(_NEED)
    async def test_a_message_waits_for_its_parent(self, stage: Stage) -> None:
        """It is PENDING with one to wait for, and given to nobody."""
        parent, child = await _line(stage, 2)
        record = await stage.record(child)
        assert (record.status, record.waiting_on) == (TaskStatus.PENDING, 1)
        hand = await stage.hand()
        assert ids(await hand.claim(5)) == [parent]
        assert await hand.claim(5) == []

    @promise(_NEED)
    async def test_the_next_step_is_released_with_the_success(self, stage: Stage) -> None:
        """Settling a step and readying the next is one step: the same exchange claims it."""
        parent, child = await _line(stage, 2)
        hand = await stage.hand()
        claim = await hand.claim_one()
        assert claim.id == parent
        answer = await hand.exchange(Outcome.success(claim, b"r"), want=5)
        assert ids(answer.claims) == [child]
        assert (await stage.record(child)).waiting_on == 0

    @promise(_NEED)
    async def test_a_chain_runs_step_by_step(self, stage: Stage) -> None:
        """Each of many steps comes after the one before, in one put."""
        steps = await _line(stage, 6)
        hand = await stage.hand()
        for step in steps:
            await _run(hand, step)
        assert await stage.statuses(*steps) == [TaskStatus.SUCCESS] * 6

    @promise(_NEED)
    async def test_all_parents_must_succeed(self, stage: Stage) -> None:
        """A gathering message starts when the last of its parents has, whichever that is."""
        parents = await stage.put_new(5)
        child = await stage.put_one(waits_on=tuple(ids(parents)), priority=9)
        hand = await stage.hand()
        claims = await hand.claim(9)
        for left, claim in reversed(list(enumerate(claims))):
            assert (await stage.record(child)).waiting_on == left + 1
            await hand.settle(Outcome.success(claim, b"r"))
        assert ids(await hand.claim(5)) == [child.id]

    @promise(_NEED)
    async def test_parents_that_succeed_together_are_counted_each(self, stage: Stage) -> None:
        """Outcomes of several parents in one exchange count down by their number."""
        parents = await stage.put_new(3)
        child = await stage.put_one(waits_on=tuple(ids(parents)))
        hand = await stage.hand()
        claims = await hand.claim(3)
        answer = await hand.exchange(*(Outcome.success(claim, b"r") for claim in claims), want=5)
        assert ids(answer.claims) == [child.id]

    @promise(_NEED)
    async def test_one_parent_releases_all_that_wait_for_it(self, stage: Stage) -> None:
        """A fan-out starts as a whole."""
        parent = await stage.put_one()
        children = await stage.put_new(20, waits_on=(parent.id,))
        hand = await stage.hand()
        await _run(hand, parent.id)
        assert ids(await hand.claim(30)) == ids(children)

    @promise(_NEED)
    async def test_a_parent_named_twice_is_waited_for_once(self, stage: Stage) -> None:
        """Repeats in `waits_on` are one parent."""
        parent = await stage.put_one()
        child = await stage.put_one(waits_on=(parent.id, parent.id))
        assert (await stage.record(child)).waiting_on == 1
        hand = await stage.hand()
        await _run(hand, parent.id)
        await _run(hand, child.id)

    @promise(_NEED)
    async def test_a_parent_that_succeeded_is_not_waited_for(self, stage: Stage) -> None:
        """A message put after its parent's success is ready at once."""
        parent = await stage.put_one()
        hand = await stage.hand()
        await _run(hand, parent.id)
        child = await stage.put_one(waits_on=(parent.id,))
        assert (await stage.record(child)).waiting_on == 0
        assert ids(await hand.claim(1)) == [child.id]

    @promise(_NEED)
    async def test_an_unknown_parent_is_refused(self, stage: Stage) -> None:
        """A QueueError that names it, and nothing of the call is stored."""
        stray, first = TaskId.new(), message()
        second = message(waits_on=(stray,))
        with pytest.raises(QueueError, match=str(stray)):
            await stage.put(first, second)
        assert await stage.backend.get((first.id, second.id)) == [None, None]

    @promise(_NEED)
    async def test_a_parent_later_in_the_call_is_refused(self, stage: Stage) -> None:
        """Parents come first; so no two messages can wait for each other."""
        parent = message()
        child = message(waits_on=(parent.id,))
        with pytest.raises(QueueError):
            await stage.put(child, parent)
        assert await stage.backend.get((parent.id, child.id)) == [None, None]

    @promise(_NEED)
    async def test_a_failure_cancels_what_waits_for_it(self, stage: Stage) -> None:
        """Every later step is cancelled, with the reason; none of them runs."""
        steps = await _line(stage, 4)
        hand = await stage.hand()
        await _run(hand, steps[0])
        await _run(hand, steps[1], fail=steps)
        assert await hand.claim(5) == []
        assert await stage.statuses(*steps[1:]) == [TaskStatus.FAILURE, TaskStatus.CANCELLED, TaskStatus.CANCELLED]
        for step in steps[2:]:
            assert (await stage.error(step)).reason is Reason.PARENT_FAILED
            assert (await stage.record(step)).finished_at is not None

    @promise(_NEED)
    async def test_a_cancellation_cancels_what_waits_for_it(self, stage: Stage) -> None:
        """Whether it waited or ran."""
        for running in (False, True):
            parent, child = await _line(stage, 2)
            if running:
                hand = await stage.hand()
                await hand.settle(Outcome.cancelled(await hand.claim_one(), ERROR))
            else:
                await stage.backend.cancel((parent,))
            assert await stage.status(child) is TaskStatus.CANCELLED
            assert (await stage.error(child)).reason is Reason.PARENT_FAILED

    @promise(_NEED)
    async def test_a_retry_cancels_nothing(self, stage: Stage) -> None:
        """Only the last word counts."""
        parent, child = await _line(stage, 2)
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        assert await stage.status(child) is TaskStatus.PENDING
        await _run(hand, parent)
        await _run(hand, child)

    @promise(_NEED)
    async def test_a_child_of_a_failed_parent_is_cancelled_at_once(self, stage: Stage) -> None:
        """Put too late, it is CANCELLED from the start, and so is what waits for it in turn."""
        parent = await stage.put_one()
        await stage.backend.cancel((parent.id,))
        child = message(waits_on=(parent.id,))
        grandchild = message(waits_on=(child.id,))
        assert await stage.put(child, grandchild) == [Put(id, created=True) for id in (child.id, grandchild.id)]
        assert await stage.statuses(child, grandchild) == [TaskStatus.CANCELLED] * 2
        assert (await stage.error(child)).reason is Reason.PARENT_FAILED

    @promise(_NEED)
    async def test_a_tolerant_message_waits_for_the_end_whatever_it_is(self, stage: Stage) -> None:
        """It starts when its parents are finished: succeeded, failed or cancelled, before or after it was put."""
        one, two, three = await stage.put_new(3)
        await stage.backend.cancel((three.id,))
        child = await stage.put_one(waits_on=(one.id, two.id, three.id), tolerant=True)
        assert (await stage.record(child)).waiting_on == 2
        hand = await stage.hand()
        await _run(hand, one.id, two.id, fail=[two.id])
        await _run(hand, child.id)

    @promise(_NEED)
    async def test_a_tolerant_message_that_comes_back_is_still_tolerant(self, stage: Stage) -> None:
        """Also where its parent had failed before it was put, so that its first run began at once."""
        hand = await stage.hand()
        parent = await stage.put_one()
        await hand.settle(Outcome.failure(await hand.claim_one(), ERROR))
        child = await stage.put_one(waits_on=(parent.id,), tolerant=True)
        await hand.settle(Outcome.failure(await hand.claim_one(), ERROR))
        await stage.backend.requeue((parent.id,))
        await stage.backend.requeue((child.id,))
        first = await hand.claim_one()
        assert first.id == parent.id
        await hand.settle(Outcome.failure(first, ERROR))
        assert (await hand.claim_one()).id == child.id

    @promise(_NEED)
    async def test_a_delayed_child_waits_for_both(self, stage: Stage) -> None:
        """For its parent and for its moment."""
        parent = await stage.put_one()
        child = await stage.put_one(waits_on=(parent.id,), delay=2 * stage.moment)
        hand = await stage.hand()
        await _run(hand, parent.id)
        assert await hand.claim(1) == []
        await stage.advance(2 * stage.moment)
        await _run(hand, child.id)

    @promise(_NEED)
    async def test_a_message_due_before_its_parent_is_finished_does_not_start(self, stage: Stage) -> None:
        """The moment alone is not enough."""
        parent = await stage.put_one()
        child = await stage.put_one(waits_on=(parent.id,), delay=stage.moment)
        await stage.advance(stage.moment)
        await stage.sweep()
        hand = await stage.hand()
        await _run(hand, parent.id)
        await _run(hand, child.id)

    @promise(_NEED)
    async def test_a_requeue_resumes_where_it_failed(self, stage: Stage) -> None:
        """The failed step runs again and the dependents it cancelled wait for it as before."""
        steps = await _line(stage, 4)
        hand = await stage.hand()
        await _run(hand, steps[0])
        await _run(hand, steps[1], fail=steps)
        assert await stage.backend.requeue((steps[1],)) == [True]
        assert await stage.statuses(*steps) == [TaskStatus.SUCCESS, *[TaskStatus.PENDING] * 3]
        assert [(await stage.record(step)).waiting_on for step in steps] == [0, 0, 1, 1]
        assert (await stage.record(steps[2])).error is None
        for step in steps[1:]:
            await _run(hand, step)

    @promise(_NEED)
    async def test_a_requeue_does_not_revive_what_was_cancelled_by_hand(self, stage: Stage) -> None:
        """Only what was cancelled for its parent's sake comes back with it."""
        parent, child = await _line(stage, 2)
        await stage.backend.cancel((child,))
        await stage.backend.cancel((parent,))
        await stage.backend.requeue((parent,))
        assert await stage.statuses(parent, child) == [TaskStatus.PENDING, TaskStatus.CANCELLED]

    @promise(_NEED)
    async def test_a_dependent_that_came_back_may_be_cancelled_by_hand(self, stage: Stage) -> None:
        """Then the next requeue of its parent leaves it alone."""
        parent, child = await _line(stage, 2)
        await stage.backend.cancel((parent,))
        await stage.backend.requeue((parent,))
        await stage.backend.cancel((child,))
        await stage.backend.cancel((parent,))
        await stage.backend.requeue((parent,))
        assert await stage.statuses(parent, child) == [TaskStatus.PENDING, TaskStatus.CANCELLED]

    @promise(_NEED)
    async def test_a_dependent_comes_back_with_the_last_of_its_parents(self, stage: Stage) -> None:
        """While another parent stands failed it stays cancelled."""
        one, two = await stage.put_new(2)
        child = await stage.put_one(waits_on=(one.id, two.id))
        await stage.backend.cancel((one.id, two.id))
        await stage.backend.requeue((one.id,))
        assert await stage.status(child) is TaskStatus.CANCELLED
        await stage.backend.requeue((two.id,))
        assert await stage.status(child) is TaskStatus.PENDING
        hand = await stage.hand()
        await _run(hand, one.id, two.id)
        await _run(hand, child.id)

    @promise(_NEED)
    async def test_a_dependent_cannot_be_requeued_without_its_parent(self, stage: Stage) -> None:
        """It could not run; the error names the parent, and together they come back."""
        parent, child = await _line(stage, 2)
        await stage.backend.cancel((parent,))
        with pytest.raises(TransitionError, match=str(parent)):
            await stage.backend.requeue((child,))
        assert await stage.status(child) is TaskStatus.CANCELLED
        assert await stage.backend.requeue((child, parent)) == [True, True]
        assert await stage.statuses(parent, child) == [TaskStatus.PENDING] * 2
        assert (await stage.record(child)).waiting_on == 1

    @promise(_NEED)
    async def test_a_long_chain_is_cancelled_to_its_end(self, stage: Stage) -> None:
        """However much waits for a failure, sweeping cancels all of it, and none of it runs meanwhile."""
        steps = [await stage.put_one()]
        for _ in range(4):
            batch = [message(waits_on=(steps[-1].id,))]
            for _ in range(299):
                batch.append(message(waits_on=(batch[-1].id,)))
            await stage.put(*batch)
            steps += batch
        await stage.backend.cancel((steps[0].id,))
        hand = await stage.hand()
        assert await hand.claim(9) == []
        for _ in range(10):
            await stage.sweep()
        records = await stage.backend.get(ids(steps))
        assert {record and record.status for record in records} == {TaskStatus.CANCELLED}
        assert await hand.claim(9) == []


async def _line(stage: Stage, length: int) -> list[TaskId]:
    """The ids of a chain of fresh messages, put in one call."""
    steps = [message()]
    while len(steps) < length:
        steps.append(message(waits_on=(steps[-1].id,)))
    await stage.put(*steps)
    return ids(steps)
