"""A run ends in one outcome, whatever its task raises and whoever stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import current_task
from reinhardt_tasks.errors import SerializationError, SignatureError, TaskCancelledError
from reinhardt_tasks.message import Claim, Outcome, OutcomeKind, Reason
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import Retry, RetryStrategy
from reinhardt_tasks.run import Cause
from reinhardt_tasks.runner import Runner
from tests.eventually import eventually_async
from tests.workshop import claim_of, error_in, outcome_of

NO_RETRY = RetryStrategy.no_retry()


def make_queue(**settings: Any) -> TaskQueue:
    """A queue whose backend is not needed here."""
    return TaskQueue(MemoryBackend(), QueueConfig(**settings))


async def ended_with(error: Callable[[], BaseException], *, in_thread: bool = False, **options: Any) -> Outcome:
    """The outcome of a task that raises `error()`."""
    queue = make_queue()

    def raising() -> None:
        raise error()

    async def raising_async() -> None:
        raise error()

    task = queue.task(**options)(raising if in_thread else raising_async)
    return await outcome_of(queue, task.message())


# What tasks raise -----------------------------------------------------------------------------------------------------


async def test_an_exception_is_retried_by_the_queue_s_default():
    """As often as QueueConfig.max_retries says; then the message fails for good, its retries spent."""
    queue = make_queue(max_retries=2)

    @queue.task
    async def failing() -> None:
        raise ValueError("no")

    outcomes = [await outcome_of(queue, failing.message(), attempts=attempts) for attempts in range(3)]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RETRY, OutcomeKind.RETRY, OutcomeKind.FAILURE]
    assert error_in(outcomes[0]).reason is Reason.FAILED
    assert error_in(outcomes[2]).reason is Reason.RETRIES_SPENT
    assert error_in(outcomes[2]).message == "no"


async def test_the_wait_follows_the_strategy():
    """It grows with each attempt."""
    strategy = RetryStrategy.exponential_backoff(initial_delay=2, multiplier=3, jitter=False)
    queue = make_queue()

    @queue.task(retry=strategy)
    async def failing() -> None:
        raise ValueError

    outcomes = [await outcome_of(queue, failing.message(), attempts=attempts) for attempts in range(3)]
    assert [outcome.delay for outcome in outcomes] == [2.0, 6.0, 18.0]


async def test_a_task_may_say_when_it_runs_again():
    """`Retry(after=…)` goes before the strategy's own wait, and counts as an attempt like any other."""
    asked = await ended_with(lambda: Retry(after=7), retry=RetryStrategy.fixed_delay(1))
    assert (asked.kind, asked.delay) == (OutcomeKind.RETRY, 7.0)
    spent = await ended_with(lambda: Retry("still not there", after=7), retry=NO_RETRY)
    assert spent.kind is OutcomeKind.FAILURE
    assert error_in(spent).message == "still not there"


async def test_kinds_of_errors_decide():
    """`retry_on` and `give_up_on`."""
    picky = RetryStrategy(retry_on=(LookupError,), give_up_on=(KeyError,))
    assert (await ended_with(IndexError, retry=picky)).kind is OutcomeKind.RETRY
    gave_up = await ended_with(KeyError, retry=picky)
    assert (gave_up.kind, error_in(gave_up).reason) == (OutcomeKind.FAILURE, Reason.FAILED)
    assert (await ended_with(ValueError, retry=picky)).kind is OutcomeKind.FAILURE


ODD_ERRORS = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, BaseException]


@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
@pytest.mark.parametrize("kind", ODD_ERRORS)
async def test_what_would_end_a_program_ends_only_the_message(kind, in_thread):
    """Raised by the task itself, it is a failure like any other; no exception comes out of the runner."""
    outcome = await ended_with(kind, in_thread=in_thread)
    assert outcome.kind is OutcomeKind.FAILURE
    assert error_in(outcome).type.endswith(kind.__name__)


