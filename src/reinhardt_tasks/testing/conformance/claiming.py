"""Who is given what, and in which order."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.message import Outcome, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Feature, Stage, ids, message, promise


class Claiming:
    """Giving messages to workers."""

    @promise()
    async def test_a_claim_carries_what_the_worker_needs(self, stage: Stage) -> None:
        """The first claim of a message has its body, a token, and counters at zero."""
        put = await stage.put_one()
        claim = await (await stage.hand()).claim_one()
        assert (claim.id, claim.body, claim.number) == (put.id, put.body, 1)
        assert (claim.attempts, claim.losses, claim.unknowns) == (0, 0, 0)

    @promise()
    async def test_a_claimed_message_is_running(self, stage: Stage) -> None:
        """Its record names the worker and the start."""
        put = await stage.put_one()
        await (await stage.hand("w1")).claim_one()
        record = await stage.record(put)
        assert (record.status, record.worker) == (TaskStatus.RUNNING, "w1")
        assert record.started_at is not None
        assert record.started_at >= record.created_at

    @promise()
    async def test_a_message_is_given_to_one_worker(self, stage: Stage) -> None:
        """What one worker holds, no other is given, nor itself again."""
        await stage.put_one()
        first, second = await stage.hand("w1"), await stage.hand("w2", backend=await stage.another())
        await first.claim_one()
        assert await second.claim(10) == []
        assert await first.claim(10) == []

    @promise()
    async def test_higher_priorities_come_first(self, stage: Stage) -> None:
        """9 before 8 before … before 0, whatever the order of the puts."""
        order = [3, 9, 0, 5, 7, 1, 8, 2, 6, 4]
        put = {priority: await stage.put_one(priority=priority) for priority in order}
        claims = await (await stage.hand()).claim(10)
        assert ids(claims) == [put[priority].id for priority in range(9, -1, -1)]

    @promise()
    async def test_first_in_is_first_out_within_a_priority(self, stage: Stage) -> None:
        """Messages of one priority are given in the order they were put, over several calls."""
        put = [await stage.put_one() for _ in range(6)]
        hand = await stage.hand()
        claims = [*await hand.claim(2), *await hand.claim(1), *await hand.claim(9)]
        assert ids(claims) == ids(put)

    @promise()
    async def test_priority_counts_before_the_order_of_queues(self, stage: Stage) -> None:
        """A more urgent message of the last queue comes before a less urgent one of the first."""
        low = await stage.put_one(queue="a", priority=4)
        high = await stage.put_one(queue="b", priority=6)
        claims = await (await stage.hand()).claim(2, ["a", "b"])
        assert ids(claims) == [high.id, low.id]

    @promise()
    async def test_the_order_of_queues_counts_within_a_priority(self, stage: Stage) -> None:
        """Among equal priorities the queue listed first comes first, though it was put later."""
        later = await stage.put_new(2, queue="b")
        sooner = await stage.put_new(2, queue="a")
        claims = await (await stage.hand()).claim(4, ["a", "b"])
        assert ids(claims) == ids([*sooner, *later])

    @promise()
    async def test_without_a_list_every_queue_is_served_in_order_of_arrival(self, stage: Stage) -> None:
        """`queues=None` takes from all queues, first in first out across them."""
        put = [await stage.put_one(queue=queue) for queue in "cabacb"]
        claims = await (await stage.hand()).claim(10, None)
        assert ids(claims) == ids(put)

    @promise()
    async def test_an_empty_list_of_queues_serves_none(self, stage: Stage) -> None:
        """A worker that lists no queue is given nothing."""
        await stage.put_one()
        assert await (await stage.hand()).claim(1, []) == []

    @promise()
    async def test_queues_not_listed_are_left_alone(self, stage: Stage) -> None:
        """Only the queues in the list are served."""
        await stage.put_one(queue="other", priority=9)
        mine = await stage.put_one(queue="mine", priority=0)
        assert ids(await (await stage.hand()).claim(5, ["mine", "missing"])) == [mine.id]

    @promise()
    async def test_no_more_is_given_than_wanted(self, stage: Stage) -> None:
        """`want` is a limit; 0 takes nothing."""
        await stage.put_new(5)
        hand = await stage.hand()
        assert await hand.claim(0) == []
        assert len(await hand.claim(2)) == 2
        assert len(await hand.claim(9)) == 3

    @promise()
    async def test_every_claim_has_a_higher_number(self, stage: Stage) -> None:
        """The second half of the token rises each time a message is given out."""
        await stage.put_one()
        hand = await stage.hand()
        numbers = []
        for _ in range(3):
            claim = await hand.claim_one()
            numbers.append(claim.number)
            await hand.settle(Outcome.release(claim))
        assert numbers == sorted(set(numbers))

    @promise()
    async def test_a_worker_that_is_not_registered_is_given_nothing_and_told_so(self, stage: Stage) -> None:
        """Without a beat there is no lease, and without a lease no claim."""
        put = await stage.put_one()
        stranger = stage.stranger("nobody")
        answer = await stranger.exchange(want=5)
        assert (answer.claims, answer.orders.registered) == ([], False)
        assert await stage.status(put) is TaskStatus.PENDING
        await stranger.beat()
        answer = await stranger.exchange(want=5)
        assert (ids(answer.claims), answer.orders.registered) == ([put.id], True)

    @promise()
    async def test_a_released_message_keeps_its_place(self, stage: Stage) -> None:
        """What is given back without delay comes before what was put after it."""
        put = await stage.put_new(3)
        hand = await stage.hand()
        claims = await hand.claim(2)
        await hand.settle(*(Outcome.release(claim) for claim in reversed(claims)))
        assert ids(await hand.claim(3)) == ids(put)

    @promise()
    async def test_a_retried_message_stands_behind_those_that_waited(self, stage: Stage) -> None:
        """A retry gets its place in line when it falls due again."""
        first = await stage.put_one()
        second = await stage.put_one()
        hand = await stage.hand()
        await hand.settle(Outcome.retry((await hand.claim(1))[0], 0.0, ERROR))
        assert ids(await hand.claim(2)) == [second.id, first.id]

    @promise()
    async def test_one_exchange_settles_and_claims(self, stage: Stage) -> None:
        """What the settled outcomes free is claimed in the same step."""
        await stage.put_one()
        hand = await stage.hand()
        claim = await hand.claim_one()
        answer = await hand.exchange(Outcome.release(claim), want=1)
        assert answer.settled == [Settled.SETTLED]
        assert ids(answer.claims) == [claim.id]
        assert answer.claims[0].number > claim.number

    @promise()
    async def test_a_lost_answer_orphans_nothing(self, stage: Stage) -> None:
        """After an unknown outcome the repeated exchange brings every claim the worker does not know it holds."""
        put = await stage.put_new(5)
        hand = await stage.hand()
        (known,) = await hand.claim(1)
        lost = await hand.exchange(want=2)  # its answer, we say, never arrived
        again = await hand.exchange(want=2, held=[known.id])
        assert sorted(ids(again.claims)) == sorted(ids(put[1:5]))
        numbers = {claim.id: claim.number for claim in again.claims}
        assert all(numbers[claim.id] == claim.number for claim in lost.claims)
        settled = await hand.settle(*(Outcome.success(claim, b"r") for claim in [known, *again.claims]))
        assert settled == [Settled.SETTLED] * 5

    @promise()
    async def test_a_repeated_exchange_settles_once(self, stage: Stage) -> None:
        """The outcomes of an exchange whose answer was lost are answered "already" when they come again."""
        await stage.put_one()
        hand = await stage.hand()
        outcome = Outcome.success(await hand.claim_one(), b"r")
        await hand.exchange(outcome, want=1)
        again = await hand.exchange(outcome, want=1, held=[])
        assert (again.settled, again.claims) == ([Settled.ALREADY], [])

    @promise()
    async def test_nothing_of_another_worker_comes_with_a_repeat(self, stage: Stage) -> None:
        """`held` brings back what is under this worker's own name, and nothing else."""
        await stage.put_new(2)
        first, second = await stage.hand("w1"), await stage.hand("w2")
        await first.claim_one()
        mine = await second.claim_one()
        assert ids((await second.exchange(want=5, held=[])).claims) == [mine.id]

    @promise(Feature.DELAYS)
    async def test_an_exchange_gives_what_has_just_fallen_due(self, stage: Stage) -> None:
        """Promotion is part of the step: no sweep is needed."""
        put = message(delay=stage.moment)
        await stage.put(put)
        hand = await stage.hand()
        assert await hand.claim(1) == []
        await stage.advance(stage.moment)
        assert ids(await hand.claim(1)) == [put.id]
