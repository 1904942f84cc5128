"""Time limits and orders to cancel: what can be stopped is, and what cannot ends with its process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.context import current_task
from reinhardt_tasks.errors import TaskCancelledError, TaskTimeoutError
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.worker import ExitCode, Worker, WorkerConfig
from tests.eventually import eventually_async
from tests.workshop import at_work, awaited, reached, record_of

NO_RETRY = RetryStrategy.no_retry()


@pytest.fixture
def queue() -> TaskQueue:
    """A queue in memory."""
    return TaskQueue(MemoryBackend())


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets go of the threads and coroutines of a test that would not end otherwise."""
    event = threading.Event()
    yield event
    event.set()


# Time limits ----------------------------------------------------------------------------------------------------------


async def test_an_async_task_is_cancelled_at_its_limit(queue):
    """Its slot is free again, and its message ends as timed out."""

    @queue.task(timeout=0.05, retry=NO_RETRY)
    async def slow() -> None:
        await asyncio.Event().wait()

    @queue.task
    async def quick() -> str:
        return "quick"

    async with at_work(queue, concurrency=1):
        outcome = await (await slow.enqueue()).outcome(timeout=20)
        assert isinstance(outcome, TaskTimeoutError)
        assert outcome.reason == "timeout"
        assert await (await quick.enqueue()).result(timeout=20) == "quick"


async def test_a_timeout_is_retried_like_any_other_exception(queue):
    """With the attempts of its strategy."""

    @queue.task(timeout=0.02, retry=RetryStrategy.fixed_delay(0, max_retries=2))
    async def slow() -> None:
        await asyncio.Event().wait()

    async with at_work(queue):
        handle = await slow.enqueue()
        assert isinstance(await handle.outcome(timeout=20), TaskTimeoutError)
    assert (await record_of(queue, handle.id)).attempts == 3


async def test_a_thread_is_told_at_its_limit_and_recorded_when_it_ends(queue):
    """The slot is taken until then; the worker goes on."""

    @queue.task(timeout=0.05, retry=NO_RETRY)
    def heeding() -> None:
        while not current_task().cancelled:
            threading.Event().wait(0.002)
        raise RuntimeError("told to end")

    async with at_work(queue, concurrency=1) as worker:
        assert isinstance(await (await heeding.enqueue()).outcome(timeout=20), TaskTimeoutError)
    assert worker.exit_code is ExitCode.GRACEFUL


async def stuck_worker(queue: TaskQueue, **settings: float) -> tuple[Worker, asyncio.Task[None]]:
    """A worker with little patience, and its run."""
    worker = Worker(queue, WorkerConfig(**{"grace": 0.2, "shutdown_timeout": 0.5, **settings}))
    return worker, asyncio.create_task(worker.run())


@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
async def test_a_task_that_does_not_end_ends_its_worker(queue, release, in_thread):
    """Within the grace and two seconds; its message is retried, but only when the process is gone."""

    async def swallowing() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    def looping() -> None:
        while not release.is_set():
            release.wait(0.01)

    strategy = RetryStrategy.fixed_delay(0, max_retries=1)
    task = queue.task(timeout=0.1, retry=strategy)(looping if in_thread else swallowing)
    handle = await task.enqueue()
    began = time.monotonic()
    worker, running = await stuck_worker(queue)
    await asyncio.wait_for(running, 20)
    assert time.monotonic() - began < 0.1 + 0.2 + 2 + 1  # limit, grace, the promise, the closing of the slots
    assert worker.exit_code is ExitCode.STUCK
    record = await record_of(queue, handle.id)
    assert (record.status, record.attempts) == (TaskStatus.RETRY, 1)
    assert record.run_at is not None
    assert record.run_at - record.updated_at >= 1.0
    assert ErrorRecord.decode(record.error or b"").reason is Reason.TIMEOUT
    release.set()


async def test_the_last_attempt_of_a_task_that_does_not_end_is_a_dead_letter(queue, release):
    """With the reason `timeout`."""

    @queue.task(timeout=0.1, retry=NO_RETRY)
    def looping() -> None:
        release.wait()

    handle = await looping.enqueue()
    _, running = await stuck_worker(queue)
    await asyncio.wait_for(running, 20)
    outcome = await handle.outcome(timeout=1)
    assert isinstance(outcome, TaskTimeoutError)


