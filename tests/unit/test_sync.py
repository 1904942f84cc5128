"""The blocking face: code without an event loop gets one in a background thread."""

import asyncio
import contextvars
import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.sync import LoopThread, blocking


async def where() -> tuple[int, int]:
    """The thread and the loop that run this."""
    return threading.get_ident(), id(asyncio.get_running_loop())


def test_all_calls_share_one_thread_and_one_loop() -> None:
    """Whichever threads they come from, so that connections are shared and enqueues coalesce."""
    seen = {blocking(where, instead="")}
    callers = [threading.Thread(target=lambda: seen.add(blocking(where, instead=""))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(seen) == 1
    assert next(iter(seen))[0] != threading.get_ident()


async def test_inside_a_running_loop_it_is_refused_by_name() -> None:
    """The error says what to write instead, and the coroutine is not even made."""
    with pytest.raises(QueueError, match=r"`await task\.enqueue\(…\)`"):
        blocking(where, instead="await task.enqueue(…)")


def test_an_exception_is_the_callers() -> None:
    """It comes through as it is."""

    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        blocking(fail, instead="")


def test_the_coroutine_sees_the_callers_context() -> None:
    """Context variables, such as those of a tracer, reach it."""
    variable = contextvars.ContextVar("variable", default=0)

    async def look() -> int:
        return variable.get()

    variable.set(7)
    assert blocking(look, instead="") == 7


def test_stopping_closes_what_was_opened_on_the_loop() -> None:
    """Async generators of the loop are ended, as connections count on; the next call starts anew."""
    thread = LoopThread()
    closed = threading.Event()
    kept = []

    async def keep() -> int:
        async def keeper():
            try:
                yield
            finally:
                closed.set()

        kept.append(keeper())
        await anext(kept[0])
        return id(asyncio.get_running_loop())

    thread.run(keep)
    thread.stop()
    assert closed.is_set()
    assert thread.run(where)[0] != threading.get_ident()
    thread.stop()


def run(code: str) -> str:
    """What a program prints that ends within a minute and says nothing on standard error."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_an_interrupted_caller_cancels_its_coroutine() -> None:
    """Ctrl-C in the calling thread leaves nothing running behind."""
    code = (
        "import asyncio, signal, threading\n"
        "from reinhardt_tasks.sync import blocking\n"
        "ended = threading.Event()\n"
        "async def endless():\n"
        "    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        ended.set()\n"
        "try:\n"
        "    blocking(endless, instead='')\n"
        "except KeyboardInterrupt:\n"
        "    print(ended.wait(20))\n"
    )
    assert run(code) == "True\n"


def test_a_coroutine_that_is_cancelled_is_no_cancellation_of_the_caller() -> None:
    """The caller is in no task: it gets the error of a future that was cancelled, as from any other thread."""

    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        blocking(give_up, instead="")


def test_a_caller_does_not_wait_for_a_loop_that_has_ended() -> None:
    """A call that comes as the thread ends is cancelled with the rest, whether or not it has begun."""
    thread = LoopThread()
    thread.run(where)
    waiting, ends = threading.Event(), []

    async def endless() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            thread.run(endless)
        except CancelledError:
            ends.append("cancelled")

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert waiting.wait(20)
    thread.stop()
    caller.join(20)
    assert ends == ["cancelled"]


def test_a_program_that_used_it_ends_quietly() -> None:
    """No hang at exit, no warning about anything left open."""
    code = "from reinhardt_tasks.sync import blocking\nasync def one(): return 1\nprint(blocking(one, instead=''))\n"
    assert run(code) == "1\n"


def test_a_forked_child_starts_a_thread_of_its_own() -> None:
    """The parent's thread is not in the child; the parent goes on with it."""
    code = (
        "import os, threading\n"
        "from reinhardt_tasks.sync import blocking\n"
        "async def where(): return threading.get_native_id()\n"
        "mine = blocking(where, instead='')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert blocking(where, instead='') != mine\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert blocking(where, instead='') == mine\n"
        "print('same')\n"
    )
    assert run(code) == "same\n"
