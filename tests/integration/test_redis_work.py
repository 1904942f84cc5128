"""Messages and workers on Redis: who is woken, what is wide goes in steps, and what comes late or too early."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources

import pytest

from reinhardt_tasks.backends.redis import RedisTaskBackend
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import BackendError, BackendFullError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DAY, AnyMessage, Claim, ErrorRecord, Outcome, Settled
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import Hand, ids, message, underway
from tests.eventually import eventually_async
from tests.servers.link import patiently
from tests.servers.redis import RedisServer, fresh_prefix

LEASE = 60.0
LONG = 30.0
SOON = 0.25
"""Seconds in which whoever is not woken stays asleep."""
WIDE = 1_300
"""Messages that need several steps."""
VERY_WIDE = 2_100
"""More parents than one step looks at."""
ERROR = ErrorRecord("ValueError", "it went wrong")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server for all tests that leave its settings alone."""
    with RedisServer() as it:
        yield it


@pytest.fixture
def prefix() -> str:
    """The keys of this test."""
    return fresh_prefix()


@asynccontextmanager
async def opened(server: RedisServer, prefix: str) -> AsyncIterator[RedisTaskBackend]:
    """An open backend."""
    async with RedisTaskBackend(server.url(), prefix=prefix, timeout=LONG) as backend:
        yield backend


async def hand_of(backend: RedisTaskBackend, name: str = "w", *, lease: float = LEASE) -> Hand:
    """A registered worker."""
    hand = Hand(backend, name, lease)
    await hand.beat()
    return hand


async def put_all(backend: RedisTaskBackend, messages: Sequence[AnyMessage]) -> None:
    """Store messages, in batches."""
    for first in range(0, len(messages), MAX_BATCH):
        await backend.put(messages[first : first + MAX_BATCH])


async def run_all(hand: Hand, fail: Sequence[TaskId] = ()) -> list[TaskId]:
    """Claim and end whatever there is, until nothing is; the ids in the order of their claims."""
    ran: list[TaskId] = []
    ends: list[Outcome] = []
    while True:
        answer = await hand.exchange(*ends, want=100)
        assert answer.settled == [Settled.SETTLED] * len(ends)
        if not answer.claims and not ends:
            return ran
        ran += ids(answer.claims)
        ends = [_end(claim, fail) for claim in answer.claims]


def _end(claim: Claim, fail: Sequence[TaskId]) -> Outcome:
    return Outcome.failure(claim, ERROR) if claim.id in fail else Outcome.success(claim, b"r")


async def statuses(backend: RedisTaskBackend, items: Sequence[AnyMessage]) -> set[TaskStatus | None]:
    """How messages stand; None among them where one is unknown."""
    return {record and record.status for record in await backend.get(ids(items))}


# Wake-ups -------------------------------------------------------------------------------------------------------------


class Bedroom:
    """Idle workers of one backend, which wait."""

    def __init__(self, server: RedisServer, prefix: str, backend: RedisTaskBackend) -> None:
        self._server = server
        self._key = f"{{{prefix}}}asleep"
        self._backend = backend
        self.hands: dict[str, Hand] = {}

    async def lay(self, name: str, queues: Sequence[str] | None = None) -> asyncio.Task[bool]:
        """The wait of an idle worker, once the server counts it among the sleepers."""
        hand = self.hands[name] = await hand_of(self._backend, name)
        assert await hand.claim(1, queues) == []
        wait = asyncio.create_task(hand.wait(LONG, queues), name=name)
        await eventually_async(lambda: self._server.call("HEXISTS", self._key, name))
        return wait


async def woken(waits: set[asyncio.Task[bool]], count: int) -> set[str]:
    """The names of those whose waits end, which are `count` and no more; they are taken out of `waits`."""
    await eventually_async(lambda: sum(wait.done() for wait in waits) >= count)
    if sleeping := [wait for wait in waits if not wait.done()]:
        await asyncio.wait(sleeping, timeout=SOON)
    done = {wait for wait in waits if wait.done()}
    assert len(done) == count
    assert all(wait.result() for wait in done)
    waits -= done
    return {wait.get_name() for wait in done}


async def gone(waits: set[asyncio.Task[bool]]) -> None:
    """Those who still wait stop."""
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)


async def test_as_many_workers_are_woken_as_there_are_messages(server, prefix):
    """One message wakes one of those who serve its queue, three wake three; the others sleep on."""
    async with opened(server, prefix) as backend:
        room = Bedroom(server, prefix, backend)
        waits = {await room.lay(name, queues) for name, queues in (("a", None), ("b", ["q"]), ("c", ["q", "r"]))}
        await backend.put([message(queue="r")])
        assert await woken(waits, 1) <= {"a", "c"}
        waits |= {await room.lay("d", ["q"]), await room.lay("e", ["q"])}
        await backend.put([message(queue="q") for _ in range(3)])
        await woken(waits, 3)
        await gone(waits)


