"""A message that kills its workers is contained: run alone, and not for ever."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.contract import SUSPECT_PATIENCE
from reinhardt_tasks.message import AnyMessage, Claim, Outcome, Reason
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Hand, Stage, ids, promise


async def _suspect(stage: Stage, *spare: Hand, **options: object) -> AnyMessage:
    """A message that has lost one worker and stands in line again; the workers in `spare` stay alive."""
    put = await stage.put_one(priority=9, **options)
    await (await stage.hand("lost")).claim_one()
    await stage.lose(*spare)
    return put


async def _wait_for_patience(stage: Stage, *hands: Hand) -> None:
    """Let SUSPECT_PATIENCE pass while these workers stay alive."""
    passed = 0.0
    while passed < SUSPECT_PATIENCE:
        await stage.advance(min(stage.moment, SUSPECT_PATIENCE))
        passed += min(stage.moment, SUSPECT_PATIENCE)
        for hand in hands:
            await hand.beat()


class Poison:
    """Losses."""

    @promise()
    async def test_a_message_that_lost_too_many_workers_is_a_dead_letter(self, stage: Stage) -> None:
        """At `max_losses` it fails with reason `poison`, and its attempts stay what they were."""
        put = await stage.put_one(max_losses=3)
        for loss in range(3):
            claim = await (await stage.hand(f"w{loss}")).claim_one()
            assert claim.losses == loss
            await stage.lose()
        record = await stage.record(put)
        assert (record.status, record.losses, record.attempts) == (TaskStatus.FAILURE, 3, 0)
        assert record.finished_at is not None
        assert (await stage.error(put)).reason is Reason.POISON
        assert await (await stage.hand("next")).claim(1) == []

    @promise()
    async def test_the_sweep_says_what_it_gave_up(self, stage: Stage) -> None:
        """With `max_losses=1` the first loss is the last; it is counted as poisoned, not as rescued."""
        await stage.put_new(2, max_losses=1)
        await (await stage.hand()).claim(2)
        await stage.advance(stage.lease * 2 / 3)
        await stage.sweep()
        await stage.advance(stage.lease / 2)
        swept = await stage.sweep()
        assert (swept.poisoned, swept.rescued) == (2, 0)

    @promise()
    async def test_a_suspect_is_given_alone(self, stage: Stage) -> None:
        """A worker that holds nothing is given the suspect and nothing beside it."""
        suspect = await _suspect(stage)
        await stage.put_new(5)
        hand = await stage.hand("alive")
        assert ids(await hand.claim(10)) == [suspect.id]
        assert await hand.claim(10) == []

    @promise()
    async def test_others_are_given_again_when_the_suspect_has_ended(self, stage: Stage) -> None:
        """The worker that ran it alone goes on as usual in the same exchange."""
        await _suspect(stage)
        others = await stage.put_new(3)
        hand = await stage.hand("alive")
        outcome = Outcome.success(await hand.claim_one(), b"r")
        assert ids((await hand.exchange(outcome, want=5)).claims) == ids(others)

    @promise()
    async def test_a_suspect_is_not_given_beside_others(self, stage: Stage) -> None:
        """A worker that holds something is not given the suspect, though it comes first and nothing else is there."""
        busy = await stage.hand("busy")
        await stage.put_one()
        await busy.claim_one()
        suspect = await _suspect(stage, busy)
        other = await stage.put_one(priority=0)
        assert ids(await busy.claim(5)) == [other.id]
        assert await busy.claim(5) == []
        assert await stage.status(suspect) is TaskStatus.PENDING

    @promise()
    async def test_suspects_are_given_one_at_a_time(self, stage: Stage) -> None:
        """Several messages that lost the same worker do not share the next one."""
        put = await stage.put_new(3)
        await (await stage.hand("lost")).claim(3)
        await stage.lose()
        given = [await (await stage.hand(name)).claim(10) for name in ("a", "b", "c")]
        assert [len(claims) for claims in given] == [1, 1, 1]
        assert {claims[0].id for claims in given} == set(ids(put))

    @promise()
    async def test_a_retried_suspect_stays_one(self, stage: Stage) -> None:
        """A run that ended in an exception does not clear it: it is given alone the next time too."""
        suspect = await _suspect(stage)
        hand = await stage.hand("alive")
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        await stage.put_new(3, priority=0)
        assert ids(await hand.claim(10)) == [suspect.id]

    @promise()
    async def test_a_requeued_message_is_no_suspect(self, stage: Stage) -> None:
        """An operator who requeues a dead letter clears its losses."""
        put = await stage.put_one(max_losses=1)
        await (await stage.hand("lost")).claim_one()
        await stage.lose()
        await stage.backend.requeue((put.id,))
        other = await stage.put_one()
        assert ids(await (await stage.hand("alive")).claim(10)) == [put.id, other.id]

    @promise()
    async def test_one_worker_is_emptied_for_a_suspect_that_waits(self, stage: Stage) -> None:
        """When all are busy, one of them is given nothing more, and then the suspect; the others go on."""
        hands = [await stage.hand("a"), await stage.hand("b")]
        held = await _occupy(stage, hands)
        suspect = await _suspect(stage, *hands)
        await stage.put_new(20, priority=0)
        await _wait_for_patience(stage, *hands)
        given = [await hand.claim(1) for hand in hands]
        assert sorted(len(claims) for claims in given) == [0, 1]
        emptied = given.index([])
        answer = await hands[emptied].exchange(Outcome.success(held[emptied], b"r"), want=10)
        assert ids(answer.claims) == [suspect.id]
        assert len(await hands[1 - emptied].claim(3)) == 3

    @promise()
    async def test_an_emptied_worker_is_given_nothing_until_it_holds_nothing(self, stage: Stage) -> None:
        """Settling some of what it holds is not enough."""
        hand = await stage.hand("only")
        await stage.put_new(2)
        one, two = await hand.claim(2)
        suspect = await _suspect(stage, hand)
        await stage.put_new(3, priority=0)
        await _wait_for_patience(stage, hand)
        assert (await hand.exchange(Outcome.success(one, b"r"), want=10)).claims == []
        answer = await hand.exchange(Outcome.success(two, b"r"), want=10)
        assert ids(answer.claims) == [suspect.id]

    @promise()
    async def test_another_takes_over_when_the_emptied_worker_dies(self, stage: Stage) -> None:
        """A suspect does not wait for a worker that is gone."""
        dying, hand = await stage.hand("dying"), await stage.hand("living")
        held = await _occupy(stage, [dying, hand])
        suspect = await _suspect(stage, dying, hand)
        await _wait_for_patience(stage, dying, hand)
        assert await dying.claim(1) == []
        await stage.lose(hand)
        await stage.backend.cancel((held[0].id,))
        await _wait_for_patience(stage, hand)
        await stage.put_new(2, priority=0)
        assert await hand.claim(1) == []
        answer = await hand.exchange(Outcome.success(held[1], b"r"), want=10)
        assert ids(answer.claims) == [suspect.id]

    @promise(Feature.WORKFLOWS)
    async def test_poison_cancels_what_waits_for_it(self, stage: Stage) -> None:
        """A dead letter made by the sweep is a failure like any other."""
        parent = await stage.put_one(max_losses=1)
        child = await stage.put_one(waits_on=(parent.id,))
        await (await stage.hand()).claim_one()
        await stage.lose()
        assert await stage.status(child) is TaskStatus.CANCELLED
        assert (await stage.error(child)).reason is Reason.PARENT_FAILED


async def _occupy(stage: Stage, hands: list[Hand]) -> list[Claim]:
    """Give each worker one message to hold."""
    await stage.put_new(len(hands))
    return [await hand.claim_one() for hand in hands]
