"""The program of a child process: runs one task after the other, for the worker at the other end of its socket.

Three threads: the main one runs the tasks, a second listens to the worker and ends the process when the worker is gone,
a third, started by the first `progress()`, tells how far a task is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final, NoReturn, Self, TypeAlias

from reinhardt_tasks.context import TaskContext, current_context
from reinhardt_tasks.errors import ConfigurationError, SerializationError
from reinhardt_tasks.failure import Failure, judge, refusal, type_name
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.lifespan import Lifespans, Provider
from reinhardt_tasks.message import Claim, Envelope, ErrorRecord, Progress, Reason
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.task import Task
from reinhardt_tasks.worker.frames import (
    RECEIVE,
    Answer,
    Cancel,
    Frames,
    FromChild,
    Leave,
    Progressed,
    Raised,
    Refused,
    Returned,
    Setup,
    Start,
    ToChild,
    decode_to_child,
    frame,
)
from reinhardt_tasks.worker.origin import Finder
from reinhardt_tasks.worker.remote_log import RemoteHandler
from reinhardt_tasks.worker.spawned import PARENT_DECIDES

_REPORT_INTERVAL: Final = 0.05
"""Seconds between two progress reports: at most 20 a second, and the newest is never older than this."""
_ORPHANED: Final = 1
_PR_SET_PDEATHSIG: Final = 1

Work: TypeAlias = "SimpleQueue[tuple[Start, ChildContext] | None]"
"""Messages from the listening thread to the main one; None is the end."""


def main(descriptor: int) -> None:
    """Serve the worker at the other end of the socket `descriptor` until it says so; end at once when it is gone."""
    _die_with_parent()
    _leave_signals_to_parent()
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only name
    line = Line(socket.socket(fileno=descriptor))
    setup = next(line.heard, None)
    if isinstance(setup, Setup):
        sys.argv[:] = setup.argv
        logging.basicConfig(level=setup.log_level, handlers=[RemoteHandler(line.say)])
        _serve(line, Finder(setup))


def _serve(line: Line, finder: Finder) -> None:
    work: Work = SimpleQueue()
    reporter = Reporter(line.say)
    threading.Thread(target=_listen, args=(line, work, reporter), name="reinhardt-listener", daemon=True).start()
    with Bench(finder) as bench:
        while (start := work.get()) is not None:
            answer = bench.perform(*start)
            _flush_output()
            reporter.flush()
            line.say(answer)


def _die_with_parent() -> None:
    """On Linux, have this process killed when the thread that started it ends, should the end of the socket go unseen.

    It does when code of a task holds the GIL, or when a fork of the worker still holds its end.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError):
            import ctypes  # noqa: PLC0415 - some builds of Python lack it

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_signals_to_parent() -> None:
    """Ctrl-C and SIGTERM reach a whole group of processes; here they do nothing.

    By a handler, as "ignored" would be handed down to the programs that tasks start.
    """
    for number in PARENT_DECIDES:
        signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENT_DECIDES)


def _do_nothing(_number: int, _stack: FrameType | None) -> None:
    pass


def _flush_output() -> None:
    """What a task prints is seen when it ends, not when the process does."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _listen(line: Line, work: Work, reporter: Reporter) -> NoReturn:
    """Hand on what the worker says; when it says no more it is gone, and this process with it."""
    try:
        _hand_on(line, work, reporter)
    except Exception:  # noqa: BLE001 - a bug of ours; a process that hears nothing must not stay
        traceback.print_exc()
    os._exit(_ORPHANED)


def _hand_on(line: Line, work: Work, reporter: Reporter) -> None:
    context: ChildContext | None = None
    for said in line.heard:
        match said:
            case Start():
                context = ChildContext(said, reporter)
                work.put((said, context))
            case Cancel(id=id) if context is not None and context.id == id:
                context.cancel()
            case Leave():
                work.put(None)


class Line:
    """The child's end of the socket. `heard` is all that the worker says, until it hangs up; any thread may `say`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self.heard: Iterator[ToChild] = self._hear()

    def say(self, said: FromChild) -> None:
        """Send one frame. Ends the process when nobody is there to take it."""
        try:
            with self._lock:
                self._sock.sendall(frame(said))
        except OSError:
            os._exit(_ORPHANED)

    def _hear(self) -> Iterator[ToChild]:
        frames = Frames()
        while received := self._receive():
            yield from map(decode_to_child, frames.feed(received))

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(RECEIVE)
        except OSError:
            return b""