@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
async def test_a_stop_iteration_arrives_as_python_s_runtime_error(in_thread):
    """A coroutine cannot raise one; it does not hang either."""
    outcome = await asyncio.wait_for(ended_with(StopIteration, in_thread=in_thread, retry=NO_RETRY), 10)
    assert outcome.kind is OutcomeKind.FAILURE
    assert "StopIteration" in error_in(outcome).message


async def test_errors_of_this_package_raised_by_a_task_are_failures():
    """A task that calls the codec, or asks for another's result, has its own errors."""
    for kind in (SerializationError, SignatureError, TaskCancelledError):
        outcome = await ended_with(lambda kind=kind: kind("mine"), retry=NO_RETRY)
        assert (outcome.kind, error_in(outcome).reason) == (OutcomeKind.FAILURE, Reason.FAILED)


class PickyError(Exception):
    """Does not survive pickle, nor does it say itself."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_an_error_that_neither_pickles_nor_says_itself_is_a_failure():
    """Errors travel as text."""
    outcome = await ended_with(lambda: PickyError(1, 2), retry=NO_RETRY)
    assert error_in(outcome).type.endswith("PickyError")


async def test_the_runner_s_own_cancellation_goes_on():
    """Whoever awaits the runner may cancel it; that is no outcome of the message."""
    queue = make_queue()
    started = asyncio.Event()

    @queue.task
    async def waiting() -> None:
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(outcome_of(queue, waiting.message()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_runner_that_is_closed_closes_its_task():
    """As a loop does with what is left at its end: nothing more is awaited."""
    queue = make_queue()
    book: list[str] = []

    @queue.task
    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            book.append("closed")

    runner = Runner(queue, values={})
    running = asyncio.create_task(runner.run(claim_of(waiting.message())))
    await eventually_async(lambda: len(runner.running))
    coroutine = running.get_coro()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, coroutine.close)  # from where no task is the current one
    assert book == ["closed"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# Time limits and other ends from outside ------------------------------------------------------------------------------


async def test_a_task_over_its_limit_is_cancelled():
    """It may clean up; then the message is retried like after any other exception."""
    queue = make_queue()
    book: list[str] = []

    @queue.task(timeout=0.02)
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            book.append("cleaned up")

    outcome = await outcome_of(queue, slow.message())
    assert (outcome.kind, error_in(outcome).reason) == (OutcomeKind.RETRY, Reason.TIMEOUT)
    assert "0.02 s" in error_in(outcome).message
    assert "in slow" in error_in(outcome).traceback
    assert book == ["cleaned up"]
    last = await outcome_of(queue, slow.message(), attempts=3)
    assert (last.kind, error_in(last).reason) == (OutcomeKind.FAILURE, Reason.TIMEOUT)


async def test_a_call_may_lift_or_set_the_limit():
    """`using(timeout=…)` goes before the task's own."""
    queue = make_queue()

    @queue.task(timeout=0.01)
    async def pausing(seconds: float) -> None:
        await asyncio.sleep(seconds)

    assert (await outcome_of(queue, pausing.using(timeout=None).message(0.05))).kind is OutcomeKind.SUCCESS
    assert (await outcome_of(queue, pausing.using(timeout=20).message(0.05))).kind is OutcomeKind.SUCCESS
    assert (await outcome_of(queue, pausing.using(timeout=0.02).message(20))).kind is OutcomeKind.RETRY


async def test_a_result_that_comes_in_spite_of_the_limit_counts():
    """The work is done; to run it again would be a waste."""
    queue = make_queue()

    @queue.task(timeout=0.01)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return "never"

    assert (await outcome_of(queue, stubborn.message())).kind is OutcomeKind.SUCCESS


