"""The fence: only the token that holds a message may end it, and a repeat is told from a loss."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Outcome, OutcomeKind, Report, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Stage, promise


def _endings(claim: Claim) -> list[Outcome]:
    """One outcome of each kind."""
    return [
        Outcome.success(claim, b"r"),
        Outcome.failure(claim, ERROR),
        Outcome.retry(claim, 0.0, ERROR),
        Outcome.release(claim),
        Outcome.cancelled(claim, ERROR),
    ]


class Fencing:
    """Tokens."""

    @promise()
    async def test_a_repeated_settle_is_answered_already(self, stage: Stage) -> None:
        """Whatever the outcome was, the token that settled it is not told that it lost it."""
        await stage.put_new(5)
        hand = await stage.hand()
        for claim, kind in zip(await hand.claim(5), OutcomeKind, strict=True):
            outcome = _endings(claim)[kind]
            assert await hand.settle(outcome) == [Settled.SETTLED], kind.name
            assert await hand.settle(outcome) == [Settled.ALREADY], kind.name

    @promise()
    async def test_a_repeat_changes_nothing(self, stage: Stage) -> None:
        """The first outcome of a token stands, though the repeat says something else."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        await hand.settle(Outcome.success(claim, b"first"))
        before = await stage.record(put)
        for outcome in _endings(claim):
            assert await hand.settle(outcome) == [Settled.ALREADY]
        assert await stage.record(put) == before

    @promise()
    async def test_a_repeat_is_known_while_another_worker_runs_the_message(self, stage: Stage) -> None:
        """A retry or release that was settled stays "already" when the message has been given out again."""
        hand, other = await stage.hand("w1"), await stage.hand("w2")
        for kind in (OutcomeKind.RETRY, OutcomeKind.RELEASE):
            put = await stage.put_one()
            outcome = _endings(await hand.claim_one())[kind]
            await hand.settle(outcome)
            claim = await other.claim_one()
            assert claim.id == put.id
            assert await hand.settle(outcome) == [Settled.ALREADY]
            assert await other.settle(Outcome.success(claim, b"r")) == [Settled.SETTLED]

    @promise()
    async def test_an_outcome_repeated_within_the_call_settles_once(self, stage: Stage) -> None:
        """The same outcome twice in one exchange: settled, then already."""
        await stage.put_one()
        hand = await stage.hand()
        outcome = Outcome.retry(await hand.claim_one(), stage.lease, ERROR)
        assert await hand.settle(outcome, outcome) == [Settled.SETTLED, Settled.ALREADY]

    @promise()
    async def test_another_worker_cannot_settle(self, stage: Stage) -> None:
        """The right number under another worker's name is LOST and changes nothing."""
        put = await stage.put_one()
        hand, thief = await stage.hand("w1"), await stage.hand("w2")
        claim = await hand.claim_one()
        for outcome in _endings(claim):
            assert await thief.settle(outcome) == [Settled.LOST]
        assert await stage.status(put) is TaskStatus.RUNNING
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.SETTLED]

    @promise()
    async def test_an_old_number_cannot_settle(self, stage: Stage) -> None:
        """A worker that is given a message again must use the new token."""
        put = await stage.put_one()
        hand = await stage.hand()
        old = await hand.claim_one()
        await hand.settle(Outcome.release(old))
        new = await hand.claim_one()
        assert await hand.settle(Outcome.success(old, b"old")) != [Settled.SETTLED]
        assert await stage.status(put) is TaskStatus.RUNNING
        assert await hand.settle(Outcome.success(new, b"new")) == [Settled.SETTLED]
        assert (await stage.record(put)).result == b"new"

    @promise()
    async def test_a_number_never_given_cannot_settle(self, stage: Stage) -> None:
        """A made-up token is LOST."""
        await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        assert await hand.settle(Outcome(claim.id, claim.number + 1, OutcomeKind.SUCCESS, b"r")) == [Settled.LOST]

    @promise()
    async def test_an_unknown_message_cannot_be_settled(self, stage: Stage) -> None:
        """An id nobody stored is LOST, and stays unknown."""
        hand = await stage.hand()
        stray = TaskId.new()
        assert await hand.settle(Outcome(stray, 1, OutcomeKind.SUCCESS, b"r")) == [Settled.LOST]
        assert await stage.backend.get((stray,)) == [None]

    @promise()
    async def test_a_pending_message_cannot_be_settled(self, stage: Stage) -> None:
        """What was never claimed has no token."""
        put = await stage.put_one()
        hand = await stage.hand()
        for number in (0, 1):
            assert await hand.settle(Outcome(put.id, number, OutcomeKind.SUCCESS, b"r")) == [Settled.LOST]
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_the_outcome_of_a_worker_given_up_is_dropped(self, stage: Stage) -> None:
        """The second run wins: the first worker's late result is LOST, whoever has the message now."""
        put = await stage.put_one()
        dead = await stage.hand("dead")
        stale = await dead.claim_one()
        await stage.lose()
        assert await dead.settle(Outcome.success(stale, b"stale")) == [Settled.LOST]
        hand = await stage.hand("alive")
        claim = await hand.claim_one()
        assert await dead.settle(Outcome.failure(stale, ERROR)) == [Settled.LOST]
        assert await hand.settle(Outcome.success(claim, b"fresh")) == [Settled.SETTLED]
        assert await dead.settle(Outcome.success(stale, b"stale")) == [Settled.LOST]
        assert (await stage.record(put)).result == b"fresh"

    @promise()
    async def test_registering_again_does_not_renew_old_claims(self, stage: Stage) -> None:
        """A worker that was given up and beats again holds nothing of what it held."""
        await stage.put_one()
        hand = await stage.hand()
        stale = await hand.claim_one()
        await stage.lose()
        assert not (await hand.beat()).registered
        assert await hand.settle(Outcome.success(stale, b"r")) == [Settled.LOST]

    @promise()
    async def test_stale_progress_is_not_stored(self, stage: Stage) -> None:
        """A report under an old or foreign token changes nothing."""
        put = await stage.put_one()
        hand, other = await stage.hand("w1"), await stage.hand("w2")
        old = await hand.claim_one()
        await hand.settle(Outcome.release(old))
        claim = await hand.claim_one()
        stale = Report(old.id, old.number, b"stale", old.locator)
        foreign = Report(claim.id, claim.number, b"foreign", claim.locator)
        await hand.exchange(reports=[stale])
        await hand.beat(reports=[stale])
        await other.exchange(reports=[foreign])
        await other.beat(reports=[foreign])
        assert (await stage.record(put)).progress is None

    @promise()
    async def test_a_lost_outcome_does_not_hold_up_the_others(self, stage: Stage) -> None:
        """Each outcome of a batch has its own answer, in order."""
        put = await stage.put_new(2)
        hand = await stage.hand()
        one, two = await hand.claim(2)
        stray = Outcome(TaskId.new(), 1, OutcomeKind.SUCCESS, b"r")
        settled = await hand.settle(Outcome.success(one, b"r"), stray, Outcome.success(two, b"r"))
        assert settled == [Settled.SETTLED, Settled.LOST, Settled.SETTLED]
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS] * 2

    @promise()
    async def test_a_worker_that_is_not_registered_may_still_offer_outcomes(self, stage: Stage) -> None:
        """The fence decides, not the registration: what it had settled is "already", what it never held is LOST."""
        await stage.put_new(2)
        hand = await stage.hand()
        one, two = await hand.claim(2)
        await hand.settle(Outcome.success(one, b"r"))
        await stage.lose()
        answer = await hand.exchange(Outcome.success(one, b"r"), Outcome.success(two, b"r"))
        assert answer.settled == [Settled.ALREADY, Settled.LOST]
        assert not answer.orders.registered
