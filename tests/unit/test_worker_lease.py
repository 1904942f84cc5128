"""A worker whose line to the broker is bad, or whose lease is in doubt or lost: nothing is lost, little runs twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest

from reinhardt_tasks.context import current_task
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.worker import Worker
from tests.eventually import eventually_async
from tests.work import Hands
from tests.workshop import ENDLESS, FlakyBackend, at_work, awaited, reached, record_of


@pytest.fixture
def clock() -> StillClock:
    """The broker's clock."""
    return StillClock()


@pytest.fixture
def backend(clock) -> FlakyBackend:
    """A backend whose line may go bad."""
    return FlakyBackend(clock=clock)


@pytest.fixture
def queue(backend) -> TaskQueue:
    """A queue on it."""
    return TaskQueue(backend)


async def settled(queue: TaskQueue, *, failed: int = 0) -> dict[TaskStatus, int]:
    """How many messages stand where, once none is unfinished."""

    async def look() -> dict[TaskStatus, int] | None:
        counts = dict((await (await queue.backend()).counts())[0].by_status)
        return counts if set(counts) <= {TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.CANCELLED} else None

    counts = await awaited(look)
    assert counts is not None
    return counts


# A bad line -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbs", [{"exchange"}, {"exchange", "beat", "wait", "sweep"}], ids=["exchange", "all"])
async def test_lost_answers_lose_nothing_and_run_nothing_twice(backend, queue, verbs):
    """Every second answer is lost on its way; each message runs exactly once, and none is left claimed."""
    runs: Counter[int] = Counter()

    @queue.task
    async def counted(number: int) -> None:
        runs[number] += 1

    await queue.enqueue_many(counted.message(number) for number in range(60))
    backend.faults.lose_every_other |= verbs
    async with at_work(queue, concurrency=10, prefetch=0):
        assert await settled(queue) == {TaskStatus.SUCCESS: 60}
        backend.faults.heal()
    assert runs == Counter(range(60))


async def test_a_broker_that_is_away_for_a_while_is_waited_for(backend, queue):
    """Every verb fails; when it is back, work goes on by itself, and what ended meanwhile is settled."""
    runs: Counter[int] = Counter()
    gate = asyncio.Event()

    @queue.task
    async def counted(number: int) -> None:
        runs[number] += 1
        await gate.wait()

    async with at_work(queue, concurrency=2, lease=3):
        await queue.enqueue_many(counted.message(number) for number in range(5))
        await eventually_async(lambda: len(runs) == 2)
        for verb in ("exchange", "beat", "wait", "sweep"):
            backend.faults.refuse[verb] = ENDLESS
        gate.set()
        failures = backend.faults.calls["exchange"] + 3
        await eventually_async(lambda: backend.faults.calls["exchange"] >= failures)
        backend.faults.heal()
        back_at = time.monotonic()
        assert await settled(queue) == {TaskStatus.SUCCESS: 5}
        assert time.monotonic() - back_at < 10
    assert runs == Counter(range(5))


async def test_calls_that_fail_are_not_repeated_as_fast_as_they_can(backend, queue):
    """A broker that comes back is not met by a storm."""
    async with at_work(queue):
        await eventually_async(lambda: backend.faults.calls["wait"])
        for verb in ("exchange", "beat", "wait", "sweep"):
            backend.faults.refuse[verb] = ENDLESS
        before = backend.faults.calls.total()
        await asyncio.sleep(1)
        assert backend.faults.calls.total() - before < 40
        backend.faults.heal()


async def test_an_outcome_that_cannot_be_settled_at_the_end_is_left_to_the_lease(backend, queue):
    """A worker that ends while its broker is away does not wait for ever; the message is found and run again."""
    runs: list[int] = []

    @queue.task
    async def counted() -> None:
        runs.append(1)
        backend.faults.refuse["exchange"] = ENDLESS

    handle = await counted.enqueue()
    async with at_work(queue, lease=0.6):
        await eventually_async(lambda: runs)
        backend.faults.refuse["beat"] = ENDLESS
    assert (await record_of(queue, handle.id)).status is TaskStatus.RUNNING


# A lease in doubt -----------------------------------------------------------------------------------------------------