async def test_a_slot_survives_the_end_of_its_task():
    """The cancellation is over with the message: what the same asyncio task awaits next is not cancelled."""
    queue = make_queue()

    @queue.task(timeout=0.01)
    async def slow() -> None:
        await asyncio.Event().wait()

    await outcome_of(queue, slow.message())
    await asyncio.sleep(0)
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def test_a_thread_over_its_limit_is_told_and_its_end_is_recorded():
    """It cannot be stopped; when it heeds, the message ends as timed out, when it returns, with its result."""
    queue = make_queue()

    @queue.task(timeout=0.02)
    def heeding() -> None:
        while True:
            current_task().raise_if_cancelled()
            threading.Event().wait(0.001)

    @queue.task(timeout=0.02)
    def finishing() -> str:
        while not current_task().cancelled:
            threading.Event().wait(0.001)
        return "done"

    heeded = await outcome_of(queue, heeding.message())
    assert (heeded.kind, error_in(heeded).reason) == (OutcomeKind.RETRY, Reason.TIMEOUT)
    assert (await outcome_of(queue, finishing.message())).kind is OutcomeKind.SUCCESS


async def stopped(cause: Cause, *, in_thread: bool = False) -> Outcome:
    """The outcome of a run that is stopped for `cause`, and heeds that."""
    queue = make_queue()

    async def waiting() -> None:
        await asyncio.Event().wait()

    def polling() -> None:
        while True:
            current_task().raise_if_cancelled()
            threading.Event().wait(0.001)

    task = queue.task(polling if in_thread else waiting)
    runner = Runner(queue, values={})
    running = asyncio.create_task(runner.run(claim_of(task.message())))
    run = next(iter(await eventually_async(lambda: list(runner.running))))
    run.stop(cause)
    run.stop(Cause.TIMEOUT)  # the first word counts
    outcome = await running
    assert not runner.running
    return outcome


@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
async def test_a_cancelled_run_ends_as_cancelled(in_thread):
    """Not as a failure."""
    outcome = await stopped(Cause.CANCEL, in_thread=in_thread)
    assert (outcome.kind, error_in(outcome).reason) == (OutcomeKind.CANCELLED, Reason.CANCELLED)


@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
async def test_a_run_cut_short_by_a_shutdown_spends_no_attempt(in_thread):
    """It goes back to where it was in line."""
    outcome = await stopped(Cause.SHUTDOWN, in_thread=in_thread)
    assert (outcome.kind, outcome.delay, outcome.unknown) == (OutcomeKind.RELEASE, 0.0, False)


async def test_a_task_that_heeds_a_warning_spends_no_attempt():
    """A worker in doubt about its lease tells its tasks; one that ends for that reason has not failed."""
    queue = make_queue()
    told = asyncio.Event()

    @queue.task(retry=NO_RETRY)
    async def heeding() -> None:
        await told.wait()
        current_task().raise_if_cancelled()

    runner = Runner(queue, values={})
    running = asyncio.create_task(runner.run(claim_of(heeding.message())))
    next(iter(await eventually_async(lambda: list(runner.running)))).tell()
    told.set()
    outcome = await running
    assert (outcome.kind, outcome.delay) == (OutcomeKind.RELEASE, 0.0)


async def test_the_same_message_may_run_twice_here():
    """After a lost lease the first run may still be under way when this worker is given the message again."""
    queue = make_queue()
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[int] = []

    @queue.task
    async def waiting() -> int:
        begun.append(len(begun))
        mine = begun[-1]
        await gates[mine].wait()
        return mine

    runner = Runner(queue, values={})
    message = waiting.message()
    first = asyncio.create_task(runner.run(Claim(message.id, 1, message.body)))
    second = asyncio.create_task(runner.run(Claim(message.id, 2, message.body)))
    await eventually_async(lambda: len(begun) == 2)
    assert len(runner.running) == 2
    gates[0].set()
    assert (await first).number == 1
    assert len(runner.running) == 1
    gates[1].set()
    assert (await second).kind is OutcomeKind.SUCCESS
    assert not runner.running
