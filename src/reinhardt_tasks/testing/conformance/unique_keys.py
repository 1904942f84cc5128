"""One message per unique key."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from reinhardt_tasks.errors import DuplicateTaskError
from reinhardt_tasks.message import Outcome, OutcomeKind, Put
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, ids, message, promise

_NEED = Feature.UNIQUE_KEYS


class UniqueKeys:
    """`unique_key` and `unique_for`."""

    @promise(_NEED)
    async def test_a_key_is_held_by_one_message(self, stage: Stage) -> None:
        """The second message with a key is answered by the first one's id, and not stored."""
        first = await stage.put_one(unique_key="k")
        second = message(unique_key="k")
        assert await stage.put(second) == [Put(first.id, created=False)]
        assert await stage.backend.get((second.id,)) == [None]
        assert (await stage.record(first)).unique_key == "k"

    @promise(_NEED)
    async def test_a_key_is_held_within_one_call(self, stage: Stage) -> None:
        """The second of two messages with one key in one put is a duplicate of the first."""
        first, second = message(unique_key="k"), message(unique_key="k")
        assert await stage.put(first, second) == [Put(first.id, created=True), Put(first.id, created=False)]

    @promise(_NEED)
    async def test_keys_of_different_tasks_do_not_meet(self, stage: Stage) -> None:
        """A key belongs to its task's name; the queue does not matter."""
        first = await stage.put_one(name="a", unique_key="k")
        other, same = message(name="b", unique_key="k"), message(name="a", unique_key="k", queue="elsewhere")
        assert await stage.put(other, same) == [Put(other.id, created=True), Put(first.id, created=False)]

    @promise(_NEED)
    async def test_a_key_is_held_until_the_message_is_finished(self, stage: Stage) -> None:
        """While it waits, runs, and waits for a retry."""
        first = await stage.put_one(unique_key="k")
        hand = await stage.hand()
        claim = await hand.claim_one()
        assert await stage.put(message(unique_key="k")) == [Put(first.id, created=False)]
        await hand.settle(Outcome.retry(claim, 0.0, ERROR))
        assert await stage.put(message(unique_key="k")) == [Put(first.id, created=False)]
        await hand.settle(Outcome.release(await hand.claim_one()))
        assert await stage.put(message(unique_key="k")) == [Put(first.id, created=False)]

    @promise(_NEED)
    async def test_every_end_frees_the_key(self, stage: Stage) -> None:
        """Success, failure and cancellation let the next message with the key in."""
        hand = await stage.hand()
        for kind in (OutcomeKind.SUCCESS, OutcomeKind.FAILURE, OutcomeKind.CANCELLED):
            assert (await stage.put(message(unique_key="k")))[0].created
            claim = await hand.claim_one()
            await hand.settle(Outcome(claim.id, claim.number, kind, b"payload", locator=claim.locator))
        assert (await stage.put(message(unique_key="k")))[0].created

    @promise(_NEED)
    async def test_cancelling_and_purging_free_the_key(self, stage: Stage) -> None:
        """What an operator ends or deletes holds nothing."""
        first = await stage.put_one(unique_key="k")
        await stage.backend.cancel((first.id,))
        assert (await stage.put(message(unique_key="k")))[0].created
        await stage.backend.purge("default")
        assert (await stage.put(message(unique_key="k")))[0].created

    @promise(_NEED)
    async def test_a_window_holds_the_key_after_the_end(self, stage: Stage) -> None:
        """With `unique_for` the key is held for that long from the enqueue, finished or not, and free after."""
        first = await stage.put_one(unique_key="k", unique_for=2 * stage.moment)
        hand = await stage.hand()
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        await stage.advance(stage.moment)
        assert await stage.put(message(unique_key="k")) == [Put(first.id, created=False)]
        await stage.advance(stage.moment)
        assert (await stage.put(message(unique_key="k")))[0].created

    @promise(_NEED)
    async def test_a_window_ends_though_the_message_has_not(self, stage: Stage) -> None:
        """After `unique_for` the key is free, also while the message still waits."""
        await stage.put_one(unique_key="k", unique_for=stage.moment)
        await stage.advance(stage.moment)
        second = message(unique_key="k")
        assert await stage.put(second) == [Put(second.id, created=True)]
        assert await stage.put(message(unique_key="k")) == [Put(second.id, created=False)]

    @promise(_NEED)
    async def test_a_repeated_id_counts_before_the_key(self, stage: Stage) -> None:
        """A message put again after its key went to another is still itself."""
        first = await stage.put_one(unique_key="k")
        await stage.backend.cancel((first.id,))
        await stage.put_one(unique_key="k")
        assert await stage.put(first) == [Put(first.id, created=False)]

    @promise(_NEED)
    async def test_a_requeue_takes_the_key_again(self, stage: Stage) -> None:
        """A message back in line holds its key, though another had it meanwhile."""
        first = await stage.put_one(unique_key="k")
        await stage.backend.cancel((first.id,))
        second = await stage.put_one(unique_key="k")
        await stage.backend.cancel((second.id,))
        assert await stage.backend.requeue((first.id,)) == [True]
        assert await stage.put(message(unique_key="k")) == [Put(first.id, created=False)]

    @promise(_NEED)
    async def test_a_requeue_is_refused_while_another_holds_the_key(self, stage: Stage) -> None:
        """Nothing is done, and the error names the holder and the key."""
        first, other = await stage.put_one(unique_key="k"), await stage.put_one()
        await stage.backend.cancel((first.id, other.id))
        holder = await stage.put_one(unique_key="k")
        with pytest.raises(DuplicateTaskError) as caught:
            await stage.backend.requeue((other.id, first.id))
        assert (caught.value.existing_id, caught.value.unique_key) == (str(holder.id), "k")
        assert await stage.statuses(first, other) == [TaskStatus.CANCELLED] * 2

    @promise(_NEED)
    async def test_two_with_one_key_are_not_requeued_together(self, stage: Stage) -> None:
        """One key, one message: also within one requeue."""
        both = []
        for _ in range(2):
            both.append(await stage.put_one(unique_key="k"))
            await stage.backend.cancel((both[-1].id,))
        with pytest.raises(DuplicateTaskError):
            await stage.backend.requeue(ids(both))
        assert await stage.statuses(*both) == [TaskStatus.CANCELLED] * 2