async def test_a_worker_in_doubt_starts_nothing_and_tells_its_tasks(backend, queue, caplog):
    """Without a confirmed beat for two thirds of its lease; what was fetched ahead goes back, and trust returns."""
    told, gate = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    @queue.task
    async def waiting(number: int) -> int:
        runs.append(number)
        if number:
            return number
        task = current_task()
        await eventually_async(lambda: task.cancelled)
        told.set()
        await gate.wait()
        return number

    async with at_work(queue, concurrency=1, prefetch=1, lease=0.6):
        first = await waiting.enqueue(0)
        second = await waiting.enqueue(1)
        await reached(queue, second.id, TaskStatus.RUNNING)  # fetched ahead
        backend.faults.refuse["beat"] = ENDLESS
        await asyncio.wait_for(told.wait(), 20)
        record = await reached(queue, second.id, TaskStatus.PENDING)
        assert (record.attempts, record.losses) == (0, 0)
        gate.set()
        assert await first.result(timeout=20) == 0  # an outcome is offered all the same; the fence decides
        assert runs == [0]
        backend.faults.heal()
        assert await second.result(timeout=20) == 1
    assert caplog.text.count("lease_in_doubt") == 1
    assert caplog.text.count("lease_trusted_again") == 1


async def test_a_task_that_heeds_the_doubt_is_run_again_later(backend, queue):
    """No attempt is spent: it is the worker that was in doubt."""
    runs: list[int] = []

    @queue.task(retry=RetryStrategy.no_retry())
    def heeding() -> int:
        runs.append(current_task().attempt)
        while len(runs) == 1:
            current_task().raise_if_cancelled()
            threading.Event().wait(0.002)
        return len(runs)

    async with at_work(queue, lease=0.6):
        handle = await heeding.enqueue()
        await eventually_async(lambda: runs)
        backend.faults.refuse["beat"] = ENDLESS
        await reached(queue, handle.id, TaskStatus.PENDING)
        backend.faults.heal()
        assert await handle.result(timeout=20) == 2
    assert runs == [1, 1]


# A lost lease ---------------------------------------------------------------------------------------------------------


async def give_up_workers(backend: FlakyBackend, clock: StillClock) -> None:
    """What others do with workers that show no sign of life for a lease."""
    for seconds in (21.0, 12.0):
        clock.advance(seconds)
        await backend.steady().sweep()


async def test_the_second_run_wins_when_a_lease_was_lost(backend, queue, clock, caplog):
    """The first one's outcome is refused, once and for all, and told once; there is one end."""
    gate = asyncio.Event()
    tokens: list[int] = []

    @queue.task
    async def waiting() -> int:
        tokens.append(len(tokens) + 1)
        mine = tokens[-1]
        if mine == 1:
            await gate.wait()
        return mine

    handle = await waiting.enqueue()
    async with at_work(queue, concurrency=1) as first:
        await eventually_async(lambda: tokens)
        assert (await record_of(queue, handle.id)).worker == first.id
        await give_up_workers(backend, clock)
        async with at_work(queue, concurrency=1):
            assert await handle.result(timeout=20) == 2
        gate.set()
        await eventually_async(lambda: "lease_lost" in caplog.text and first_is_free(first, caplog))
    assert await handle.result(timeout=1) == 2
    record = await record_of(queue, handle.id)
    assert (record.status, record.losses) == (TaskStatus.SUCCESS, 1)
    refusals = [one for one in caplog.records if one.message.startswith("lease_lost") and str(handle.id) in one.message]
    assert len(refusals) == 1


