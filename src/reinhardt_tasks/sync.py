"""The blocking face: one background thread with an event loop of its own, for code that has none."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Final, Generic, TypeVar

from reinhardt_tasks.errors import QueueError

T = TypeVar("T")
_GOODBYE: Final = 5.0
"""Seconds that the end of the program waits for the thread to close its connections."""


def blocking(start: Callable[[], Coroutine[Any, Any, T]], *, instead: str) -> T:
    """The outcome of the coroutine that `start` makes, awaited in the background thread.

    Raises QueueError inside a running event loop, which it would stop; `instead` is the form to write there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _thread.run(start)
    raise QueueError(f"this would block the event loop that is running here; write `{instead}`")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes an event loop of this package's own: uvloop, where it is installed (None: asyncio)."""
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Call(Generic[T]):
    """A coroutine that a thread waits for. One lock is all there is between the two, so that the way is short."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop
        self._ended = threading.Lock()  # held until the coroutine has ended
        self._ended.acquire()
        self._task: asyncio.Task[None] | None = None
        self._values: list[T] = []
        self._error: BaseException | None = asyncio.CancelledError()  # until it has begun

    def outcome(self) -> T:
        """Run it, in this thread's context, and return what it returns, or raise what it raises."""
        self._loop.call_soon_threadsafe(self._begin)
        try:
            self._ended.acquire()
        except BaseException:
            self._loop.call_soon_threadsafe(self._cancel)
            raise
        error, self._error = self._error, None
        try:
            if isinstance(error, asyncio.CancelledError):
                raise CancelledError
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame
        return self._values[0]

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._let_go)

    def _let_go(self, _: asyncio.Task[None]) -> None:
        """Nobody waits for a coroutine that was cancelled, with its loop, before it began."""
        if self._ended.locked():
            self._ended.release()

    async def _run(self) -> None:
        try:
            self._values.append(await self._start())
            self._error = None
        except BaseException as error:  # noqa: BLE001 - the caller's
            self._error = error
        finally:
            self._ended.release()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class LoopThread:
    """A daemon thread that serves an event loop from the first call until the program ends.

    A forked child begins anew, with a thread of its own; what the parent had open stays the parent's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Event | None = None
        self._parents: list[object] = []
        self._known_to_the_system = False

    def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """See `blocking`. A caller that is interrupted cancels its coroutine."""
        return _Call(start, self._serving()).outcome()

    def _serving(self) -> asyncio.AbstractEventLoop:
        """The thread's loop, running."""
        with self._lock:
            if self._loop is None:
                self._start()
            loop = self._loop
        if loop is None:
            raise QueueError("the background event loop could not be started; see the error above")
        return loop

    def _start(self) -> None:
        if not self._known_to_the_system:
            os.register_at_fork(after_in_child=self._forget)
            atexit.register(self.stop)
            self._known_to_the_system = True
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="reinhardt-tasks-sync", daemon=True)
        self._thread.start()
        started.wait()

    def _serve(self, started: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._until_ended(started))
        finally:
            self._loop = None
            started.set()

    async def _until_ended(self, started: threading.Event) -> None:
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        started.set()
        await self._ended.wait()

    def stop(self) -> None:
        """End the thread, which closes what was opened on its loop; the next call would start another."""
        loop, ended, thread = self._loop, self._ended, self._thread
        if loop is None or ended is None or thread is None:
            return
        loop.call_soon_threadsafe(ended.set)
        thread.join(_GOODBYE)

    def _forget(self) -> None:
        """In a forked child: the thread is not here. The loop is kept unused: to close it would close the parent's."""
        self._parents.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = self._ended = None


_thread = LoopThread()
