"""The thread pool: calls run in daemon threads, and a call that its caller left keeps its thread until it ends."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import weakref

import pytest

from reinhardt_tasks.worker.threads import ThreadPool
from tests.eventually import eventually, eventually_async

TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")


async def call(pool: ThreadPool, function, *args, **kwargs):
    """What the pool makes of a call, in a copy of the context at hand."""
    return await pool.run(function, args, kwargs, contextvars.copy_context())


def names_of_threads(prefix: str) -> set[str]:
    """The names of the threads there are now that begin so."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)}


async def test_a_call_brings_back_what_the_function_returns():
    """Arguments go in, the value comes out, and the loop's own thread did not run it."""
    pool = ThreadPool(1)
    assert await call(pool, divmod, 7, 2) == (3, 1)
    assert await call(pool, int, "ff", base=16) == 255
    assert await call(pool, threading.get_ident) != threading.get_ident()
    pool.close()


async def test_a_call_raises_what_the_function_raises():
    """The very exception, with the traceback of the place that raised it."""
    pool = ThreadPool(1)
    error = LookupError("no such row")

    def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        await call(pool, fail)
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"
    pool.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_no_exception_ends_a_thread(error):
    """What would end a program reaches the caller, and the thread takes the next call."""
    pool = ThreadPool(1)

    def fail():
        raise error

    with pytest.raises(type(error)):
        await call(pool, fail)
    assert await call(pool, abs, -1) == 1
    pool.close()


async def test_stop_iteration_arrives_as_a_runtime_error():
    """It cannot be raised into a coroutine; Python turns it into a RuntimeError, as it does with a coroutine's own."""
    pool = ThreadPool(1)
    with pytest.raises(RuntimeError) as caught:
        await call(pool, next, iter(()))
    assert isinstance(caught.value.__cause__, StopIteration)
    pool.close()


async def test_a_call_sees_the_context_it_was_given_and_changes_only_that():
    """Context variables set for the message are seen in the thread; what the function sets stays in its own context."""
    pool = ThreadPool(1)
    TENANT.set("outside")
    context = contextvars.copy_context()
    context.run(TENANT.set, "a")

    def swap() -> str:
        seen = TENANT.get()
        TENANT.set("b")
        return seen

    assert await pool.run(swap, (), {}, context) == "a"
    assert context[TENANT] == "b"
    assert TENANT.get() == "outside"
    pool.close()


async def test_threads_are_started_only_when_none_is_free():
    """One call after the other needs one thread."""
    pool = ThreadPool(8, name="lazy")
    assert names_of_threads("lazy") == set()
    for number in range(20):
        await call(pool, abs, number)
    assert names_of_threads("lazy") == {"lazy-1"}
    pool.close()


async def test_as_many_calls_run_at_the_same_time_as_there_are_threads():
    """Four calls that wait for each other all go on; with a thread less they would never meet."""
    pool = ThreadPool(4, name="four")
    meeting = threading.Barrier(4, timeout=20)
    await asyncio.gather(*(call(pool, meeting.wait) for _ in range(4)))
    assert len(names_of_threads("four")) == 4
    pool.close()


async def test_calls_beyond_the_size_wait_their_turn_in_order():
    """No further thread is started for them."""
    pool = ThreadPool(1, name="turn")
    done: list[int] = []
    go = threading.Event()
    first = asyncio.ensure_future(call(pool, go.wait, 20))
    others = [asyncio.ensure_future(call(pool, done.append, number)) for number in range(5)]
    await asyncio.sleep(0)
    assert pool.busy == 6
    assert done == []
    go.set()
    await asyncio.gather(first, *others)
    assert done == [0, 1, 2, 3, 4]
    assert names_of_threads("turn") == {"turn-1"}
    assert pool.busy == 0
    pool.close()


async def leave_running(pool: ThreadPool, function, *args) -> None:
    """Begin a call, wait until it runs, and cancel its caller."""
    running = threading.Event()

    def begin():
        running.set()
        return function(*args)

    caller = asyncio.ensure_future(call(pool, begin))
    await eventually_async(running.is_set)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_whose_caller_left_keeps_its_thread_until_it_ends(fails):
    """A thread cannot be stopped; however it ends, that is nobody's business any more, and the next call is run."""
    pool = ThreadPool(1)
    go = threading.Event()

    def late():
        go.wait(20)
        if fails:
            raise LookupError("late")

    await leave_running(pool, late)
    following = asyncio.ensure_future(call(pool, abs, -2))
    await asyncio.sleep(0)
    assert (pool.busy, following.done()) == (2, False)
    go.set()
    assert await following == 2
    assert pool.busy == 0
    pool.close()


