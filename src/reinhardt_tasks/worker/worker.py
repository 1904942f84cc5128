"""`Worker`: the door to running tasks. Opens what a shift needs, listens to signals, and closes everything again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendError, ConfigurationError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.scheduler import Scheduler
from reinhardt_tasks.sync import loop_factory
from reinhardt_tasks.worker.config import WorkerConfig
from reinhardt_tasks.worker.lifeline import follow_supervisor
from reinhardt_tasks.worker.origin import refuse_unguarded_program
from reinhardt_tasks.worker.patience import open_patiently
from reinhardt_tasks.worker.pools import WorkerPools
from reinhardt_tasks.worker.shift import ExitCode, Shift

log = logging.getLogger("reinhardt_tasks.worker")

_SWITCH_INTERVAL: Final = 0.001
"""Seconds after which Python lets another thread run: the heartbeat must not wait long behind busy tasks."""


class Worker:
    """Runs the tasks of one queue until it is stopped. One `run` at a time; `exit_code` says how it ended.

    `target` ("module:attribute", as on the command line) tells the processes of the process pool where the queue is;
    without it they import each task's own module.
    """

    def __init__(self, queue: TaskQueue, config: WorkerConfig | None = None, *, target: str | None = None) -> None:
        self.queue = queue
        self.config = config or WorkerConfig()
        if self.config.processes > 1:
            raise ConfigurationError(
                "one Worker is one process; start several with `reinhardt-tasks worker TARGET --processes N`",
                setting="processes",
            )
        self.id = _new_id()
        """The id of the run under way, or else of the last one; each run has its own."""
        self.exit_code = ExitCode.GRACEFUL
        self._target = target
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Finish what runs (for up to `shutdown_timeout`), give back the rest, and end. From any thread or a signal.

        Before a run it ends that run as soon as it begins.
        """
        self._stopping = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._stop.set)

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`, or, with `until_idle`, until nothing is claimable and nothing runs.

        Raises ConfigurationError or SchemaError when the backend refuses to open, what a lifespan provider raises, and
        QueueError when this worker runs already.
        """
        refuse_unguarded_program()
        if self._loop is not None:
            raise QueueError("this worker runs already; make another Worker for a second run at the same time")
        self.id, self.exit_code, self._stop = _new_id(), ExitCode.GRACEFUL, asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            if self._stopping:
                self._stop.set()
            await self._run(until_idle=until_idle)
        finally:
            self._loop, self._stopping = None, False

    async def _run(self, *, until_idle: bool) -> None:
        backend = self.queue.connect()
        try:
            if await open_patiently(backend, self._stop):
                await self._work(backend, until_idle=until_idle)
        finally:
            with contextlib.suppress(BackendError):
                await backend.close()

    async def _work(self, backend: TaskBackend, *, until_idle: bool) -> None:
        async with contextlib.AsyncExitStack() as opened:
            values = await opened.enter_async_context(self.queue.lifespans())
            pools = await opened.enter_async_context(WorkerPools(self.config, target=self._target))
            runner = Runner(self.queue, values=values, pools=pools, backend=backend)
            shift = Shift(
                backend,
                runner,
                self.config,
                worker=self.id,
                stop=self._stop,
                close=opened.aclose,
                beside=self._scheduler(backend, until_idle=until_idle),
            )
            log.info("worker_started worker=%s url=%s", self.id, self.queue.url)
            try:
                await shift.work(until_idle=until_idle)
            finally:
                self.exit_code = shift.exit_code
                log.info("worker_ended worker=%s messages=%d exit=%s", self.id, shift.ended, self.exit_code.name)

    def _scheduler(self, backend: TaskBackend, *, until_idle: bool) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What fires schedules beside the work; a worker that ends when it is idle waits for none."""
        if until_idle or not self.config.scheduler:
            return None
        return functools.partial(Scheduler(self.queue).serve, backend)

    def run_sync(self, *, until_idle: bool = False) -> None:
        """Run in a loop of this thread's own (uvloop where installed), in the main thread until SIGTERM or SIGINT.

        There the second signal leaves at once, and the process is taken for a worker and nothing else: it ends with
        ExitCode.STUCK when a task cannot be stopped, or has left a thread behind that does not end, and with 1 when a
        task ends the event loop (`sys.exit` in an asyncio task that it has started), as a crash would: the messages
        under way have lost their worker.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL)
        if threading.current_thread() is threading.main_thread():
            self._run_alone(until_idle=until_idle)
        else:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self.run(until_idle=until_idle))

    def _run_alone(self, *, until_idle: bool) -> None:
        """`run_sync` in a process of its own: what does not end must not hold up its exit for ever."""
        closing = threading.Timer(seconds(self.config.grace, what="grace"), _leave, [ExitCode.STUCK])
        closing.daemon = True
        with contextlib.ExitStack() as ending, asyncio.Runner(loop_factory=loop_factory()) as runner:
            ending.callback(closing.cancel)
            try:
                runner.run(self._run_with_signals(until_idle=until_idle))
            except (SystemExit, KeyboardInterrupt) as error:
                log.critical("worker_ended_by_task", exc_info=error)
                _leave(1)
            finally:
                closing.start()  # the loop waits for the threads of its own pool
            if self.exit_code is ExitCode.STUCK:
                _leave(self.exit_code)

    async def _run_with_signals(self, *, until_idle: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        follow_supervisor(self.stop)
        await self.run(until_idle=until_idle)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping:
            log.warning("worker_leaves_at_once signal=%s", number.name)
            os._exit(128 + number)
        log.info("worker_stops signal=%s", number.name)
        self.stop()


def _new_id() -> str:
    """Who a worker is: its host and process, and what tells it from others there."""
    return f"{socket.gethostname()}:{os.getpid()}:{TaskId.new()}"


def _leave(code: int) -> NoReturn:
    """End the process, whatever its threads are at, with what was logged written."""
    logging.shutdown()
    os._exit(code)
