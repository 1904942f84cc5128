"""Operators and readers on Redis, where there is much to do: in bounded steps, and whatever things are called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from reinhardt_tasks.backends.redis import RedisTaskBackend
from reinhardt_tasks.contract import MAX_BATCH, MAX_PAGE
from reinhardt_tasks.errors import BackendFullError, DuplicateTaskError, QueueError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, ErrorRecord, Guard, Outcome, Put, Record, ScheduleRecord
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import Hand, ids, message
from tests.eventually import eventually_async
from tests.servers.link import link_to
from tests.servers.redis import RedisServer, fresh_prefix

LEASE = 60.0
LONG = 30.0
MANY = 6_000
"""Messages enough for a dozen steps."""
STEP = 0.1
"""Seconds of the server that a step may take on average, on a machine that does much else; alone it takes a tenth."""
ERROR = ErrorRecord("ValueError", "it went wrong").encode()
ODD = (
    "a:b",
    "ready:default",
    "{tag}",
    "}{",
    "=",
    "*?[a-z]",
    "line\nbreak\r\n",
    " ",
    "0",
    "ünïcödé 🎺",
    "%s%d\\x00",
    "$-1",
    "q" * 255,
)
"""Names that would break a key, a pattern, a line or a format, were they not taken as they are."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer() as it:
        yield it


@asynccontextmanager
async def opened(server: RedisServer, prefix: str = "") -> AsyncIterator[RedisTaskBackend]:
    """An open backend on keys of its own."""
    async with RedisTaskBackend(server.url(), prefix=prefix or fresh_prefix()) as backend:
        yield backend


async def put_new(backend: RedisTaskBackend, count: int, **options: Any) -> list[AnyMessage]:
    """Store so many fresh messages."""
    made = [message(**options) for _ in range(count)]
    await put_all(backend, made)
    return made


async def put_all(backend: RedisTaskBackend, made: Sequence[AnyMessage]) -> None:
    """Store messages, in batches."""
    for first in range(0, len(made), MAX_BATCH):
        await backend.put(made[first : first + MAX_BATCH])


async def hand_of(backend: RedisTaskBackend, name: str = "w") -> Hand:
    """A registered worker."""
    hand = Hand(backend, name, LEASE)
    await hand.beat()
    return hand


async def finish(hand: Hand, count: int, queue: str = "default") -> None:
    """Run so many messages."""
    while count > 0:
        claims = await hand.claim(min(count, MAX_BATCH), [queue])
        await hand.settle(*(Outcome.success(claim, b"r") for claim in claims))
        count -= len(claims)


async def statuses(backend: RedisTaskBackend, items: Sequence[AnyMessage]) -> list[TaskStatus | None]:
    """How messages stand; None for those that are gone."""
    return [record and record.status for record in await backend.get(ids(items))]


def cost(server: RedisServer) -> tuple[int, float]:
    """How many scripts the server has run, and for how many seconds."""
    stats = server.call("INFO", "commandstats")
    found = [stats.get(f"cmdstat_{name}", {"calls": 0, "usec": 0}) for name in ("eval", "evalsha")]
    return sum(each["calls"] for each in found), sum(each["usec"] for each in found) / 1e6


