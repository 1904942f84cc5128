"""Where synchronous tasks run: daemon threads of our own, handed calls through a queue, answered by waking the loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any


class _Call:
    """One call on its way through a thread. Whoever takes its ticket decides: a thread runs it, a caller drops it."""

    __slots__ = ("error", "future", "ticket", "value", "what")

    def __init__(self, what: Callable[[], Any], future: asyncio.Future[None]) -> None:
        self.what: Callable[[], Any] | None = what
        self.future = future
        self.ticket = [True]
        self.value: Any = None
        self.error: BaseException | None = None

    def take(self) -> bool:
        """Whether the ticket was still there; it is the asker's now. `list.pop` is atomic, so one asker is told so."""
        try:
            return self.ticket.pop()
        except IndexError:
            return False

    def perform(self, what: Callable[[], Any]) -> None:
        """Call `what` and keep what came of it."""
        try:
            self.value = what()
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            self.error = error

    def outcome(self) -> Any:
        """What the function returned; raises what it raised."""
        if self.error is None:
            return self.value
        error, self.error = self.error, None
        try:
            raise error
        finally:
            del error  # or it and this frame keep each other alive


class ThreadPool:
    """Up to `size` threads, each started when there is a call and none to spare. Belongs to the loop it is used on.

    A thread cannot be stopped: when a caller is cancelled, its call keeps its thread until it ends, for nobody.
    Calls beyond `size` wait their turn; one whose caller leaves while it waits is never run. The threads are daemons,
    so they do not keep the interpreter from exiting.
    """

    def __init__(self, size: int, *, name: str = "reinhardt-task") -> None:
        if size < 1:
            raise ValueError(f"a thread pool has at least one thread, not {size!r}")
        self._size = size
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = 0
        self._unfinished = 0
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._ended: deque[_Call] = deque()
        self._waking = False
        self._closed = False

    @property
    def busy(self) -> int:
        """How many calls have not ended: waiting and running ones, wanted or not."""
        return self._unfinished

    async def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        context: contextvars.Context,
    ) -> Any:
        """What `function(*args, **kwargs)` returns or raises, called in a thread and inside `context`.

        A StopIteration arrives as the RuntimeError that Python makes of one in a coroutine. Raises RuntimeError after
        `close`.
        """
        call = self._hand_over(functools.partial(context.run, function, *args, **kwargs))
        try:
            await call.future
        except asyncio.CancelledError:
            if call.take():  # it had not begun
                self._unfinished -= 1
            raise
        return call.outcome()

    def close(self) -> None:
        """Let each thread end when it has nothing more to run, without waiting for it; from now on `run` is refused."""
        self._closed = True
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0

    def _hand_over(self, what: Callable[[], Any]) -> _Call:
        if self._closed:
            raise RuntimeError("this thread pool is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        call = _Call(what, self._loop.create_future())
        self._unfinished += 1
        self._calls.put(call)
        if self._threads < self._size and self._threads < self._unfinished:
            self._start_thread()
        return call

    def _start_thread(self) -> None:
        self._threads += 1
        name = f"{self._name}-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        """The life of a thread: one call after the other, until it is handed None."""
        while (call := self._calls.get()) is not None:
            what, call.what = call.what, None
            if what is not None and call.take():
                call.perform(what)
                self._ended.append(call)
                self._wake_loop()
            del call, what  # or an idle thread would keep the last call's values alive

    def _wake_loop(self) -> None:
        """Have `_settle` called. All calls that end before it runs share one wake-up."""
        if self._waking or self._loop is None:
            return
        self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._ended.clear()

    def _settle(self) -> None:
        """Tell the callers of all calls that have ended. Runs on the loop."""
        self._waking = False  # before looking: what ends from here on wakes the loop again
        while self._ended:
            call = self._ended.popleft()
            self._unfinished -= 1
            if not call.future.done():  # if it is: the caller has left
                call.future.set_result(None)