async def test_a_message_wakes_somebody_who_still_listens(server, prefix):
    """Not only one who slept in a process that is gone."""
    async with opened(server, prefix) as backend:
        async with opened(server, prefix) as passing:
            await gone({await Bedroom(server, prefix, passing).lay("gone")})
        waits = {await Bedroom(server, prefix, backend).lay("here")}
        await backend.put([message()])
        await woken(waits, 1)


async def test_a_worker_that_cannot_take_what_woke_it_wakes_another(server, prefix):
    """Each passes on what it has not heard of, so that those who can take nothing do not keep each other awake."""
    async with opened(server, prefix) as backend:
        room = Bedroom(server, prefix, backend)
        waits = {await room.lay(name) for name in "abc"}
        await backend.put([message()])
        for _ in range(len(waits) + 1):
            (name,) = await woken(waits, 1)
            await room.hands[name].exchange(want=0, queues=[])
            waits.add(asyncio.create_task(room.hands[name].wait(LONG), name=name))
        await woken(waits, 0)
        await gone(waits)


async def test_a_worker_that_stopped_waiting_takes_no_wake_up_from_others(server, prefix):
    """It is no longer counted among the sleepers once it has exchanged."""
    async with opened(server, prefix) as backend:
        room = Bedroom(server, prefix, backend)
        await gone({await room.lay("restless")})
        await room.hands["restless"].exchange(want=0, queues=[])
        waits = {await room.lay("idle")}
        await backend.put([message()])
        await woken(waits, 1)


async def test_a_wait_for_other_queues_replaces_the_one_before(server, prefix):
    """A worker that has stopped waiting for a queue is not woken for it."""
    async with opened(server, prefix) as backend:
        room = Bedroom(server, prefix, backend)
        await gone({await room.lay("w", ["q"])})
        waits = {asyncio.create_task(room.hands["w"].wait(LONG, ["r"])), await room.lay("idle", ["q"])}
        await backend.put([message(queue="q")])
        await woken(waits, 1)
        await gone(waits)


async def test_one_worker_may_wait_twice(server, prefix):
    """Callers of `dequeue` stand under one name, and each is woken for its own queue."""
    async with opened(server, prefix) as backend:
        waits = [await underway(backend.dequeue([queue], timeout=LONG)) for queue in "ab"]
        key = f"{{{prefix}}}asleep:"
        await eventually_async(lambda: all(server.call("EXISTS", f"{key}{queue}") for queue in "ab"))
        for queue, wait in zip("ba", reversed(waits), strict=True):
            (put,) = await backend.put([message(queue=queue)])
            claim = await asyncio.wait_for(wait, LONG)
            assert claim is not None
            assert claim.id == put.id


async def test_nothing_is_published_while_nobody_sleeps(server, prefix):
    """Work that finds busy workers costs no push."""
    async with opened(server, prefix) as backend:
        hand = await hand_of(backend)
        before = pushes(server)
        await backend.put([message(), message()])
        await run_all(hand)
        assert pushes(server) == before


def pushes(server: RedisServer) -> int:
    """How often the server was told to publish."""
    stats = server.call("INFO", "commandstats")
    return int(stats.get("cmdstat_publish", {"calls": 0})["calls"])


# What is wide ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [WIDE, VERY_WIDE])
async def test_a_wide_gathering_starts_after_the_last_of_its_parents(server, prefix, width):
    """However many there are, whether stored or put with it, and though it is put twice."""
    async with opened(server, prefix) as backend:
        parents = [message() for _ in range(width)]
        await put_all(backend, parents[:-3])
        last = message(waits_on=(*ids(parents), parents[0].id), priority=9)
        hand = await hand_of(backend)
        first = await hand.claim_one()
        with pytest.raises(QueueError):
            await backend.put([last])
        await hand.settle(Outcome.success(first, b"r"))
        for _ in range(2):
            await backend.put([*parents[-3:], last])
        assert await run_all(hand) == ids([*parents[1:], last])


@pytest.mark.parametrize("width", [WIDE, VERY_WIDE])
async def test_a_wide_gathering_is_cancelled_with_one_of_its_parents(server, prefix, width):
    """Whether that failed before or after the gathering was put; requeued, it comes back with it."""
    async with opened(server, prefix) as backend:
        hand = await hand_of(backend)
        for late in (False, True):
            parents = [message() for _ in range(width)]
            await put_all(backend, parents)
            last = message(waits_on=tuple(ids(parents)))
            if late:
                await backend.put([last])
            await backend.cancel([parents[7].id])
            if not late:
                await backend.put([last])
            assert await statuses(backend, [last]) == {TaskStatus.CANCELLED}
            assert await backend.requeue([parents[7].id]) == [True]
            assert set(await run_all(hand)) == set(ids([*parents, last]))


