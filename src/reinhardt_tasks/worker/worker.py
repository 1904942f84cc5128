"""`Worker`: the door to running tasks. Opens what a shift needs, listens to signals, and closes everything again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

from reinhardt_tasks.errors import BackendError, ConfigurationError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.worker.config import WorkerConfig
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
        self.id = f"{socket.gethostname()}:{os.getpid()}:{TaskId.new()}"
        self.exit_code = ExitCode.GRACEFUL
        self._target = target
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Finish what runs (for up to `shutdown_timeout`), give back the rest, and end. From any thread or a signal."""
        self._stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`, or, with `until_idle`, until nothing is claimable and nothing runs.

        Raises ConfigurationError or SchemaError when the backend refuses to open, and what a lifespan provider raises.
        """
        self._loop = asyncio.get_running_loop()
        if self._stopping:
            self._stop.set()
        backend = self.queue.connect()
        try:
            await open_patiently(backend)
            async with (
                self.queue.lifespans() as values,
                WorkerPools(self.config, target=self._target) as pools,
            ):
                runner = Runner(self.queue, values=values, pools=pools)
                shift = Shift(backend, runner, self.config, worker=self.id, stop=self._stop)
                log.info("worker_started worker=%s url=%s", self.id, self.queue.url)
                await shift.work(until_idle=until_idle)
                self.exit_code = shift.exit_code
                log.info("worker_ended worker=%s settled=%d exit=%s", self.id, shift.settled, self.exit_code.name)
        finally:
            self._stop = asyncio.Event()
            self._stopping = False
            with contextlib.suppress(BackendError):
                await backend.close()

    def run_sync(self, *, until_idle: bool = False) -> None:
        """Run in a loop of this thread's own (uvloop where installed), stopping on SIGTERM and SIGINT.

        The second signal leaves at once. Meant for a process that is a worker and nothing else: when a task cannot be
        stopped, the process ends with ExitCode.STUCK.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._run_with_signals(until_idle=until_idle))
            if self.exit_code is ExitCode.STUCK:
                logging.shutdown()
                os._exit(self.exit_code)  # what does not end would hold up a normal exit for ever

    async def _run_with_signals(self, *, until_idle: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        await self.run(until_idle=until_idle)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping:
            log.warning("worker_leaves_at_once signal=%s", number.name)
            os._exit(128 + number)
        log.info("worker_stops signal=%s", number.name)
        self.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop
