"""How a claim ends, and what the record says then."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import msgspec
import pytest

from reinhardt_tasks.message import Claim, Outcome, OutcomeKind, Progress, Report, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, ids, promise


class Settling:
    """Outcomes."""

    @promise()
    async def test_a_success_keeps_the_result(self, stage: Stage) -> None:
        """The sealed result is stored byte for byte with the status, in one step."""
        put = await stage.put_one()
        hand = await stage.hand()
        result = bytes(range(256))
        assert await hand.settle(Outcome.success(await hand.claim_one(), result)) == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.result, record.error) == (TaskStatus.SUCCESS, result, None)
        assert (record.attempts, record.expired) == (0, False)
        assert record.started_at is not None
        assert record.finished_at is not None
        assert record.created_at <= record.started_at <= record.finished_at == record.updated_at

    @promise()
    async def test_a_failure_is_a_dead_letter_with_its_error(self, stage: Stage) -> None:
        """A message that failed for good is kept, with the error and one attempt more."""
        put = await stage.put_one()
        hand = await stage.hand()
        assert await hand.settle(Outcome.failure(await hand.claim_one(), ERROR)) == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.attempts, record.result) == (TaskStatus.FAILURE, 1, None)
        assert record.finished_at is not None
        assert await stage.error(put) == ERROR

    @promise()
    async def test_a_cancelled_run_keeps_its_error(self, stage: Stage) -> None:
        """A run that ended by cancellation is CANCELLED, and no attempt is counted."""
        put = await stage.put_one()
        hand = await stage.hand()
        assert await hand.settle(Outcome.cancelled(await hand.claim_one(), ERROR)) == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.attempts) == (TaskStatus.CANCELLED, 0)
        assert await stage.error(put) == ERROR

    @promise()
    async def test_a_retry_counts_an_attempt_and_keeps_the_error(self, stage: Stage) -> None:
        """A message that runs again is RETRY meanwhile; its next claim knows how often it raised."""
        put = await stage.put_one()
        hand = await stage.hand()
        assert await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR)) == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.attempts, record.finished_at) == (TaskStatus.RETRY, 1, None)
        assert await stage.error(put) == ERROR
        claim = await hand.claim_one()
        assert (claim.attempts, claim.losses) == (1, 0)

    @promise()
    async def test_a_success_after_a_retry_has_no_error(self, stage: Stage) -> None:
        """The error of an earlier run does not stay with a message that succeeded; its attempts do."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        await hand.settle(Outcome.success(await hand.claim_one(), b"r"))
        record = await stage.record(put)
        assert (record.status, record.attempts, record.error) == (TaskStatus.SUCCESS, 1, None)

    @promise(Feature.DELAYS)
    async def test_a_retry_waits_for_its_delay(self, stage: Stage) -> None:
        """It is given to nobody before `delay` is over, and then at once."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 2 * stage.moment, ERROR))
        record = await stage.record(put)
        assert record.run_at is not None
        assert record.run_at == pytest.approx(record.updated_at + 2 * stage.moment, abs=0.01)
        await stage.advance(stage.moment)
        assert await hand.claim(1) == []
        await stage.advance(stage.moment)
        assert ids(await hand.claim(1)) == [put.id]

    @promise()
    async def test_a_release_spends_nothing(self, stage: Stage) -> None:
        """A claim given back leaves the message PENDING, with no attempt and no loss counted."""
        put = await stage.put_one()
        hand = await stage.hand()
        assert await hand.settle(Outcome.release(await hand.claim_one())) == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)
        assert (record.worker, record.finished_at) == (None, None)
        claim = await hand.claim_one()
        assert (claim.attempts, claim.losses, claim.unknowns) == (0, 0, 0)

    @promise()
    async def test_a_release_of_an_unknown_task_is_counted_apart(self, stage: Stage) -> None:
        """`unknowns` says how often nobody knew the task; attempts and losses do not move."""
        await stage.put_one()
        hand = await stage.hand()
        for _ in range(2):
            await hand.settle(Outcome.release(await hand.claim_one(), unknown=True))
        claim = await hand.claim_one()
        assert (claim.attempts, claim.losses, claim.unknowns) == (0, 0, 2)

    @promise(Feature.DELAYS)
    async def test_a_release_may_wait(self, stage: Stage) -> None:
        """A release with a delay is PENDING and due later."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.release(await hand.claim_one(), 2 * stage.moment))
        assert await stage.status(put) is TaskStatus.PENDING
        await stage.advance(stage.moment)
        assert await hand.claim(1) == []
        await stage.advance(stage.moment)
        assert ids(await hand.claim(1)) == [put.id]

    @promise()
    async def test_each_outcome_of_a_batch_is_answered_in_order(self, stage: Stage) -> None:
        """Many outcomes settle in one exchange, each as it says."""
        put = await stage.put_new(5)
        hand = await stage.hand()
        one, two, three, four, five = await hand.claim(5)
        settled = await hand.settle(
            Outcome.failure(five, ERROR),
            Outcome.success(one, b"r"),
            Outcome.retry(three, stage.lease, ERROR),
            Outcome.release(two, stage.lease),
            Outcome.cancelled(four, ERROR),
        )
        assert settled == [Settled.SETTLED] * 5
        assert await stage.statuses(*put) == [
            TaskStatus.SUCCESS,
            TaskStatus.PENDING,
            TaskStatus.RETRY,
            TaskStatus.CANCELLED,
            TaskStatus.FAILURE,
        ]

    @promise()
    async def test_what_is_finished_is_not_given_out_again(self, stage: Stage) -> None:
        """Success, failure and cancellation are final for workers."""
        await stage.put_new(3)
        hand = await stage.hand()
        one, two, three = await hand.claim(3)
        await hand.settle(Outcome.success(one, b"r"), Outcome.failure(two, ERROR), Outcome.cancelled(three, ERROR))
        await stage.sweep()
        assert await hand.claim(10) == []

    @promise()
    async def test_a_large_result_comes_back_whole(self, stage: Stage) -> None:
        """A result of a megabyte is no different."""
        put = await stage.put_one()
        hand = await stage.hand()
        result = bytes(range(256)) * 4096
        await hand.settle(Outcome.success(await hand.claim_one(), result))
        assert (await stage.record(put)).result == result

    @promise()
    async def test_progress_is_kept_with_the_message(self, stage: Stage) -> None:
        """Reports sent with an exchange or a beat are stored, the latest wins."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        first, second = (Progress(done, 10.0).encode() for done in (1.0, 2.0))
        await hand.exchange(reports=[_report(claim, first)])
        assert (await stage.record(put)).progress == first
        await hand.beat(reports=[_report(claim, second)])
        assert (await stage.record(put)).progress == second
        assert await stage.status(put) is TaskStatus.RUNNING

    @promise()
    async def test_a_new_run_starts_without_progress(self, stage: Stage) -> None:
        """What an earlier run said is not taken for what this one did; after the end the last word stays."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        await hand.exchange(reports=[_report(claim, b"first")])
        await hand.settle(Outcome.retry(claim, 0.0, ERROR))
        claim = await hand.claim_one()
        assert (await stage.record(put)).progress is None
        await hand.exchange(reports=[_report(claim, b"second")])
        await hand.settle(Outcome.success(claim, b"r"))
        assert (await stage.record(put)).progress == b"second"

    @promise()
    async def test_a_last_report_does_not_undo_the_end(self, stage: Stage) -> None:
        """Progress and outcome of one run may be told by one call: the message has ended, and is claimed by nobody."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        told = await hand.exchange(Outcome.success(claim, b"r"), reports=[_report(claim, b"all of it")])
        assert told.settled == [Settled.SETTLED]
        record = await stage.record(put)
        assert (record.status, record.result, record.progress) == (TaskStatus.SUCCESS, b"r", b"all of it")
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.ALREADY]
        (counts,) = await stage.backend.counts()
        assert dict(counts.by_status) == {TaskStatus.SUCCESS: 1}

    @promise()
    async def test_an_outcome_the_store_refuses_becomes_a_failure(self, stage: Stage) -> None:
        """A value the store cannot hold fails its own message; the others of the batch are settled."""
        refused = stage.bench.unstorable
        if refused is None:
            pytest.skip("this store holds every payload")
        put = await stage.put_new(3)
        hand = await stage.hand()
        one, two, three = await hand.claim(3)
        outcomes = [Outcome.success(one, b"r"), Outcome.success(two, refused), Outcome.success(three, b"r")]
        assert await hand.settle(*outcomes) == [Settled.SETTLED] * 3
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.SUCCESS]
        assert (await stage.error(put[1])).message

    @promise()
    async def test_an_outcome_is_known_by_its_token_alone(self, stage: Stage) -> None:
        """A claim's locator only helps to find the message: an outcome without it settles all the same."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        assert await hand.settle(Outcome(claim.id, claim.number, OutcomeKind.SUCCESS, b"r")) == [Settled.SETTLED]
        assert await stage.status(put) is TaskStatus.SUCCESS


def _report(claim: Claim, progress: bytes) -> Report:
    return msgspec.structs.replace(Report(claim.id, claim.number, progress), locator=claim.locator)