class Meter:
    """What was asked of the server since this was made."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._before = cost(server)

    @property
    def calls(self) -> int:
        """The scripts that were run."""
        return cost(self._server)[0] - self._before[0]

    @property
    def mean(self) -> float:
        """Seconds for each of them."""
        calls, seconds = cost(self._server)
        return (seconds - self._before[1]) / (calls - self._before[0])


# Lists ----------------------------------------------------------------------------------------------------------------


async def test_pages_go_on_below_rows_that_are_gone(redis_server):
    """Deleting the page just read, its last row too, neither skips nor repeats what comes after it."""
    async with opened(redis_server) as backend:
        put = await put_new(backend, 50)
        await backend.cancel(ids(put))
        seen: list[TaskId] = []
        while page := await backend.find(limit=7, before=seen[-1] if seen else None):
            seen += ids(page)
            await backend.delete(ids(page))
        assert seen == sorted(ids(put), reverse=True)


@pytest.mark.parametrize("wanted", [{"queue": "rare"}, {"task": "rare"}, {"statuses": [TaskStatus.FAILURE]}])
async def test_a_rare_record_is_found_under_many(server, wanted):
    """Whatever it is asked by, a list looks through thousands of others step by step, each of them short."""
    async with opened(server) as backend:
        (rare,) = await put_new(backend, 1, queue="rare", name="rare")
        await backend.move(rare.id, TaskStatus.FAILURE, payload=ERROR)
        await put_new(backend, MANY)
        meter = Meter(server)
        assert ids(await backend.find(**wanted)) == [rare.id]
        assert meter.calls <= MANY / MAX_BATCH
        assert meter.mean < STEP


async def test_a_list_that_matches_nothing_ends(server):
    """Having looked at everything, or at once where the counts say that there is nothing."""
    async with opened(server) as backend:
        await put_new(backend, MANY)
        assert await backend.find(task="none") == []
        assert await backend.find(workflow=TaskId.new(), before=TaskId.new()) == []
        meter = Meter(server)
        assert await backend.find(queue="none") == await backend.find(statuses=[TaskStatus.RETRY]) == []
        assert meter.calls == 2


async def test_a_workflow_is_listed_at_once_under_many_messages(server):
    """Page by page, newest first, however many others there are; it is told apart from the one before and after."""
    async with opened(server) as backend:
        flows = sorted(TaskId.new() for _ in range(3))
        members = {flow: await put_new(backend, 25, workflow=flow) for flow in flows}
        await put_new(backend, MANY)
        await backend.find(workflow=flows[0])  # the server knows the script by now
        meter = Meter(server)
        pages = [await backend.find(workflow=flows[1], limit=10)]
        while pages[-1]:
            pages.append(await backend.find(workflow=flows[1], limit=10, before=pages[-1][-1].id))
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert [record.id for page in pages for record in page] == sorted(ids(members[flows[1]]), reverse=True)
        assert meter.calls == 4


async def test_the_unfinished_are_found_at_once_under_finished_ones(server):
    """However they wait: for their time, for a parent, for their workflow's start, for a retry, in line or running."""
    async with opened(server) as backend:
        parent, running, retrying = await put_new(backend, 3, queue="q", delay=0.0)
        hand = await hand_of(backend)
        claims = {claim.id: claim for claim in await hand.claim(3, ["q"])}
        await hand.settle(Outcome.release(claims[parent.id]), Outcome.retry(claims[retrying.id], LEASE, _error()))
        (delayed,) = await put_new(backend, 1, delay=LEASE)
        (blocked,) = await put_new(backend, 1, waits_on=(parent.id,))
        (held,) = await put_new(backend, 1, held=True, workflow=TaskId.new())
        await put_new(backend, MANY, queue="done")
        await finish(hand, MANY, "done")
        await backend.find()  # the server knows the script by now
        meter = Meter(server)
        waiting = await backend.find(statuses=[TaskStatus.PENDING])
        assert set(ids(waiting)) == {parent.id, delayed.id, blocked.id, held.id}
        assert ids(await backend.find(statuses=[TaskStatus.RUNNING])) == [running.id]
        assert ids(await backend.find(statuses=[TaskStatus.RETRY], queue="q")) == [retrying.id]
        assert len(await backend.find(statuses=[TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RETRY])) == 6
        assert meter.calls == 4


def _error() -> ErrorRecord:
    return ErrorRecord.decode(ERROR)


async def test_long_records_are_read_in_pieces(server):
    """Large envelopes, results and errors come whole, though no answer is much longer than the largest of them."""
    async with opened(server) as backend:
        long = b"x" * 700_000
        made = [_with_body(message(), long) for _ in range(20)]
        for one in made:
            await backend.put((one,))
        hand = await hand_of(backend)
        for number in range(10):
            (claim,) = await hand.claim()
            await hand.settle(
                Outcome.success(claim, long) if number % 2 else Outcome.failure(claim, ErrorRecord("E", "x" * 60_000))
            )
        meter = Meter(server)
        records = await backend.get(ids(made), body=True)
        assert [record and record.body for record in records] == [long] * 20
        assert 5 <= meter.calls <= 25
        listed = await backend.find(limit=MAX_PAGE)
        assert sorted(listed, key=_by_id) == [_bare(record) for record in records]
        assert sum(record.result == long for record in listed) == 5


def _with_body(made: AnyMessage, body: bytes) -> AnyMessage:
    return msgspec.structs.replace(made, body=body)


def _by_id(record: Record) -> TaskId:
    return record.id