async def test_a_wide_fan_starts_in_order_without_a_sweep(server, prefix):
    """More children than one step tells are told by the next exchanges."""
    async with opened(server, prefix) as backend:
        parent = message()
        children = [message(waits_on=(parent.id,)) for _ in range(WIDE)]
        await put_all(backend, [parent, *children])
        assert await run_all(await hand_of(backend)) == ids([parent, *children])


async def test_a_wide_workflow_starts_in_order(server, prefix):
    """What `start_workflow` has not let go at once comes with the next exchanges, and is not dropped meanwhile."""
    async with opened(server, prefix) as backend:
        end = TaskId.new()
        held = [message(workflow=end, held=True) for _ in range(WIDE)]
        await put_all(backend, held)
        assert [await backend.start_workflow(end) for _ in range(2)] == [True, False]
        later = message(workflow=end, held=True)
        await backend.put([later])
        assert await run_all(await hand_of(backend)) == ids(held)
        assert await backend.start_workflow(end)


async def test_what_a_failure_has_not_cancelled_yet_does_not_run(server, prefix):
    """A wide fan under a failure is cancelled step by step, and comes back as a whole."""
    async with opened(server, prefix) as backend:
        parent = message()
        children = [message(waits_on=(parent.id,)) for _ in range(WIDE)]
        await put_all(backend, [parent, *children])
        hand = await hand_of(backend)
        await hand.settle(Outcome.failure((await hand.claim(1))[0], ERROR))
        assert await statuses(backend, children) == {TaskStatus.PENDING, TaskStatus.CANCELLED}
        assert await backend.requeue([parent.id]) == [True]
        assert await statuses(backend, children) == {TaskStatus.PENDING}
        await backend.sweep()
        assert sorted(await run_all(hand)) == ids([parent, *children])


async def test_a_parent_that_is_deleted_has_told_its_children(server, prefix):
    """Also those whose turn had not come."""
    async with opened(server, prefix) as backend:
        parent = message()
        children = [message(waits_on=(parent.id,)) for _ in range(WIDE)]
        await put_all(backend, [parent, *children])
        hand = await hand_of(backend)
        await hand.settle(Outcome.success((await hand.claim(1))[0], b"r"))
        assert await backend.delete([parent.id]) == 1
        assert await run_all(hand) == ids(children)


async def test_a_parent_s_requeue_does_not_count_down_who_tolerated_its_failure(server, prefix):
    """A tolerant child has heard of one end of that parent, and waits for the others only."""
    async with opened(server, prefix) as backend:
        first, second = message(queue="first"), message(queue="second")
        child = message(waits_on=(first.id, second.id), tolerant=True)
        await backend.put([first, second, child])
        hand = await hand_of(backend)
        for _ in range(2):
            (claim,) = await hand.claim(1, ["first"])
            await hand.settle(Outcome.failure(claim, ERROR))
            await backend.requeue([first.id])
            (record,) = await backend.get([child.id])
            assert record is not None
            assert record.waiting_on == 1
        assert ids(await hand.claim(5, ["second", "default"])) == [second.id]


async def test_a_tolerant_message_stays_so_when_it_comes_back(server, prefix):
    """Also one that had nobody to wait for when it was put, and waits when it is requeued with its parent."""
    async with opened(server, prefix) as backend:
        hand = await hand_of(backend)
        parent = message()
        await backend.put([parent])
        await backend.cancel([parent.id])
        child = message(waits_on=(parent.id,), tolerant=True)
        await backend.put([child])
        assert await run_all(hand, fail=[child.id]) == [child.id]
        await backend.requeue([parent.id, child.id])
        assert await run_all(hand, fail=[parent.id]) == [parent.id, child.id]
        assert await statuses(backend, [child]) == {TaskStatus.SUCCESS}


# What comes late or too early -----------------------------------------------------------------------------------------


async def test_an_exchange_that_was_overtaken_claims_nothing(server, prefix):
    """Its outcomes count, as the fence lets them; a worker that registers anew begins anew."""
    async with opened(server, prefix) as backend:
        hand = await hand_of(backend)
        await backend.put([message(), message()])
        (claim,) = (await backend.exchange("w", (), want=1, queues=None, sequence=7)).claims
        late = await backend.exchange("w", [Outcome.success(claim, b"r")], want=1, queues=None, sequence=6)
        assert (late.claims, late.settled) == ([], [Settled.SETTLED])
        await hand.beat(leaving=True)
        await hand.beat()
        assert len((await backend.exchange("w", (), want=1, queues=None, sequence=1)).claims) == 1