def first_is_free(worker: Worker, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the loss was told to the worker as such."""
    return any(record.message.startswith(f"lease_lost worker={worker.id}") for record in caplog.records)


async def test_a_worker_that_was_given_up_registers_again(backend, queue, clock, caplog):
    """It drops what it has not started, says so once, and goes on as if new."""
    gate = asyncio.Event()
    runs: Counter[int] = Counter()

    @queue.task
    async def waiting(number: int) -> None:
        runs[number] += 1
        await gate.wait()

    async with at_work(queue, concurrency=1, prefetch=3) as worker:
        await queue.enqueue_many(waiting.message(number) for number in range(4))
        await awaited(lambda: _holding(backend, 4))
        await give_up_workers(backend, clock)
        await eventually_async(lambda: "lease_lost" in caplog.text)
        await awaited(lambda: _holding(backend, 0, 1, 2, 3, 4))
        gate.set()
        assert await settled(queue) == {TaskStatus.SUCCESS: 4}
        assert [record.beat.worker for record in await backend.steady().workers()] == [worker.id]
    assert caplog.text.count(f"lease_lost worker={worker.id}") == 1
    assert runs[0] == 2  # the run under the lost lease, and the one that counts
    assert sum(runs.values()) == 5


async def _holding(backend: FlakyBackend, *claims: int) -> bool:
    """Whether the one worker there is holds so many messages."""
    return [record.claims for record in await backend.steady().workers()] in [[count] for count in claims]


@pytest.mark.parametrize("told_by", ["exchange", "beat"])
async def test_no_claim_is_orphaned_when_the_loss_is_told_late(backend, queue, clock, caplog, told_by):
    """Claims of the new registration must not be dropped for the old one's sake: nobody else would ever get them."""
    gate = asyncio.Event()
    runs: Counter[int] = Counter()

    @queue.task
    async def waiting(number: int) -> None:
        runs[number] += 1
        await gate.wait()

    async with at_work(queue, concurrency=2, prefetch=10, lease=6):  # a beat every two seconds
        await eventually_async(lambda: backend.faults.calls["wait"])
        if told_by == "beat":
            backend.faults.gates["exchange"] = threading.Event()
            await eventually_async(lambda: backend.faults.exchanges[-1][2] is None)
        backend.faults.late["beat"] = threading.Event()
        await give_up_workers(backend, clock)
        await awaited(backend.steady().workers)  # registered anew; the answer that says so is on its way
        await queue.enqueue_many(waiting.message(number) for number in range(3))
        if told_by == "beat":
            backend.faults.gates.pop("exchange").set()
        await awaited(lambda: _holding(backend, 3))
        backend.faults.late.pop("beat").set()
        await eventually_async(lambda: "lease_lost" in caplog.text)
        gate.set()
        assert await settled(queue) == {TaskStatus.SUCCESS: 3}
    assert caplog.text.count("lease_lost worker=") == 1
    assert set(runs.values()) == {1}


# Who gets what --------------------------------------------------------------------------------------------------------


async def test_no_worker_holds_more_than_its_slots_and_three_hundred(backend, queue):
    """However quick its tasks are."""

    @queue.task
    async def nothing() -> None: ...

    await queue.enqueue_many(nothing.message() for _ in range(8000))
    async with at_work(queue, concurrency=20):
        assert await settled(queue) == {TaskStatus.SUCCESS: 8000}
    assert 20 < backend.faults.most_held <= 320


async def test_slow_tasks_are_not_fetched_ahead(backend, queue):
    """Another worker could start them meanwhile."""

    @queue.task
    async def slow() -> None:
        await asyncio.sleep(0.06)

    await queue.enqueue_many(slow.message() for _ in range(60))
    async with at_work(queue, concurrency=10):
        assert await settled(queue) == {TaskStatus.SUCCESS: 60}
    assert backend.faults.most_held == 10


async def test_what_was_fetched_ahead_for_nothing_goes_to_others(backend, queue):
    """After a second behind a task that turned out slow, another worker has it."""
    gate = asyncio.Event()
    ran_by: dict[int, str | None] = {}

    @queue.task
    async def nothing() -> None: ...

    @queue.task
    async def waiting() -> None:
        await gate.wait()

    @queue.task
    async def noting(number: int) -> None:
        ran_by[number] = (await record_of(queue, current_task().id)).worker

    await queue.enqueue_many(nothing.message() for _ in range(3000))  # so quick that more are fetched ahead
    await queue.enqueue_many([waiting.message(), *(noting.message(number) for number in range(20))])
    async with at_work(queue, concurrency=1):
        await awaited(lambda: _holding(backend, 21))
        async with at_work(queue, concurrency=1) as other:
            held_at = time.monotonic()
            await eventually_async(lambda: len(ran_by) == 20)
            assert time.monotonic() - held_at < 4
            assert set(ran_by.values()) == {other.id}
        gate.set()
        assert await settled(queue) == {TaskStatus.SUCCESS: 3021}


async def test_a_suspect_that_waits_for_a_busy_worker_costs_nothing(backend, queue, clock):
    """A message that lost a worker is run alone; the worker that is emptied for it does not spin meanwhile."""
    gate = asyncio.Event()
    done: list[str] = []

    @queue.task
    async def waiting() -> None:
        await gate.wait()
        done.append("first")

    @queue.task
    async def suspected() -> None:
        done.append("suspect")

    handle = await suspected.enqueue()
    await Hands(backend.steady()).take()
    await give_up_workers(backend, clock)
    assert (await record_of(queue, handle.id)).losses == 1
    await waiting.using(priority=9).enqueue()
    async with at_work(queue, concurrency=4):
        await awaited(lambda: _holding(backend, 1))
        clock.advance(6)  # it has waited for longer than it should
        before = backend.faults.calls.total()
        await asyncio.sleep(2)
        assert backend.faults.calls.total() - before <= 12
        assert done == []
        gate.set()
        await handle.result(timeout=20)
    assert done == ["first", "suspect"]


async def test_two_workers_share_what_there_is(backend, queue):
    """Each message runs once."""
    runs: Counter[int] = Counter()

    @queue.task
    async def counted(number: int) -> None:
        runs[number] += 1
        await asyncio.sleep(0)

    await queue.enqueue_many(counted.message(number) for number in range(2000))
    async with at_work(queue) as one, at_work(queue) as two:
        assert await settled(queue) == {TaskStatus.SUCCESS: 2000}
        finished = {record.beat.worker for record in await backend.steady().workers()}
        assert finished == {one.id, two.id}
    assert set(runs.values()) == {1}