def _bare(record: Record | None) -> Record:
    assert record is not None
    return msgspec.structs.replace(record, body=None)


# What odd names do ----------------------------------------------------------------------------------------------------


async def test_odd_names_of_queues_and_tasks_are_taken_as_they_are(redis_server):
    """Each is a queue and a task of its own for every verb, and leads to nothing else."""
    async with opened(redis_server) as backend:
        put = {name: (await put_new(backend, 1, queue=name, name=name))[0] for name in ODD}
        for name in ODD:
            await backend.pause(name)
        counts = await backend.counts()
        assert [one.queue for one in counts] == sorted(ODD)
        assert {(one.ready, one.paused) for one in counts} == {(1, True)}
        hand = await hand_of(backend)
        for name in ODD:
            assert ids(await backend.find(queue=name)) == ids(await backend.find(task=name)) == [put[name].id]
            assert ids(await backend.find(queue=name, statuses=[TaskStatus.PENDING])) == [put[name].id]
            assert await hand.claim(5, [name]) == []
            await backend.resume(name)
            assert ids(await hand.claim(5, [name])) == [put[name].id]
            await put_new(backend, 2, queue=name)
            assert await backend.purge(name) == 2
        assert await statuses(backend, list(put.values())) == [TaskStatus.RUNNING] * len(ODD)


async def test_odd_unique_keys_are_taken_as_they_are(redis_server):
    """Each holds out its like, of the same task alone, and is taken again by a requeue."""
    keys = (*ODD, "k" * 100_000, "")
    async with opened(redis_server) as backend:
        for key in keys:
            (first,) = await put_new(backend, 1, unique_key=key)
            assert await backend.put((message(unique_key=key),)) == [Put(first.id, created=False)]
            await backend.cancel((first.id,))
            (second,) = await put_new(backend, 1, unique_key=key)
            with pytest.raises(DuplicateTaskError) as caught:
                await backend.requeue((first.id,))
            assert (caught.value.existing_id, caught.value.unique_key) == (str(second.id), key)
        found = await backend.find(limit=MAX_PAGE, statuses=[TaskStatus.PENDING])
        assert [record.unique_key for record in found] == list(reversed(keys))


async def test_odd_names_of_schedules_locks_and_workers_are_taken_as_they_are(redis_server):
    """They are stored, fired, held, told to drain and forgotten under the very name."""
    names = (*ODD, "n" * 100_000)
    async with opened(redis_server) as backend:
        saved = [await backend.save_schedule(ScheduleRecord(name=name, spec=name.encode())) for name in names]
        assert await backend.load_schedules() == sorted(saved, key=lambda one: one.name)
        for name in names:
            put = await backend.put((message(),), guard=Guard(name, None, 1.5))
            assert put[0].created
            assert await backend.acquire_lock(name, name, LEASE) is not None
            assert await backend.acquire_lock(name, "other", LEASE) is None
            assert await backend.release_lock(name, name)
            await hand_of(backend, name[:60_000])
            assert await backend.drain(name[:60_000])
        assert [one.beat.worker for one in await backend.workers()] == sorted(name[:60_000] for name in names)
        assert {one.last_due for one in await backend.load_schedules()} == {1.5}
        assert [await backend.remove_schedule(name) for name in names] == [True] * len(names)


async def test_a_worker_that_leaves_while_workers_are_listed_is_not_listed(redis_server):
    """Its name was read, and its facts were gone when they were asked for."""
    prefix = fresh_prefix()
    async with opened(redis_server, prefix) as backend:
        await hand_of(backend, "here")
        redis_server.call("SADD", f"{{{prefix}}}workers", "gone")
        assert [one.beat.worker for one in await backend.workers()] == ["here"]


async def test_a_name_that_has_no_room_is_refused(redis_server):
    """Nothing is stored for a queue or task whose name is longer than 255 bytes."""
    async with opened(redis_server) as backend:
        for options in ({"queue": "q" * 256}, {"name": "é" * 128}):
            with pytest.raises(QueueError, match="255"):
                await backend.put((message(), message(**options)))
        assert await backend.counts() == []


# Operators on many ----------------------------------------------------------------------------------------------------


