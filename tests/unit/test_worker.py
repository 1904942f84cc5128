"""A worker from start to stop over the memory backend: what it runs, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import current_task
from reinhardt_tasks.errors import ExecutionFailedError, MaxRetriesExceededError, QueueError
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.message import ErrorRecord, Reason, Record
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import Retry, RetryStrategy
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.worker import ExitCode, Worker
from tests.eventually import eventually_async
from tests.workshop import ENDLESS, FlakyBackend, at_work, awaited, reached, record_of, work_off


def make_queue(**settings) -> TaskQueue:
    """A queue in memory."""
    return TaskQueue(MemoryBackend(), QueueConfig(**settings))


# What it runs ---------------------------------------------------------------------------------------------------------


class Doubled(TaskExecutor):
    number: int

    async def execute(self) -> int:
        return 2 * self.number


async def test_tasks_of_every_kind_give_their_results():
    """Coroutine functions, plain functions, classes; while the worker runs, results come as they are ready."""
    queue = make_queue()

    @queue.task
    async def added(one: int, two: int) -> int:
        await asyncio.sleep(0)
        return one + two

    @queue.task
    def joined(one: str, two: str) -> str:
        return one + two

    queue.task(Doubled)
    async with at_work(queue) as worker:
        handles = [await added.enqueue(1, 2), await joined.enqueue("a", "b"), await queue.enqueue(Doubled(number=4))]
        assert [await handle.result(timeout=20) for handle in handles] == [3, "ab", 8]
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_a_failure_is_retried_after_its_wait_until_it_succeeds():
    """The message stands in RETRY meanwhile; each run knows its attempt."""
    clock = StillClock()
    queue = TaskQueue(MemoryBackend(clock=clock))
    attempts: list[int] = []

    @queue.task(retry=RetryStrategy.fixed_delay(10, max_retries=3))
    async def flaky() -> str:
        attempts.append(current_task().attempt)
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return "at last"

    handle = await flaky.enqueue()
    async with at_work(queue, poll_interval=0.02):
        for attempt in (1, 2):
            record = await reached(queue, handle.id, TaskStatus.RETRY)
            assert (record.attempts, record.run_at) == (attempt, clock() + 10)
            clock.advance(10)
            await eventually_async(lambda attempt=attempt: len(attempts) == attempt + 1)
        assert await handle.result(timeout=20) == "at last"
    assert attempts == [1, 2, 3]


async def test_retries_end():
    """The last error is the message's, with the number of runs."""
    queue = make_queue(max_retries=2)

    @queue.task
    async def failing() -> None:
        raise Retry("never", after=0)

    async with at_work(queue):
        outcome = await (await failing.enqueue()).outcome(timeout=20)
    assert isinstance(outcome, MaxRetriesExceededError)
    assert (outcome.attempts, outcome.error_message) == (3, "never")
    assert "in failing" in outcome.traceback_text


async def test_what_gives_up_is_not_run_again():
    """By `give_up_on`."""
    queue = make_queue()
    runs: list[int] = []

    @queue.task(retry=RetryStrategy(give_up_on=(LookupError,)))
    async def failing() -> None:
        runs.append(1)
        raise KeyError("gone")

    async with at_work(queue):
        outcome = await (await failing.enqueue()).outcome(timeout=20)
    assert isinstance(outcome, ExecutionFailedError)
    assert (outcome.reason, runs) == ("failed", [1])


async def test_slots_run_at_the_same_time():
    """`concurrency` messages, no more."""
    queue = make_queue()
    gate, running = asyncio.Event(), []

    @queue.task
    async def waiting() -> None:
        running.append(1)
        await gate.wait()

    async with at_work(queue, concurrency=3):
        handles = await queue.enqueue_many(waiting.message() for _ in range(5))
        await eventually_async(lambda: len(running) == 3)
        assert (await record_of(queue, handles[4].id)).status is TaskStatus.PENDING
        gate.set()
        for handle in handles:
            await handle.result(timeout=20)


