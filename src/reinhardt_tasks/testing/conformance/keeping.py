"""How long results, records and ids are kept."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from typing import Any

import msgspec

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL, TOMBSTONE_TTL, AnyMessage, Outcome
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, message, promise


async def _done(stage: Stage, **options: Any) -> AnyMessage:
    """A message that has succeeded."""
    put = await stage.put_one(queue=str(TaskId.new()), **options)
    hand = await stage.hand()
    await hand.settle(Outcome.success(await hand.claim_one([put.queue]), b"r"))
    return put


class Keeping:
    """Expiry."""

    @promise()
    async def test_a_result_is_kept_for_its_time(self, stage: Stage) -> None:
        """Until `result_ttl` after the end, through any number of sweeps."""
        put = await _done(stage, result_ttl=2 * stage.moment)
        await stage.advance(stage.moment)
        assert (await stage.sweep()).expired == 0
        assert (await stage.record(put)).result == b"r"

    @promise()
    async def test_a_result_is_dropped_after_its_time(self, stage: Stage) -> None:
        """The record stays and says so."""
        put = await _done(stage, result_ttl=stage.moment)
        await stage.advance(stage.moment)
        assert (await stage.sweep()).expired == 1
        record = await stage.record(put)
        assert (record.status, record.expired, record.result) == (TaskStatus.SUCCESS, True, None)
        assert (await stage.sweep()).expired == 0

    @promise()
    async def test_the_time_of_a_result_starts_with_its_end(self, stage: Stage) -> None:
        """However long the message waited and ran before."""
        put = await stage.put_one(result_ttl=2 * stage.moment)
        hand = await stage.hand()
        await stage.advance(2 * stage.moment)
        await hand.beat()
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        await stage.advance(stage.moment)
        await stage.sweep()
        assert (await stage.record(put)).result == b"r"

    @promise()
    async def test_an_id_is_known_for_a_day_after_the_end(self, stage: Stage) -> None:
        """So long a late repeat of its enqueue stores nothing; then the record is forgotten."""
        put = await _done(stage, result_ttl=stage.moment)
        await stage.advance(TOMBSTONE_TTL * 0.99)
        await stage.sweep()
        assert [answer.created for answer in await stage.put(put)] == [False]
        await stage.advance(TOMBSTONE_TTL * 0.02)
        assert (await stage.sweep()).deleted == 1
        assert await stage.backend.get((put.id,)) == [None]

    @promise()
    async def test_a_record_lives_as_long_as_its_result(self, stage: Stage) -> None:
        """A result kept longer than a day keeps its record."""
        put = await _done(stage, result_ttl=3 * TOMBSTONE_TTL)
        await stage.advance(2 * TOMBSTONE_TTL)
        await stage.sweep()
        assert (await stage.record(put)).result == b"r"
        await stage.advance(TOMBSTONE_TTL)
        for _ in range(2):
            await stage.sweep()
        assert await stage.backend.get((put.id,)) == [None]

    @promise()
    async def test_a_dead_letter_is_kept_for_a_week(self, stage: Stage) -> None:
        """So is what was cancelled: both are there to be looked at and requeued."""
        failed, cancelled = await stage.put_new(2, result_ttl=stage.moment)
        hand = await stage.hand()
        await hand.settle(Outcome.failure(await hand.claim_one(), ERROR))
        await stage.backend.cancel((cancelled.id,))
        await stage.advance(DEAD_LETTER_TTL * 0.99)
        await stage.sweep()
        assert await stage.statuses(failed, cancelled) == [TaskStatus.FAILURE, TaskStatus.CANCELLED]
        assert await stage.error(failed) == ERROR
        await stage.advance(DEAD_LETTER_TTL * 0.02)
        await stage.sweep()
        assert await stage.backend.get((failed.id, cancelled.id)) == [None, None]

    @promise()
    async def test_a_requeued_dead_letter_does_not_expire(self, stage: Stage) -> None:
        """Once back in line it is a message like any other, however old it is."""
        put = await stage.put_one()
        await stage.backend.cancel((put.id,))
        await stage.advance(DEAD_LETTER_TTL / 2)
        await stage.backend.requeue((put.id,))
        await stage.advance(DEAD_LETTER_TTL)
        await stage.sweep()
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_what_is_unfinished_is_never_forgotten(self, stage: Stage) -> None:
        """A message may wait for as long as it must."""
        put = await stage.put_one(result_ttl=0.0)
        await stage.advance(10 * DEAD_LETTER_TTL)
        await stage.sweep()
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_expiry_goes_in_batches(self, stage: Stage) -> None:
        """One sweep drops at most MAX_BATCH results; sweeping on drops them all."""
        messages = [message(result_ttl=stage.moment) for _ in range(MAX_BATCH + 1)]
        await stage.put(*messages[:-1])
        await stage.put(messages[-1])
        hand = await stage.hand()
        while claims := await hand.claim(100):
            await hand.settle(*(Outcome.success(claim, b"r") for claim in claims))
        await stage.advance(stage.moment)
        expired = [(await stage.sweep()).expired for _ in range(3)]
        assert max(expired) <= MAX_BATCH
        assert sum(expired) == MAX_BATCH + 1

    @promise(Feature.WORKFLOWS)
    async def test_results_are_kept_while_their_workflow_runs(self, stage: Stage) -> None:
        """A step's result is an input of later ones: it goes only after the workflow's last message has finished."""
        last = message()
        first = await stage.put_one(workflow=last.id, result_ttl=2 * stage.moment)
        await stage.put(msgspec.structs.replace(last, workflow=last.id, waits_on=(first.id,)))
        hand = await stage.hand()
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        await stage.advance(2 * stage.moment)
        assert (await stage.sweep()).expired == 0
        assert (await stage.record(first)).result == b"r"
        await hand.beat()
        await hand.settle(Outcome.success(await hand.claim_one(), b"end"))
        assert (await stage.sweep()).expired == 1
        assert [(await stage.record(item)).expired for item in (first, last)] == [True, False]

    @promise(Feature.UNIQUE_KEYS)
    async def test_a_record_lives_as_long_as_its_unique_window(self, stage: Stage) -> None:
        """While `unique_for` holds the key, the message that holds it can be read."""
        put = await _done(stage, unique_key="k", unique_for=3 * TOMBSTONE_TTL)
        await stage.advance(2 * TOMBSTONE_TTL)
        for _ in range(2):
            await stage.sweep()
        again = message(unique_key="k")
        assert [(answer.id, answer.created) for answer in await stage.put(again)] == [(put.id, False)]
        assert await stage.status(put) is TaskStatus.SUCCESS