async def test_a_long_queue_is_purged_in_short_steps(server):
    """Wherever its messages wait; those of other queues stay, and others are served between the steps."""
    async with opened(server) as backend, opened(server) as other:
        await put_new(backend, 1, queue="kept", delay=LEASE)
        await put_new(backend, MANY, queue="long")
        await put_new(backend, 1_000, queue="long", delay=LEASE, unique_for=LEASE)
        await put_new(backend, 1_000, queue="kept")
        meter = Meter(server)
        purging = asyncio.create_task(backend.purge("long"))
        served = 0
        while not purging.done():
            await other.counts()
            served += 1
        assert await purging == MANY + 1_000
        assert served > MANY / MAX_BATCH
        assert meter.calls - served > MANY / MAX_BATCH
        assert meter.mean < STEP
        assert {one.queue: one.by_status for one in await backend.counts()} == {"kept": {TaskStatus.PENDING: 1_001}}


async def test_a_purge_of_finished_messages_goes_through_all(server):
    """Successes lie among everything else, dead letters in an index of their own; both are purged to the last."""
    async with opened(server) as backend:
        put = await put_new(backend, 2_000, unique_key=None, workflow=TaskId.new())
        await backend.cancel(ids(put[::2]))
        await finish(await hand_of(backend), 1_000)
        await put_new(backend, 1_500)
        assert await backend.purge("default", statuses=[TaskStatus.CANCELLED, TaskStatus.FAILURE]) == 1_000
        assert await backend.purge("default", statuses=[TaskStatus.SUCCESS]) == 1_000
        assert await backend.purge("default", statuses=[TaskStatus.SUCCESS, TaskStatus.RUNNING]) == 0
        (counts,) = await backend.counts()
        assert counts.by_status == {TaskStatus.PENDING: 1_500}


async def test_a_purge_takes_a_workflow_of_its_queue_whole(redis_server):
    """Parents and children of one queue are all deleted, wherever they wait, and in however many steps."""
    async with opened(redis_server) as backend:
        (parent,) = await put_new(backend, 1)
        children = await put_new(backend, 800, waits_on=(parent.id,))
        (last,) = await put_new(backend, 1, waits_on=tuple(ids(children[:3])), tolerant=True)
        (elsewhere,) = await put_new(backend, 1, queue="other", waits_on=(parent.id,))
        assert await backend.purge("default") == 802
        await backend.sweep()
        assert await statuses(backend, [parent, children[0], last]) == [None] * 3
        assert await statuses(backend, [elsewhere]) == [TaskStatus.CANCELLED]


async def test_what_is_purged_stands_in_no_line(redis_server):
    """A message that would have started after its parent's end, however that ends, goes with it."""
    async with opened(redis_server) as backend:
        (parent,) = await put_new(backend, 1)
        await put_new(backend, 3, waits_on=(parent.id,), tolerant=True)
        assert await backend.purge("default") == 4
        (kept,) = await put_new(backend, 1)
        assert [one.ready for one in await backend.counts()] == [1]
        assert ids(await (await hand_of(backend)).claim(9)) == [kept.id]


async def test_many_ids_at_once_are_answered_in_order(redis_server):
    """More of them than one step takes: cancelled, requeued, read and deleted, repeats and unknown ones too."""
    async with opened(redis_server) as backend:
        put = await put_new(backend, 2 * MAX_BATCH + 10)
        stray = TaskId.new()
        asked = [*ids(put), stray, put[0].id]
        answer = [*[TaskStatus.CANCELLED] * len(put), None, TaskStatus.CANCELLED]
        assert await backend.cancel(asked) == answer
        assert [record and record.status for record in await backend.get(asked)] == answer
        assert await backend.requeue(asked) == [*[True] * len(put), False, True]
        assert await statuses(backend, put) == [TaskStatus.PENDING] * len(put)
        assert await backend.delete(asked) == 0
        await backend.cancel(asked)
        assert await backend.delete(asked) == len(put)


async def test_all_that_a_failure_cancelled_comes_back(redis_server):
    """A requeue brings back more dependents than one step takes, each waiting as before; then all of it runs."""
    async with opened(redis_server) as backend:
        parent, steps = await _fan(backend)
        hand = await hand_of(backend)
        await hand.settle(Outcome.failure((await hand.claim())[0], _error()))
        while (await backend.sweep()).cancelled:
            pass
        assert await statuses(backend, steps) == [TaskStatus.CANCELLED] * len(steps)
        assert await backend.requeue((parent.id,)) == [True]
        assert await statuses(backend, [parent, *steps]) == [TaskStatus.PENDING] * (1 + len(steps))
        await finish(hand, 1 + len(steps))
        assert await statuses(backend, [parent, *steps]) == [TaskStatus.SUCCESS] * (1 + len(steps))