async def test_higher_priorities_start_first():
    """Of what stands in line when a slot becomes free, within a priority the oldest."""
    queue = make_queue()
    order: list[str] = []

    @queue.task
    async def named(name: str) -> None:
        order.append(name)

    for name, priority in [("a", 0), ("b", 9), ("c", 5), ("d", 9), ("e", 0)]:
        await named.using(priority=priority).enqueue(name)
    await work_off(queue, concurrency=1)
    assert order == ["b", "d", "c", "a", "e"]


async def test_an_urgent_message_passes_slow_ones():
    """Slow tasks are not fetched ahead, so the next free slot takes it."""
    queue = make_queue()
    order: list[int] = []

    @queue.task
    async def slow(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0.06)

    async with at_work(queue, concurrency=2):
        await queue.enqueue_many(slow.message(number) for number in range(8))
        await eventually_async(lambda: len(order) >= 4)
        begun = len(order)
        await slow.using(priority=9).enqueue(99)
        await eventually_async(lambda: len(order) == 9)
    assert order.index(99) <= begun + 1


async def test_queues_are_served_in_their_order():
    """Of equal priority; what is not served waits."""
    queue = make_queue()
    order: list[str] = []

    @queue.task
    async def named(name: str) -> None:
        order.append(name)

    for name in ("b", "c", "a", "b", "a"):
        await named.using(queue=name).enqueue(name)
    await work_off(queue, concurrency=1, queues=["a", "b"])
    assert order == ["a", "a", "b", "b"]


async def test_progress_is_seen_while_the_task_runs():
    """Within two seconds, although nothing else is exchanged."""
    queue = make_queue()
    gate = asyncio.Event()

    @queue.task
    async def stepping() -> None:
        for step in range(1, 4):
            current_task().progress(step, 10, f"step {step}")
        await gate.wait()

    async with at_work(queue):
        handle = await stepping.enqueue()
        told_at = time.monotonic()
        progress = await awaited(handle.progress)
        assert progress is not None
        assert time.monotonic() - told_at < 2
        assert (progress.done, progress.total, progress.note) == (3.0, 10.0, "step 3")
        gate.set()
        await handle.result(timeout=20)


async def test_progress_outlasts_a_broker_that_is_away():
    """A task that tells it once tells it for good, whatever becomes of the call that was to carry it."""
    backend = FlakyBackend()
    queue, gate = TaskQueue(backend), asyncio.Event()

    @queue.task
    async def stepping() -> None:
        backend.faults.refuse["exchange"] = ENDLESS
        current_task().progress(1)
        await gate.wait()

    async with at_work(queue, poll_interval=0.05):
        handle = await stepping.enqueue()
        await eventually_async(lambda: backend.faults.refuse["exchange"])
        calls = backend.faults.calls["exchange"]
        await eventually_async(lambda: backend.faults.calls["exchange"] >= calls + 2)
        backend.faults.heal()
        assert await awaited(handle.progress)
        gate.set()
        await handle.result(timeout=20)


async def test_what_a_task_says_right_before_its_end_is_kept():
    """The last progress goes with the result."""
    queue = make_queue()

    @queue.task
    async def counts() -> int:
        current_task().progress(10, 10, "done")
        return 10

    async with at_work(queue):
        handle = await counts.enqueue()
        assert await handle.result(20) == 10
        progress = await handle.progress()
        assert progress is not None
        assert (progress.done, progress.note) == (10.0, "done")


async def test_progress_told_by_a_thread_is_seen_too():
    """A plain call, from anywhere."""
    queue = make_queue()
    gate = threading.Event()

    @queue.task
    def stepping() -> None:
        current_task().progress(1)
        gate.wait(20)

    async with at_work(queue):
        handle = await stepping.enqueue()
        assert await awaited(handle.progress)
        gate.set()
        await handle.result(timeout=20)


# What it cannot run ---------------------------------------------------------------------------------------------------


