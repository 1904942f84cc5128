"""How a worker ends: stopped, idle, drained, recycled, cancelled, broken; and how it waits for its broker."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import current_task
from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.worker import ExitCode, Worker, WorkerConfig
from tests.eventually import eventually, eventually_async
from tests.workshop import ENDLESS, FlakyBackend, at_work, awaited, reached, record_of, work_off


def make_queue(**settings) -> TaskQueue:
    """A queue in memory."""
    return TaskQueue(MemoryBackend(), QueueConfig(**settings))


# How it ends ----------------------------------------------------------------------------------------------------------


async def test_until_idle_ends_when_all_is_done():
    """Also with tasks that take a while, and messages that tasks enqueue."""
    queue = make_queue()
    done: list[int] = []

    @queue.task
    async def counting(number: int) -> None:
        await asyncio.sleep(0.01)
        done.append(number)
        if number:
            await counting.enqueue(number - 1)

    await counting.enqueue(5)
    worker = await work_off(queue)
    assert done == [5, 4, 3, 2, 1, 0]
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_a_worker_may_run_again():
    """Each run registers anew, under an id of its own, and ends by itself."""
    queue = make_queue()
    seen: list[str | None] = []

    @queue.task
    async def noting(number: int) -> None:
        seen.append((await record_of(queue, current_task().id)).worker)

    worker = Worker(queue)
    for number in range(2):
        await noting.enqueue(number)
        await asyncio.wait_for(worker.run(until_idle=True), 20)
    assert len(set(seen)) == 2
    assert seen[1] == worker.id
    assert await (await queue.backend()).workers() == []


async def test_two_runs_at_a_time_are_refused():
    """They would take each other for dead."""
    async with at_work(make_queue()) as worker:
        with pytest.raises(QueueError, match="runs already"):
            await worker.run()


def test_stop_reaches_a_worker_in_another_thread():
    """It ends as from a signal: what runs is finished."""
    queue = make_queue()
    running, gate = threading.Event(), threading.Event()

    @queue.task
    def waiting() -> str:
        running.set()
        gate.wait(20)
        return "finished"

    handle = waiting.enqueue_sync()
    worker = Worker(queue)
    thread = threading.Thread(target=worker.run_sync)
    thread.start()
    assert running.wait(20)
    worker.stop()
    assert thread.is_alive()
    gate.set()
    thread.join(20)
    assert not thread.is_alive()
    assert handle.result_sync(timeout=5) == "finished"
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_a_stop_before_the_run_ends_it_at_once():
    """Whoever stops a worker that is just being started means it."""
    queue = make_queue()
    ran: list[int] = []

    @queue.task
    async def noting() -> None:
        ran.append(1)

    await noting.enqueue()
    worker = Worker(queue)
    worker.stop()
    await asyncio.wait_for(worker.run(), 20)
    assert ran == []
    await asyncio.wait_for(worker.run(until_idle=True), 20)
    assert ran == [1]


async def test_running_tasks_are_finished_and_the_rest_goes_back():
    """After a stop nothing more is started."""
    queue = make_queue()
    gate, begun = asyncio.Event(), []

    @queue.task
    async def waiting(number: int) -> int:
        begun.append(number)
        await gate.wait()
        return number

    handles = await queue.enqueue_many(waiting.message(number) for number in range(6))
    worker = Worker(queue, WorkerConfig(concurrency=2, prefetch=2))
    running = asyncio.create_task(worker.run())
    await eventually_async(lambda: len(begun) == 2)
    assert (await record_of(queue, handles[3].id)).status is TaskStatus.RUNNING  # fetched ahead
    worker.stop()
    record = await reached(queue, handles[3].id, TaskStatus.PENDING)
    assert (record.attempts, record.losses, record.worker) == (0, 0, None)
    gate.set()
    await asyncio.wait_for(running, 20)
    assert [await handle.status() for handle in handles] == [TaskStatus.SUCCESS] * 2 + [TaskStatus.PENDING] * 4
    assert begun == [0, 1]


async def test_tasks_that_outlast_the_grace_are_cancelled_and_go_back():
    """No attempt is spent, no loss counted: another worker runs them."""
    queue = make_queue()
    book: list[str] = []

    @queue.task
    async def endless() -> None:
        try:
            book.append("begun")
            await asyncio.Event().wait()
        finally:
            book.append("cancelled")

    handle = await endless.enqueue()
    worker = Worker(queue, WorkerConfig(shutdown_timeout=0.05))
    running = asyncio.create_task(worker.run())
    await eventually_async(lambda: book == ["begun"])
    worker.stop()
    await asyncio.wait_for(running, 20)
    record = await record_of(queue, handle.id)
    assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)
    assert book == ["begun", "cancelled"]
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_an_order_to_drain_ends_the_worker():
    """From the command line or a dashboard, through the backend."""
    queue = make_queue()
    worker = Worker(queue, WorkerConfig(lease=0.6))
    running = asyncio.create_task(worker.run())
    backend = await queue.backend()
    await awaited(backend.workers)
    assert await backend.drain(worker.id)
    await asyncio.wait_for(running, 20)
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_a_cancelled_run_gives_everything_back():
    """A program that ends its worker's asyncio task gets what `stop` gives."""
    queue = make_queue()
    begun = asyncio.Event()

    @queue.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    handle = await endless.enqueue()
    running = asyncio.create_task(Worker(queue, WorkerConfig(shutdown_timeout=0.05)).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert (await record_of(queue, handle.id)).status is TaskStatus.PENDING
    assert await (await queue.backend()).workers() == []


def test_a_loop_that_ends_gives_everything_back():
    """Everything in it is cancelled at once; no message counts as failed."""
    backend = MemoryBackend()
    queue = TaskQueue(backend)

    @queue.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> object:
        handle = await endless.enqueue()
        kept.add(asyncio.create_task(Worker(queue, WorkerConfig(shutdown_timeout=0.05)).run()))
        await begun.wait()
        return handle

    begun, kept = asyncio.Event(), set()
    handle = asyncio.run(main())
    assert handle.status_sync() is TaskStatus.PENDING
    assert eventually(lambda: asyncio.run(backend.sibling().workers()) == [])


async def test_a_worker_recycles_after_its_share_of_messages():
    """It drains and ends with a code that asks for a new one; what is left waits for that."""
    queue = make_queue()

    @queue.task
    async def nothing() -> None:
        await asyncio.sleep(0.03)

    await queue.enqueue_many(nothing.message() for _ in range(60))
    worker = Worker(queue, WorkerConfig(concurrency=1, max_tasks=5))
    await asyncio.wait_for(worker.run(), 20)
    assert worker.exit_code is ExitCode.RECYCLED
    by_status = (await (await queue.backend()).counts())[0].by_status
    assert by_status[TaskStatus.SUCCESS] >= 5
    assert by_status[TaskStatus.PENDING] >= 30
    assert set(by_status) == {TaskStatus.SUCCESS, TaskStatus.PENDING}


async def test_a_worker_that_has_grown_too_large_recycles():
    """By its resident memory."""
    worker = Worker(make_queue(), WorkerConfig(max_memory=1))
    await asyncio.wait_for(worker.run(), 20)
    assert worker.exit_code is ExitCode.RECYCLED


# The broker at the start, and when there is nothing to do -------------------------------------------------------------


async def test_it_waits_for_a_broker_that_is_away():
    """And works when it comes."""
    backend = FlakyBackend()
    queue = TaskQueue(backend)

    @queue.task
    async def answer() -> int:
        return 42

    backend.faults.refuse["open"] = 4
    async with at_work(queue):
        await eventually_async(lambda: not backend.faults.refuse["open"])
        assert await (await answer.enqueue()).result(timeout=20) == 42


@pytest.mark.parametrize("verb", ["open", "beat"])
async def test_it_can_be_stopped_while_the_broker_is_away(verb):
    """A signal is not for later."""
    backend = FlakyBackend()
    backend.faults.refuse[verb] = ENDLESS
    worker = Worker(TaskQueue(backend))
    running = asyncio.create_task(worker.run())
    await eventually_async(lambda: backend.faults.calls[verb] >= 2)
    worker.stop()
    await asyncio.wait_for(running, 5)


async def test_what_a_backend_refuses_for_good_is_raised():
    """Nothing would get better by waiting."""
    backend = FlakyBackend()
    backend.faults.break_with["open"] = ConfigurationError("no such place")
    with pytest.raises(ConfigurationError, match="no such place"):
        await asyncio.wait_for(Worker(TaskQueue(backend)).run(), 20)


@pytest.mark.parametrize("verb", ["exchange", "beat", "wait"])
async def test_a_defect_ends_the_worker_with_its_error(verb, caplog):
    """It does not go on as if it were well; whoever started it starts another."""
    backend = FlakyBackend()
    queue = TaskQueue(backend)
    worker = Worker(queue, WorkerConfig(lease=0.6, shutdown_timeout=1, poll_interval=0.05))
    running = asyncio.create_task(worker.run())
    await eventually_async(lambda: backend.faults.calls["wait"])
    backend.faults.break_with[verb] = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(running, 20)
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert eventually(lambda: "reinhardt-heartbeat" not in {thread.name for thread in threading.enumerate()})


async def test_an_idle_worker_hardly_calls_its_backend():
    """At most five calls in a second, with the default settings; and it looks though nothing wakes it."""
    backend = FlakyBackend()
    async with at_work(TaskQueue(backend)):
        await eventually_async(lambda: backend.faults.calls["wait"])
        before = backend.faults.calls.copy()
        await asyncio.sleep(2)
        made = backend.faults.calls - before
    assert made.total() <= 10
    assert made["wait"] >= 1


async def test_a_message_starts_at_once_in_an_idle_worker():
    """It is told, it does not look."""
    queue = make_queue()

    @queue.task
    async def answer() -> float:
        return time.monotonic()

    async with at_work(queue, poll_interval=60):
        await asyncio.sleep(0.05)
        for _ in range(5):
            enqueued_at = time.monotonic()
            assert await (await answer.enqueue()).result(timeout=20) - enqueued_at < 1