async def _fan(backend: RedisTaskBackend) -> tuple[AnyMessage, list[AnyMessage]]:
    """A message, and those that wait for it: more than two steps take, and a last one that waits for them."""
    (parent,) = await put_new(backend, 1)
    children = await put_new(backend, 2 * MAX_BATCH + 100, waits_on=(parent.id,))
    last = await put_new(backend, 1, waits_on=(children[0].id, children[-1].id))
    return parent, [*children, *last]


async def test_dependents_come_back_though_who_asked_has_died(redis_server):
    """What a requeue leaves for later steps is done by sweeps, also after the requeued message has run."""
    prefix = fresh_prefix()
    async with opened(redis_server, prefix) as backend:
        parent, steps = await _fan(backend)
        await backend.cancel((parent.id,))
        while (await backend.sweep()).cancelled:
            pass
        link = link_to(redis_server.url(), prefix=prefix)
        await link.open()
        await link.call("requeue", parent.id)  # the first step of a requeue, and no other
        await link.close()
        assert (await statuses(backend, [parent, *steps])).count(TaskStatus.CANCELLED) > MAX_BATCH
        hand = await hand_of(backend)
        await finish(hand, 1)
        for _ in range(4):
            await backend.sweep()
        await finish(hand, len(steps))
        assert await statuses(backend, [parent, *steps]) == [TaskStatus.SUCCESS] * (1 + len(steps))


async def test_a_dependent_that_comes_back_hears_of_no_end_before(redis_server):
    """It waits for what has not ended, though others are still being told of an end from before it was cancelled."""
    async with opened(redis_server) as backend:
        done, other = await put_new(backend, 2)
        await put_new(backend, MAX_BATCH + 100, waits_on=(done.id,))
        (child,) = await put_new(backend, 1, waits_on=(done.id, other.id))
        hand = await hand_of(backend)
        await hand.settle(Outcome.success((await hand.claim())[0], b"r"))
        await backend.cancel((other.id,))
        await backend.requeue((other.id,))
        await backend.sweep()
        (record,) = await backend.get((child.id,))
        assert record is not None
        assert (record.status, record.waiting_on) == (TaskStatus.PENDING, 1)


async def test_what_is_asked_for_comes_back_after_its_parents(redis_server):
    """A message may be requeued with the one it depends on through others, however many steps that takes."""
    async with opened(redis_server) as backend:
        parent, steps = await _fan(backend)
        await backend.cancel((parent.id,))
        while (await backend.sweep()).cancelled:
            pass
        stray = TaskId.new()
        assert await backend.requeue((steps[-1].id, stray, parent.id)) == [True, False, True]
        assert await statuses(backend, [parent, *steps]) == [TaskStatus.PENDING] * (1 + len(steps))


async def test_a_requeue_that_cannot_be_done_does_nothing(redis_server):
    """One of several waits for a message that failed and does not come back: all stay as they are."""
    async with opened(redis_server) as backend:
        parent, steps = await _fan(backend)
        (other,) = await put_new(backend, 1)
        (child,) = await put_new(backend, 1, waits_on=(other.id,))
        await backend.cancel((parent.id, other.id))
        while (await backend.sweep()).cancelled:
            pass
        with pytest.raises(TransitionError, match=str(other.id)):
            await backend.requeue((parent.id, child.id))
        assert await statuses(backend, [parent, *steps]) == [TaskStatus.CANCELLED] * (1 + len(steps))


