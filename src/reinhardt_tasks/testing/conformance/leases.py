"""Leases belong to workers, and a dead worker's messages come back."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.message import Outcome, Settled, Swept
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Hand, Stage, ids, message, promise


class Leases:
    """Beats, suspicion, rescue."""

    @promise()
    async def test_a_message_of_a_dead_worker_is_given_to_another(self, stage: Stage) -> None:
        """A message outlives the worker that died holding it, with one loss and no attempt more."""
        put = await stage.put_one()
        await (await stage.hand("dead")).claim_one()
        await stage.lose()
        record = await stage.record(put)
        assert (record.status, record.attempts, record.losses, record.worker) == (TaskStatus.PENDING, 0, 1, None)
        claim = await (await stage.hand("alive")).claim_one()
        assert (claim.id, claim.attempts, claim.losses) == (put.id, 0, 1)

    @promise()
    async def test_one_look_rescues_nothing(self, stage: Stage) -> None:
        """However old the last beat is, the first sweep that sees it only suspects the worker."""
        put = await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        await stage.advance(2 * stage.lease)
        swept = await stage.sweep()
        assert (swept.suspected, swept.rescued) == (1, 0)
        assert [worker.suspected for worker in await stage.backend.workers()] == [True]
        assert await stage.status(put) is TaskStatus.RUNNING
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.SETTLED]

    @promise()
    async def test_the_second_look_comes_a_beat_later(self, stage: Stage) -> None:
        """Sweeps that follow each other closely do not add up to two looks."""
        await stage.put_one()
        hand = await stage.hand()
        await hand.claim_one()
        await stage.advance(2 * stage.lease)
        await stage.sweep()
        await stage.advance(stage.moment / 2)
        assert (await stage.sweep()).rescued == 0
        await stage.advance(stage.moment)
        assert (await stage.sweep()).rescued == 1

    @promise()
    async def test_no_lease_is_cut_short(self, stage: Stage) -> None:
        """A worker suspected at two thirds of its lease keeps its claims until the whole lease has passed."""
        await stage.put_one()
        hand = await stage.hand()
        await hand.claim_one()
        await stage.advance(stage.lease / 2)
        assert (await stage.sweep()).suspected == 0
        await stage.advance(stage.lease / 6)
        assert (await stage.sweep()).suspected == 1
        await stage.advance(stage.lease / 5)
        assert (await stage.sweep()).rescued == 0
        await stage.advance(stage.lease / 4)
        assert (await stage.sweep()).rescued == 1

    @promise()
    async def test_a_beat_clears_the_suspicion(self, stage: Stage) -> None:
        """A suspected worker that beats keeps everything, and is judged anew from that beat."""
        await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        await stage.advance(2 * stage.lease)
        await stage.sweep()
        assert (await hand.beat()).registered
        assert [worker.suspected for worker in await stage.backend.workers()] == [False]
        await stage.advance(stage.lease / 2)
        assert await stage.sweep() == Swept()
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.SETTLED]

    @promise()
    async def test_one_beat_keeps_everything_a_worker_holds(self, stage: Stage) -> None:
        """A worker that beats in time loses nothing, however much it holds and however long it runs."""
        put = await stage.put_new(20)
        hand = await stage.hand()
        claims = await hand.claim(20)
        for _ in range(9):
            await stage.advance(stage.moment)
            await hand.beat()
            await stage.sweep()
        assert await stage.statuses(*put) == [TaskStatus.RUNNING] * 20
        assert await hand.settle(*(Outcome.success(claim, b"r") for claim in claims)) == [Settled.SETTLED] * 20

    @promise()
    async def test_leases_are_each_worker_s_own(self, stage: Stage) -> None:
        """A worker with a longer lease is not judged by another's."""
        put = await stage.put_one()
        patient = Hand(stage.backend, "patient", stage.lease * 10)
        await patient.beat()
        await patient.claim_one()
        await stage.hand("hasty")
        await stage.lose()
        assert [worker.beat.worker for worker in await stage.backend.workers()] == ["patient"]
        assert await stage.status(put) is TaskStatus.RUNNING

    @promise()
    async def test_everything_a_dead_worker_held_comes_back(self, stage: Stage) -> None:
        """Each claim is rescued, each with its loss; the sweep says how many."""
        put = await stage.put_new(7)
        hand = await stage.hand()
        await hand.claim(7)
        await stage.advance(stage.lease * 2 / 3)
        await stage.sweep()
        await stage.advance(stage.lease / 2)
        assert (await stage.sweep()).rescued == 7
        assert [(await stage.record(one)).losses for one in put] == [1] * 7

    @promise()
    async def test_what_was_settled_is_not_rescued(self, stage: Stage) -> None:
        """A worker that died after it settled has lost nothing of that."""
        put = await stage.put_new(2)
        hand = await stage.hand()
        one, _ = await hand.claim(2)
        await hand.settle(Outcome.success(one, b"r"))
        await stage.lose()
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS, TaskStatus.PENDING]
        assert [(await stage.record(item)).losses for item in put] == [0, 1]

    @promise()
    async def test_sweeping_again_counts_no_loss_twice(self, stage: Stage) -> None:
        """A sweep is idempotent: the second one finds nothing to do."""
        put = await stage.put_one()
        await (await stage.hand()).claim_one()
        await stage.lose()
        assert await stage.sweep() == Swept()
        assert (await stage.record(put)).losses == 1

    @promise()
    async def test_a_rescued_message_keeps_its_place(self, stage: Stage) -> None:
        """It comes before what was put while it ran."""
        rescued = await stage.put_one()
        await (await stage.hand("dead")).claim_one()
        await stage.put_new(2)
        await stage.lose()
        assert ids(await (await stage.hand("alive")).claim(1)) == [rescued.id]

    @promise()
    async def test_a_worker_given_up_is_told_with_its_next_beat(self, stage: Stage) -> None:
        """That beat registers it anew, and the one after is an ordinary one."""
        hand = await stage.hand()
        await stage.lose()
        assert await stage.backend.workers() == []
        assert (await hand.exchange(want=1)).orders.registered is False
        assert (await hand.beat()).registered is False
        assert (await hand.beat()).registered is True
        await stage.put_one()
        assert len(await hand.claim(1)) == 1

    @promise()
    async def test_a_first_beat_is_an_ordinary_one(self, stage: Stage) -> None:
        """A worker that has just started is not told that it had been given up."""
        assert (await stage.stranger("new").beat()).registered is True

    @promise()
    async def test_an_exchange_is_no_beat(self, stage: Stage) -> None:
        """Only beats renew a lease: work that goes on does not stand for the thread that beats."""
        await stage.put_new(3)
        hand = await stage.hand()
        await hand.claim(1)
        for wait in (stage.lease * 2 / 3, stage.lease / 2):
            await hand.claim(1)
            await stage.advance(wait)
            await stage.sweep()
        assert await stage.backend.workers() == []

    @promise()
    async def test_a_worker_that_leaves_is_forgotten_at_once(self, stage: Stage) -> None:
        """What it still holds goes back to its place, with no loss and no attempt counted."""
        put = await stage.put_new(2)
        hand = await stage.hand()
        claim = await hand.claim_one()
        await hand.beat(leaving=True)
        assert await stage.backend.workers() == []
        record = await stage.record(put[0])
        assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)
        assert await hand.settle(Outcome.success(claim, b"r")) == [Settled.LOST]
        assert ids(await (await stage.hand("next")).claim(2)) == ids(put)

    @promise()
    async def test_a_registered_worker_is_listed(self, stage: Stage) -> None:
        """The list holds each worker's last beat and how much it holds, ordered by id."""
        await stage.put_new(2)
        await stage.hand("b")
        await (await stage.hand("a")).claim(2)
        first, second = await stage.backend.workers()
        assert (first.beat.worker, first.claims, first.suspected) == ("a", 2, False)
        assert (second.beat.worker, second.claims) == ("b", 0)
        assert (first.beat.number, first.beat.lease, first.beat.host) == (1, stage.lease, "conformance")
        record = (await stage.backend.find())[0] if Feature.LISTING not in stage.bench.lacks else None
        assert record is None or abs(first.beat_at - record.updated_at) < stage.lease

    @promise()
    async def test_a_retried_message_of_a_dead_worker_keeps_its_attempts(self, stage: Stage) -> None:
        """Attempts and losses are two counters."""
        put = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry(await hand.claim_one(), 0.0, ERROR))
        await hand.claim_one()
        await stage.lose()
        record = await stage.record(put)
        assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 1, 1)

    @promise(Feature.DELAYS)
    async def test_a_sweep_promotes_what_is_due(self, stage: Stage) -> None:
        """Messages fall due though nobody exchanges; the sweep says how many."""
        await stage.put(*(message(delay=stage.moment) for _ in range(3)), message())
        await stage.advance(stage.moment)
        assert (await stage.sweep()).promoted == 3
        assert (await stage.sweep()).promoted == 0