async def test_a_call_whose_caller_left_before_it_began_is_never_run():
    """Nobody wants it any more; the thread goes on with the next."""
    pool = ThreadPool(1)
    go = threading.Event()
    ran: list[str] = []
    first = asyncio.ensure_future(call(pool, go.wait, 20))
    unwanted = asyncio.ensure_future(call(pool, ran.append, "unwanted"))
    wanted = asyncio.ensure_future(call(pool, ran.append, "wanted"))
    await asyncio.sleep(0)
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    assert pool.busy == 2
    go.set()
    await asyncio.gather(first, wanted)
    assert ran == ["wanted"]
    assert pool.busy == 0
    pool.close()


async def test_a_caller_may_leave_just_as_its_call_ends():
    """Cancelled when the answer is on its way back already: it stays cancelled, and the call is counted out once."""
    pool = ThreadPool(1)
    ended = threading.Event()
    caller = asyncio.ensure_future(call(pool, abs, -1))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(call(pool, ended.set))  # one thread, in order: the first has ended when this has
    await asyncio.sleep(0)
    assert ended.wait(20)  # on purpose without the loop: it cannot have seen either end
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await second
    assert pool.busy == 0
    pool.close()


async def test_values_are_not_kept_alive_by_an_idle_thread():
    """Argument, result and exception can go when the caller lets them go."""
    pool = ThreadPool(1)

    class Big:
        pass

    def fail(big):
        raise LookupError(big)

    big = Big()
    kept = weakref.ref(big)
    assert await call(pool, lambda given: given, big) is big
    with pytest.raises(LookupError):
        await call(pool, fail, big)
    del big
    eventually(lambda: kept() is None)
    pool.close()


async def test_a_closed_pool_ends_its_threads_and_takes_no_call():
    """What was handed over before is still run."""
    pool = ThreadPool(3, name="closing")
    meeting = threading.Barrier(3, timeout=20)
    await asyncio.gather(*(call(pool, meeting.wait) for _ in range(3)))
    last = asyncio.ensure_future(call(pool, abs, -3))
    await asyncio.sleep(0)
    pool.close()
    assert await last == 3
    eventually(lambda: not names_of_threads("closing"))
    with pytest.raises(RuntimeError, match="closed"):
        await call(pool, abs, 1)


def test_a_call_may_end_after_its_loop_was_closed():
    """The thread has nobody to tell, and goes on without an error (an uncaught one would fail this test)."""
    pool = ThreadPool(1, name="orphan")
    go = threading.Event()
    asyncio.run(leave_running(pool, go.wait, 20))
    pool.close()
    go.set()
    eventually(lambda: not names_of_threads("orphan"))


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_has_a_thread_at_least(size):
    """A pool that could run nothing is refused when it is made."""
    with pytest.raises(ValueError, match="at least one thread"):
        ThreadPool(size)


STUCK = """
import asyncio, contextvars, threading
from reinhardt_tasks.worker.threads import ThreadPool

async def main():
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    def stuck():
        loop.call_soon_threadsafe(running.set)
        threading.Event().wait()
    caller = asyncio.ensure_future(ThreadPool(1).run(stuck, (), {}, contextvars.copy_context()))
    await running.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    print("left", flush=True)

asyncio.run(main())
"""


def test_a_stuck_thread_does_not_keep_the_interpreter_from_exiting():
    """The program ends as soon as its main thread does."""
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left\n", "")


async def test_no_answer_is_lost_when_many_calls_end_at_once():
    """Calls share wake-ups of the loop; a call that ends while the loop looks still gets its own."""
    pool = ThreadPool(4)

    async def slot(number: int) -> int:
        return sum([await call(pool, abs, -number) for _ in range(500)])

    async with asyncio.timeout(60):
        assert await asyncio.gather(*map(slot, range(8))) == [500 * number for number in range(8)]
    pool.close()