async def test_of_moves_at_once_one_is_done(redis_server):
    """Each move looks first, and is refused when another was quicker."""
    prefix = fresh_prefix()
    async with opened(redis_server, prefix) as backend, opened(redis_server, prefix) as other:
        (put,) = await put_new(backend, 1)
        await (await hand_of(backend)).claim()
        ends = (TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.CANCELLED)
        moves = [one.move(put.id, end) for one in (backend, other) for end in ends for _ in range(5)]
        outcomes = await asyncio.gather(*moves, return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 1
        assert all(outcome is None or isinstance(outcome, TransitionError) for outcome in outcomes)


# Memory ---------------------------------------------------------------------------------------------------------------


async def test_room_can_be_made_when_memory_is_full():
    """Whoever only ends, stops or removes gets through where a put is refused; after a purge it is accepted again."""
    with RedisServer({"maxmemory": "8mb", "maxmemory-policy": "noeviction"}) as server:
        async with opened(server) as backend:
            lock = await backend.acquire_lock("l", "mine", LEASE)
            await backend.save_schedule(ScheduleRecord(name="s", spec=b""))
            failing, moving, *_ = put = await put_new(backend, 10, queue="first")
            hand = await hand_of(backend)
            await hand.claim(1, ["first"])
            with pytest.raises(BackendFullError):
                await put_new(backend, 100 * MAX_BATCH)
            assert await backend.cancel(ids(put[5:]), error=ERROR) == [TaskStatus.CANCELLED] * 5
            assert await backend.cancel((failing.id,)) == [TaskStatus.RUNNING]
            await backend.move(moving.id, TaskStatus.FAILURE, payload=ERROR)
            await backend.pause("first")
            await backend.resume("first")
            assert await backend.drain("w")
            assert lock is not None
            assert await backend.extend_lock("l", "mine", LEASE) is not None
            assert await backend.acquire_lock("l", "mine", LEASE) is not None
            assert await backend.release_lock("l", "mine")
            assert await backend.remove_schedule("s")
            assert await backend.delete(ids(put)) == 6
            assert await backend.purge("default") > MAX_BATCH
            await put_new(backend, MAX_BATCH)


async def test_nothing_is_left_of_what_is_deleted(server):
    """Keys, indexes, errors, edges and counts of messages go with them, whatever became of them before."""
    async with opened(server) as backend:
        hand = await hand_of(backend)
        await hand.beat(leaving=True)
        before = set(server.call("KEYS", "*"))
        hand = await hand_of(backend)
        flow = TaskId.new()
        (parent,) = await put_new(backend, 1, unique_key="k")
        await put_new(backend, 3, waits_on=(parent.id,), workflow=flow)
        await put_new(backend, 3, held=True, workflow=flow, waits_on=(parent.id,))
        await put_new(backend, 3, held=True, workflow=TaskId.new())
        await put_new(backend, 3, delay=LEASE, unique_key="w", unique_for=LEASE)
        first, second, *_ = await put_new(backend, 4)
        for claim in await hand.claim(2):
            await hand.settle(Outcome.failure(claim, _error()))
        await backend.cancel((second.id, first.id), error=ERROR)
        for claim in await hand.claim(3):
            await hand.settle(Outcome.success(claim, b"r" * 1_000))
        await backend.start_workflow(flow)
        await backend.purge("default", statuses=list(TaskStatus))
        await backend.sweep()
        await backend.purge("default", statuses=list(TaskStatus))
        await hand.beat(leaving=True)
        assert await backend.counts() == []
        left = {key.rpartition(b"}")[2] for key in set(server.call("KEYS", "*")) - before}
        assert left <= {b"queues", b"rings", b"ticks"}


# Schedules ------------------------------------------------------------------------------------------------------------


async def test_all_who_watch_are_told_once_and_then_forgotten(redis_server):
    """Several watchers in several instances hear of one change; the server keeps no record of them after it."""
    prefix = fresh_prefix()
    async with opened(redis_server, prefix) as backend, opened(redis_server, prefix) as other:
        seen = await backend.watch_schedules(-1, LONG)
        watching = [asyncio.create_task(one.watch_schedules(seen, LONG)) for one in (backend, other) for _ in range(3)]
        key = f"{{{prefix}}}watchers"
        await eventually_async(lambda: redis_server.call("ZCARD", key) == 2)
        await backend.save_schedule(ScheduleRecord(name="s", spec=b""))
        async with asyncio.timeout(LONG / 2):
            assert set(await asyncio.gather(*watching)) == {seen + 1}
        assert redis_server.call("EXISTS", key) == 0


async def test_hundreds_of_schedules_are_loaded_whole(redis_server):
    """More than one answer carries, in the order of their names."""
    async with opened(redis_server) as backend:
        names = [f"schedule {number}" for number in range(1_500)]
        await asyncio.gather(*(backend.save_schedule(ScheduleRecord(name=name, spec=b"s")) for name in names))
        assert [one.name for one in await backend.load_schedules()] == sorted(names)