async def test_the_others_finish_before_a_stuck_worker_ends(queue, release, caplog):
    """It drains like any other: nothing new is started, what runs gets its time."""
    gate = asyncio.Event()

    @queue.task(timeout=0.1)
    def looping() -> None:
        release.wait()

    @queue.task
    async def waiting() -> str:
        await gate.wait()
        return "finished"

    stuck, other = await looping.enqueue(), await waiting.enqueue()
    worker, running = await stuck_worker(queue, shutdown_timeout=20)
    await eventually_async(lambda: "task_stuck" in caplog.text)
    late = await waiting.enqueue()
    gate.set()
    await asyncio.wait_for(running, 20)
    assert worker.exit_code is ExitCode.STUCK
    assert await other.result(timeout=1) == "finished"
    assert [await handle.status() for handle in (late, stuck)] == [TaskStatus.PENDING, TaskStatus.RETRY]
    assert await (await queue.backend()).workers() == []


async def test_what_does_not_end_is_settled_when_all_else_is_closed(queue, release):
    """Nobody is given the message while this process still closes what its tasks used."""
    seen: list[TaskStatus] = []

    @queue.lifespan
    async def pool() -> AsyncIterator[int]:
        yield 1
        seen.append((await record_of(queue, handle.id)).status)

    @queue.task(timeout=0.1)
    def looping(db: int = Depends(pool)) -> None:
        release.wait()

    handle = await looping.enqueue()
    _, running = await stuck_worker(queue)
    await asyncio.wait_for(running, 20)
    assert seen == [TaskStatus.RUNNING]
    assert (await record_of(queue, handle.id)).status is TaskStatus.RETRY


async def test_a_provider_that_waits_for_a_stuck_task_does_not_keep_the_worker(queue, release):
    """Such as a pool that waits for its last connection to come back."""
    closing: list[str] = []

    @queue.lifespan
    async def pool() -> AsyncIterator[int]:
        yield 1
        closing.append("waits")
        await asyncio.Event().wait()

    @queue.task(timeout=0.1)
    def looping(db: int = Depends(pool)) -> None:
        release.wait()

    await looping.enqueue()
    worker, running = await stuck_worker(queue)
    await asyncio.wait_for(running, 10)
    assert closing == ["waits"]
    assert worker.exit_code is ExitCode.STUCK


async def test_a_thread_that_outlasts_a_shutdown_goes_back(queue, release):
    """No attempt spent; the worker says that something was left behind."""

    @queue.task
    def looping() -> None:
        release.wait()

    handle = await looping.enqueue()
    worker, running = await stuck_worker(queue, shutdown_timeout=0.1)
    await reached(queue, handle.id, TaskStatus.RUNNING)
    worker.stop()
    await asyncio.wait_for(running, 20)
    record = await record_of(queue, handle.id)
    assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)
    assert worker.exit_code is ExitCode.STUCK


@contextlib.contextmanager
def in_a_thread(queue: TaskQueue, **settings: float) -> Iterator[Worker]:
    """A worker whose loop the test does not share, and so may block."""
    worker = Worker(queue, WorkerConfig(**settings))
    thread = threading.Thread(target=worker.run_sync)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)
    assert not thread.is_alive()


async def lease_of(queue: TaskQueue) -> int:
    """Let the dead be found, and say how many losses the one message there is has seen."""
    backend = await queue.backend()
    await backend.sweep()
    return (await backend.find())[0].losses


async def test_a_blocked_loop_keeps_its_lease(queue, release):
    """The heartbeat has a thread of its own: what blocks for much longer than the lease runs once."""
    begun = threading.Event()

    @queue.task
    async def blocking() -> str:
        begun.set()
        release.wait(20)  # blocks the loop
        return "once"

    handle = await blocking.enqueue()
    with in_a_thread(queue, lease=0.3):
        await asyncio.to_thread(begun.wait, 20)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert await lease_of(queue) == 0
            await asyncio.sleep(0.02)
        release.set()
        assert await handle.result(timeout=20) == "once"


