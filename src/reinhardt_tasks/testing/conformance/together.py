"""Several instances, loops and threads at once: nothing is given twice, nothing is left out."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Outcome, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import LONG, Feature, Hand, Stage, ids, message, promise, underway


class Together:
    """Races."""

    @promise()
    async def test_no_message_is_given_twice(self, stage: Stage) -> None:
        """Workers on several instances that claim at once share the messages out."""
        put = await stage.put_new(200)
        hands = [await stage.hand(f"w{n}", backend=await stage.another()) for n in range(5)]
        given = Counter(id for part in await asyncio.gather(*map(_take_all, hands)) for id in part)
        assert set(given) == set(ids(put))
        assert set(given.values()) == {1}

    @promise()
    async def test_work_and_arrival_do_not_disturb_each_other(self, stage: Stage) -> None:
        """While producers put, workers claim and settle: every message is done, each by one claim."""
        hands = [await stage.hand(f"w{n}", backend=await stage.another()) for n in range(3)]
        arriving = [asyncio.create_task(_produce(await stage.another(), 8)) for _ in range(3)]
        working = [asyncio.create_task(_work(hand)) for hand in hands]
        put = [id for part in await asyncio.gather(*arriving) for id in part]
        await stage.backend.put([message(queue="end", priority=0) for _ in hands])
        done = Counter(id for part in await asyncio.gather(*working) for id in part)
        assert {id: done[id] for id in put} == dict.fromkeys(put, 1)
        records = await stage.backend.get(put)
        assert {record and record.status for record in records} == {TaskStatus.SUCCESS}

    @promise()
    async def test_one_id_is_created_once(self, stage: Stage) -> None:
        """Of many enqueues of one message at once, one creates it."""
        put = message()
        instances = [await stage.another() for _ in range(4)]
        answers = await asyncio.gather(*(instance.enqueue(put) for instance in instances * 3))
        assert Counter(answer.created for answer in answers) == {True: 1, False: 11}

    @promise(Feature.UNIQUE_KEYS)
    async def test_one_key_is_taken_once(self, stage: Stage) -> None:
        """Of many messages with one key put at once, one is stored, and all are answered by it."""
        instances = [await stage.another() for _ in range(4)]
        answers = await asyncio.gather(*(instance.enqueue(message(unique_key="k")) for instance in instances * 3))
        assert sum(answer.created for answer in answers) == 1
        assert len({answer.id for answer in answers}) == 1

    @promise()
    async def test_one_outcome_is_settled_once(self, stage: Stage) -> None:
        """The same token offered on several instances at once: one settles, the others hear "already"."""
        await stage.put_one()
        outcome = Outcome.success(await (await stage.hand("w")).claim_one(), b"r")
        hands = [stage.stranger("w", backend=await stage.another()) for _ in range(4)]
        answers = await asyncio.gather(*(hand.settle(outcome) for hand in hands))
        assert Counter(settled for (settled,) in answers) == {Settled.SETTLED: 1, Settled.ALREADY: 3}

    @promise()
    async def test_sweeps_at_once_count_one_loss(self, stage: Stage) -> None:
        """However many workers sweep, a dead one is given up once."""
        put = await stage.put_new(5)
        await (await stage.hand("dead")).claim(5)
        instances = [await stage.another() for _ in range(4)]
        rescued = 0
        for wait in (stage.lease * 2 / 3, stage.lease / 2):
            await stage.advance(wait)
            rescued += sum(one.rescued for one in await asyncio.gather(*(each.sweep() for each in instances)))
        assert rescued == 5
        assert [(await stage.record(item)).losses for item in put] == [1] * 5

    @promise(Feature.WORKFLOWS)
    async def test_parents_that_end_at_once_release_their_child_once(self, stage: Stage) -> None:
        """The last of them does, whichever it is."""
        hands = [await stage.hand(f"w{n}", backend=await stage.another()) for n in range(4)]
        for _ in range(5):
            parents = await stage.put_new(4, queue="parents")
            child = await stage.put_one(waits_on=tuple(ids(parents)), queue="child")
            claims = [await hand.claim_one(["parents"]) for hand in hands]
            pairs = zip(hands, claims, strict=True)
            await asyncio.gather(*(hand.settle(Outcome.success(claim, b"r")) for hand, claim in pairs))
            given = await asyncio.gather(*(hand.claim(1, ["child"]) for hand in hands))
            assert [ids(claims) for claims in given if claims] == [[child.id]]

    @promise()
    async def test_instances_work_on_loops_of_their_own(self, stage: Stage) -> None:
        """A sibling may be used in another thread, under another event loop, at the same time."""
        put = await stage.put_new(60)
        await asyncio.gather(*(_elsewhere(stage, n, _take_and_finish) for n in range(3)))
        assert await stage.statuses(*put) == [TaskStatus.SUCCESS] * 60

    @promise()
    async def test_a_worker_in_another_thread_is_woken(self, stage: Stage) -> None:
        """The push crosses threads."""
        waiting = await underway(_elsewhere(stage, 0, _wait_and_finish))
        put = await stage.put_one()
        async with asyncio.timeout(LONG):
            await waiting
        assert await stage.status(put) is TaskStatus.SUCCESS


async def _take_all(hand: Hand) -> list[TaskId]:
    taken: list[TaskId] = []
    while claims := await hand.claim(3):
        taken += ids(claims)
    return taken


async def _produce(backend: TaskBackend, calls: int) -> list[TaskId]:
    put: list[TaskId] = []
    for _ in range(calls):
        batch = [message() for _ in range(5)]
        await backend.put(batch)
        put += ids(batch)
    return put


async def _work(hand: Hand) -> list[TaskId]:
    """Claim and finish from "default" until that is empty and a message of the queue "end" has come."""
    done: list[TaskId] = []
    ended = False
    while True:
        claims = await hand.claim(4, ["default"])
        if not claims and ended:
            return done
        if claims:
            settled = await hand.settle(*(Outcome.success(claim, b"r") for claim in claims))
            assert settled == [Settled.SETTLED] * len(claims)
            done += ids(claims)
        elif await hand.claim(1, ["end"]):
            ended = True
        else:
            await hand.wait(LONG, ["default", "end"])


async def _elsewhere(stage: Stage, number: int, act: Callable[[Hand], Awaitable[None]]) -> None:
    """Let a worker on an instance of its own act in another thread, on a loop of its own."""

    async def play() -> None:
        async with stage.backend.sibling() as backend:
            hand = stage.stranger(f"thread{number}", backend=backend)
            await hand.beat()
            await act(hand)

    await asyncio.to_thread(asyncio.run, play())


async def _take_and_finish(hand: Hand) -> None:
    while claims := await hand.claim(4):
        assert await hand.settle(*(Outcome.success(claim, b"r") for claim in claims)) == [0] * len(claims)


async def _wait_and_finish(hand: Hand) -> None:
    while not (claims := await hand.claim(1)):
        await hand.wait(LONG)
    await hand.settle(Outcome.success(claims[0], b"r"))