async def test_an_outcome_told_twice_in_one_call_counts_once(server, prefix):
    """The second is answered as a repeat."""
    async with opened(server, prefix) as backend:
        hand = await hand_of(backend)
        await backend.put([message()])
        (claim,) = await hand.claim(1)
        outcome = Outcome.success(claim, b"r")
        assert await hand.settle(outcome, outcome) == [Settled.SETTLED, Settled.ALREADY]
        assert [dict(counts.by_status) for counts in await backend.counts()] == [{TaskStatus.SUCCESS: 1}]


async def test_after_a_lost_connection_nobody_is_given_up_before_there_was_time_to_come_back(prefix):
    """Those who were cut off with the sweeper have half a lease to beat again."""
    with RedisServer(clock=True) as server:
        async with opened(server, prefix) as backend:
            lease = 3.0
            hand = await hand_of(backend, lease=lease)
            await backend.put([message()])
            await hand.claim(1)
            server.advance(lease)
            assert (await backend.sweep()).suspected == 1
            server.advance(lease)
            server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert (await patiently(backend.sweep)).rescued == 0
            swept = [await backend.sweep()]
            async with asyncio.timeout(LONG):
                while not swept[-1].rescued:
                    swept.append(await backend.sweep())
            assert len(swept) > 1


# What is over ---------------------------------------------------------------------------------------------------------


async def test_expiry_keeps_up_with_what_ends(prefix):
    """Exchanges forget what sweeps have not come to for a minute, at least as fast as they finish messages."""
    with RedisServer(clock=True) as server:
        async with opened(server, prefix) as backend:
            await put_all(backend, [message() for _ in range(WIDE)])
            hand = await hand_of(backend)
            await run_all(hand)
            server.advance(DAY + 120.0)
            await hand.beat()
            fresh = [message() for _ in range(WIDE)]
            await put_all(backend, fresh)
            await run_all(hand)
            (counts,) = await backend.counts()
            assert counts.by_status == {TaskStatus.SUCCESS: WIDE}
            assert await statuses(backend, fresh) == {TaskStatus.SUCCESS}


# A full memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [(7, 0), (1000,)])
async def test_work_ends_when_memory_is_full(prefix, since, monkeypatch):
    """Nothing new is taken, and all that runs may end, in every way; also by scripts for servers that know no flags."""
    monkeypatch.setattr("reinhardt_tasks.backends.redis.link.FLAGS_SINCE", since)
    with RedisServer({"maxmemory": "100mb"}) as server:
        async with opened(server, prefix) as backend:
            hand = await hand_of(backend)
            parent, *others = [message() for _ in range(6)]
            await backend.put([parent, *others, message(waits_on=(parent.id,))])
            one, two, three, four, five, six = await hand.claim(6)
            server.call("CONFIG", "SET", "maxmemory", "1mb")
            with pytest.raises(BackendFullError):
                await backend.put([message()])
            outcomes = [
                Outcome.success(one, b"r" * 100),
                Outcome.failure(two, ERROR),
                Outcome.retry(three, 0.0, ERROR),
                Outcome.retry(four, LONG, ERROR),
                Outcome.release(five),
                Outcome.cancelled(six, ERROR),
            ]
            assert await hand.settle(*outcomes) == [Settled.SETTLED] * 6
            await hand.beat()
            await backend.sweep()
            assert len(await hand.claim(9)) == 3
            assert await hand.wait(0.01) is False
            await hand.beat(leaving=True)
            server.call("CONFIG", "SET", "maxmemory", "100mb")
            assert (await backend.enqueue(message())).created


async def test_waiting_on_a_closed_backend_leaves_nothing_behind(server, prefix):
    """Who waits where nothing is open is told so, and no connection is left that hears for nobody."""
    async with opened(server, prefix) as backend:
        one = message()
        await backend.put([one])
    with pytest.raises(BackendError, match="not open"):
        await backend.wait_result(one.id, LONG)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "redis-listener"] == []


def test_ids_are_ordered_by_their_bytes(server):
    """Scripts order ids as Python does, and as time does, whatever language the server's machine speaks."""
    order = (resources.files("reinhardt_tasks.backends.redis") / "lua" / "order.lua").read_text("utf-8")
    script = f"{order}\nreturn order.newer(ARGV[1], ARGV[2]) and 1 or 0"
    letters = [bytes([byte]) * 16 for byte in (0, 1, 65, 97, 90, 122, 127, 128, 255)]
    tails = [b"a" * at + bytes([byte]) + b"Z" * (15 - at) for at in (0, 3, 4, 7, 8, 11, 12, 15) for byte in (66, 98)]
    for one, other in itertools.product(letters + tails, repeat=2):
        assert server.call("EVAL", script, 0, one, other) == int(one > other)