async def test_a_task_that_nobody_knows_is_passed_on_and_given_up_in_the_end():
    """Ten times within half an hour, no attempt spent; other messages are run meanwhile."""
    clock = StillClock()
    backend = MemoryBackend(clock=clock)
    newer, older = TaskQueue(backend), TaskQueue(backend)

    @newer.task
    async def fresh() -> None: ...

    @older.task
    async def known() -> str:
        return "known"

    async def passed_on() -> Record | None:
        """The message, once it waits for another worker, or has ended."""
        record = await record_of(newer, handle.id)
        return record if record.status.finished or (record.run_at or 0.0) > clock() else None

    handle, began, waits = await fresh.enqueue(), clock(), []
    async with at_work(older, poll_interval=0.02):
        while (record := await awaited(passed_on)) and record.run_at is not None and not record.status.finished:
            assert record.status is TaskStatus.PENDING
            assert await (await known.enqueue()).result(timeout=20) == "known"
            waits.append(record.run_at - clock())
            clock.advance(waits[-1])
    outcome = await handle.outcome(timeout=1)
    assert isinstance(outcome, ExecutionFailedError)
    assert outcome.reason == "unknown_task"
    assert (len(waits), waits) == (10, sorted(waits))
    assert 25 * 60 < clock() - began < 35 * 60


async def test_what_cannot_be_read_does_not_stop_the_worker():
    """Each is a dead letter of its own kind; what stands behind it runs."""
    backend = MemoryBackend()
    queue = TaskQueue(backend, QueueConfig(secret_keys=["the right key, long enough"]))
    forger = TaskQueue(backend, QueueConfig(secret_keys=["another key, long enough"]))

    async def answer() -> int:
        return 42

    task, forged = queue.task(answer), forger.task(answer)
    good, garbage, signed = task.message(), replace(task.message(), body=b"\xc1 garbage"), forged.message()
    await backend.put([garbage, signed, good])
    await work_off(queue)
    errors = [ErrorRecord.decode((await record_of(queue, one.id)).error or b"") for one in (garbage, signed)]
    assert [error.reason for error in errors] == [Reason.BAD_SIGNATURE, Reason.BAD_SIGNATURE]
    assert await queue.handle(good.id, type=int).result(timeout=1) == 42


# Lifespan -------------------------------------------------------------------------------------------------------------


async def test_providers_are_opened_once_in_order_and_closed_in_reverse():
    """Once for a worker, however many messages use them; closed when no task runs any more."""
    queue = make_queue()
    book: list[str] = []

    def provider(name: str):
        async def opened() -> AsyncIterator[str]:
            book.append(f"+{name}")
            yield name
            book.append(f"-{name}")

        return queue.lifespan(opened)

    one, two = provider("one"), provider("two")

    @queue.task
    async def using(number: int, first: str = Depends(one), second: str = Depends(two)) -> str:
        book.append("run")
        return f"{first}{second}{number}"

    @queue.task
    def using_in_thread(first: str = Depends(one)) -> str:
        return first

    async with at_work(queue):
        handles = await queue.enqueue_many(using.message(number) for number in range(3))
        assert [await handle.result(timeout=20) for handle in handles] == ["onetwo0", "onetwo1", "onetwo2"]
        assert await (await using_in_thread.enqueue()).result(timeout=20) == "one"
    assert book == ["+one", "+two", "run", "run", "run", "-two", "-one"]


async def test_a_provider_that_does_not_open_ends_the_run():
    """Before anything is claimed, with an error that names it."""
    queue = make_queue()

    @queue.lifespan
    async def pool() -> AsyncIterator[int]:
        raise OSError("database is down")
        yield 1

    @queue.task
    async def using(db: int = Depends(pool)) -> None: ...

    handle = await using.enqueue()
    with pytest.raises(QueueError, match="pool could not be opened"):
        await Worker(queue).run()
    assert (await record_of(queue, handle.id)).status is TaskStatus.PENDING
    assert await (await queue.backend()).workers() == []


async def test_a_provider_that_does_not_close_is_told_when_all_is_settled():
    """The message is not lost for it, nor does the worker stay on the list."""
    queue = make_queue()

    @queue.lifespan
    async def pool() -> AsyncIterator[int]:
        yield 1
        raise OSError("would not close")

    @queue.task
    async def using(db: int = Depends(pool)) -> int:
        return db

    handle = await using.enqueue()
    with pytest.raises(QueueError, match="pool could not be closed"):
        await Worker(queue).run(until_idle=True)
    assert await handle.result(timeout=5) == 1
    assert await (await queue.backend()).workers() == []