class Reporter:
    """Tells the worker how far tasks are: at once, but not too often; what is newer replaces what waits."""

    def __init__(self, say: Callable[[Progressed], None]) -> None:
        self._say = say
        self._newest: deque[Progressed] = deque(maxlen=1)
        self._rung = threading.Event()
        self._saying = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, id: TaskId, progress: Progress) -> None:
        """Have this sent. Never waits for the worker."""
        self._newest.append(Progressed(id, progress.encode()))
        self._rung.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_telling, name="reinhardt-reporter", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Send what waits. After this nothing older is sent."""
        with self._saying, contextlib.suppress(IndexError):
            self._say(self._newest.popleft())

    def _keep_telling(self) -> NoReturn:
        while True:
            self._rung.wait()
            self._rung.clear()
            self.flush()
            time.sleep(_REPORT_INTERVAL)


class ChildContext(TaskContext):
    """What `current_task()` is in a child; its progress is told to the worker."""

    __slots__ = ("_reporter",)

    def __init__(self, start: Start, reporter: Reporter) -> None:
        call = start.call
        claim = Claim(TaskId(call.id), 0, b"", attempts=call.attempts, losses=call.losses, run_at=call.run_at)
        super().__init__(claim, Envelope(call.id, call.name, "", b"", h=call.headers))
        self._reporter = reporter

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """See TaskContext.progress."""
        super().progress(done, total, note)
        if self._progress is not None:
            self._reporter.tell(self.id, self._progress)


class Bench:
    """Runs tasks, one at a time, on one event loop that lasts, so that what providers opened stays usable.

    `with Bench(…)`: on leaving, the providers are closed and the loop is.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._values: dict[Provider[Any], object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        with self._runner:
            if self._values:
                self._runner.run(self._open.aclose())

    def perform(self, start: Start, context: ChildContext) -> Answer:
        """What came of one message. Raises nothing: whatever the task does is its answer."""
        try:
            task = self._finder.find(start.origin)
        except ConfigurationError as error:
            return Refused(str(error))
        try:
            args, kwargs = task.arguments_for(len(start.arguments)).decode(start.arguments)
        except SerializationError as error:
            return _raised(Failure(refusal(error)))
        try:
            value = self._call(task, args, kwargs, context)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the message's end, not the process's
            return _raised(judge(task.options.retry or RetryStrategy(), error))
        return _returned(task, value)

    def _call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: TaskContext) -> Any:
        """The value of the task's function, called in a contextvars.Context of its own."""
        kwargs = {**self._injected(task.providers), **kwargs}
        own = contextvars.copy_context()
        own.run(current_context.set, context)
        if task.is_async:
            return self._runner.run(task.function(*args, **kwargs), context=own)
        return own.run(task.function, *args, **kwargs)

    def _injected(self, providers: Mapping[str, Provider[Any]]) -> dict[str, object]:
        """The values of `providers` by parameter; each is opened when it is first needed, and stays open."""
        for provider in providers.values():
            if provider not in self._values:
                opened = self._runner.run(self._open.enter_async_context(Lifespans([provider])))
                self._values.update(opened)
        return {name: self._values[provider] for name, provider in providers.items()}


def _raised(failure: Failure) -> Raised:
    return Raised(failure.encode())


def _returned(task: Task[Any, Any], value: object) -> Answer:
    """The encoded value, or why it has no encoding: then the task has run, and must not be run again for that."""
    try:
        return Returned(task.returns.encode(value))
    except SerializationError as error:
        return _raised(Failure(ErrorRecord(type_name(error), str(error), "", Reason.BAD_RESULT)))