async def test_a_loop_blocked_far_beyond_the_limit_forfeits_its_lease(queue, release):
    """What hangs there is not kept from the others for ever; the late outcome is refused."""
    runs: list[int] = []

    @queue.task(timeout=0.05)
    async def blocking() -> int:
        runs.append(len(runs) + 1)
        if len(runs) == 1:
            release.wait(20)  # blocks the loop, so that no limit can be enforced
        return runs[-1]

    handle = await blocking.enqueue()
    with in_a_thread(queue, lease=0.3, grace=0.1):

        async def lost() -> int:
            return await lease_of(queue)

        assert await awaited(lost) == 1
        release.set()
        assert await handle.result(timeout=20) == 2
    assert runs == [1, 2]


# Orders to cancel -----------------------------------------------------------------------------------------------------


async def test_a_waiting_message_is_cancelled_at_once(queue):
    """It never starts."""
    ran: list[int] = []

    @queue.task
    async def noting() -> None:
        ran.append(1)

    handle = await noting.enqueue()
    assert await handle.cancel()
    assert isinstance(await handle.outcome(timeout=1), TaskCancelledError)
    async with at_work(queue):
        await asyncio.sleep(0.05)
    assert ran == []


async def test_a_message_fetched_ahead_is_cancelled_before_it_starts(queue):
    """The worker takes it out of its line."""
    ran: list[int] = []
    gate = asyncio.Event()

    @queue.task
    async def waiting(number: int) -> None:
        ran.append(number)
        await gate.wait()

    async with at_work(queue, concurrency=1, prefetch=3):
        handles = await queue.enqueue_many(waiting.message(number) for number in range(3))
        await reached(queue, handles[2].id, TaskStatus.RUNNING)
        assert await handles[1].cancel()
        outcome = await handles[1].outcome(timeout=5)
        assert isinstance(outcome, TaskCancelledError)
        gate.set()
        await handles[2].result(timeout=20)
    assert ran == [0, 2]


async def test_a_running_task_is_cancelled(queue):
    """Within a second; it may clean up."""
    book: list[str] = []

    @queue.task
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            book.append("cleaned up")

    async with at_work(queue) as worker:
        handle = await endless.enqueue()
        await reached(queue, handle.id, TaskStatus.RUNNING)
        asked_at = time.monotonic()
        assert await handle.cancel()
        assert isinstance(await handle.outcome(timeout=5), TaskCancelledError)
        assert time.monotonic() - asked_at < 1
    assert book == ["cleaned up"]
    assert worker.exit_code is ExitCode.GRACEFUL


async def test_a_running_thread_heeds_the_order(queue):
    """By asking now and then."""

    @queue.task
    def polling() -> None:
        while True:
            current_task().raise_if_cancelled()
            threading.Event().wait(0.002)

    async with at_work(queue):
        handle = await polling.enqueue()
        await reached(queue, handle.id, TaskStatus.RUNNING)
        assert await handle.cancel()
        assert isinstance(await handle.outcome(timeout=5), TaskCancelledError)


async def test_a_result_that_comes_before_the_order_is_heeded_counts(queue):
    """The work is done."""
    gate = threading.Event()

    @queue.task
    def finishing() -> str:
        gate.wait(20)
        return "done"

    async with at_work(queue):
        handle = await finishing.enqueue()
        await reached(queue, handle.id, TaskStatus.RUNNING)
        assert await handle.cancel()
        gate.set()
        assert await handle.result(timeout=20) == "done"
        assert not await handle.cancel()


async def test_a_thread_that_ignores_the_order_ends_its_worker(queue, release):
    """As one that ignores its time limit; the message ends as cancelled."""

    @queue.task
    def ignoring() -> None:
        release.wait()

    handle = await ignoring.enqueue()
    worker, running = await stuck_worker(queue)
    await reached(queue, handle.id, TaskStatus.RUNNING)
    await eventually_async(lambda: worker.exit_code is ExitCode.GRACEFUL)
    assert await handle.cancel()
    await asyncio.wait_for(running, 20)
    assert worker.exit_code is ExitCode.STUCK
    assert isinstance(await handle.outcome(timeout=1), TaskCancelledError)
