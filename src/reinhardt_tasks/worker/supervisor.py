"""Several worker processes under one watch: started, restarted when they die, reloaded, and stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from reinhardt_tasks.worker.lifeline import Lifeline
from reinhardt_tasks.worker.patience import backoff
from reinhardt_tasks.worker.reload import SourceWatch
from reinhardt_tasks.worker.restart import Step, crashes_after, next_step, stopped_gracefully
from reinhardt_tasks.worker.spawned import Spawned, describe_end, this_python

_log = logging.getLogger("reinhardt_tasks.supervisor")

MARGIN: Final = 20.0
"""Seconds that a worker may take to end beyond its `shutdown_timeout`: to cancel what still runs, and to settle it."""
_NOT_STARTED: Final = 1
_NOT_GRACEFUL: Final = 1

Command = Callable[[int], Sequence[str]]
"""Index of a worker → its command line."""


def worker_command(arguments: Sequence[str]) -> Command:
    """The command of workers that are all started with the same `arguments`: TARGET and options, not `--processes`."""

    def line(_index: int) -> Sequence[str]:
        return [*this_python(), "-m", "reinhardt_tasks", "worker", *arguments]

    return line


class Supervisor:
    """Keeps `count` worker processes running until it is told to stop by SIGTERM or SIGINT, or all of them have left.

    A worker that exits with 0 has left on purpose and is not replaced, nor one that exits with 2: its input is wrong.
    One that was recycled is replaced at once, one that crashed after a growing wait. Each finds its number, from 0, in
    REINHARDT_TASKS_WORKER_INDEX. With `sources`, all are replaced when the code changes, and one that fails at its
    start waits for that.
    """

    def __init__(
        self,
        command: Command,
        count: int,
        *,
        shutdown_timeout: float = 25.0,
        margin: float = MARGIN,
        sources: SourceWatch | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"a supervisor watches one worker at least, not {count!r}")
        self._sources = sources
        self._lifeline = Lifeline()
        patience = shutdown_timeout + margin
        self._posts = [
            Post(index, command, self._lifeline, patience=patience, reloading=sources is not None)
            for index in range(count)
        ]
        self._stopping = False

    def run_sync(self) -> int:
        """See `run`, in a loop of its own; to be called in the main thread."""
        return asyncio.run(self.run())

    async def run(self) -> int:
        """Keep the workers running; once.

        Returns the exit code: 0 when all ended gracefully, 2 when one was started with wrong input, else 1. The first
        signal is passed on to the workers, which get `shutdown_timeout` and the margin to end; the second kills them.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        _log.info("supervisor_started pid=%d workers=%d", os.getpid(), len(self._posts))
        reloading = loop.create_task(self._keep_reloading())
        try:
            codes = await asyncio.gather(*(post.keep() for post in self._posts))
        finally:
            reloading.cancel()
            for post in self._posts:
                post.kill()
            self._lifeline.close()
        code = max(codes)
        _log.info("supervisor_ended exit=%d", code)
        return code

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping:
            _log.warning("supervisor_kills_workers signal=%s", number.name)
        else:
            _log.info("supervisor_stops signal=%s", number.name)
        for post in self._posts:
            if self._stopping:
                post.kill()
            else:
                post.stop()
        self._stopping = True

    async def _keep_reloading(self) -> None:
        while self._sources is not None:
            changed = await self._sources.change()
            _log.info("reload changed=%d first=%s", len(changed), changed[0])
            for post in self._posts:
                post.renew()


class Post:
    """The place of one worker: there is one, or one will be after a pause, until the post is given up."""

    def __init__(self, index: int, command: Command, lifeline: Lifeline, *, patience: float, reloading: bool) -> None:
        self._index = index
        self._command = command
        self._lifeline = lifeline
        self._patience = patience
        self._reloading = reloading
        self._process: Spawned | None = None
        self._dismissed: Spawned | None = None
        self._stopped = asyncio.Event()
        self._renewing = False
        self._roused = asyncio.Event()

    async def keep(self) -> int:
        """Have a worker here until there is to be none any more; the exit code that the post stands for."""
        crashes = 0
        while not self._stopped.is_set():
            self._renewing = False
            code, lived = await self._one_life()
            if self._stopped.is_set():
                return 0 if stopped_gracefully(code) else _NOT_GRACEFUL
            step = next_step(code, lived=lived, renewing=self._renewing, reloading=self._reloading)
            _log.info("worker_process_ended index=%d how=%r next=%r", self._index, describe_end(code), step.value)
            if step in {Step.LEAVE, Step.GIVE_UP}:
                return code
            crashes = crashes_after(crashes, lived=lived) if step is Step.BACK_OFF else 0
            await self._pause(step, crashes)
        return 0

    def stop(self) -> None:
        """No worker from now on: the one there is told to end, and killed if it takes too long."""
        self._stopped.set()
        self._roused.set()
        self._dismiss()

    def renew(self) -> None:
        """Another worker, with the code as it is now."""
        self._renewing = True
        self._roused.set()
        self._dismiss()

    def kill(self) -> None:
        """No worker from now on, at once."""
        self._stopped.set()
        self._roused.set()
        if self._process is not None:
            self._process.kill()

    async def _one_life(self) -> tuple[int, float]:
        """Start a worker and see it end: its exit code and how many seconds it lived."""
        clock = asyncio.get_running_loop().time
        began = clock()
        environment = self._lifeline.environment(self._index)
        descriptors = [self._lifeline.descriptor]
        try:
            process = Spawned(self._command(self._index), fds=descriptors, env=environment, own_group=True)
        except OSError as error:
            _log.error("worker_process_not_started index=%d error=%s", self._index, error)
            return _NOT_STARTED, 0.0
        _log.info("worker_process_started index=%d pid=%d", self._index, process.pid)
        self._process = process
        code = await process.wait()
        self._process = None
        return code or 0, clock() - began

    async def _pause(self, step: Step, crashes: int) -> None:
        """Wait as `step` says, or until something is asked of the post."""
        if step is Step.RESTART:
            return
        self._roused.clear()
        wait = backoff(crashes) if step is Step.BACK_OFF else None
        try:
            async with asyncio.timeout(wait):
                await self._roused.wait()
        except TimeoutError:
            return

    def _dismiss(self) -> None:
        """Tell the worker to end, once: the second time means "at once" to it. One that does not is killed."""
        process = self._process
        if process is None or process is self._dismissed:
            return
        self._dismissed = process
        process.send_signal(signal.SIGTERM)
        timer = asyncio.get_running_loop().call_later(self._patience, self._lose_patience, process)
        process.on_end(timer.cancel)

    def _lose_patience(self, process: Spawned) -> None:
        _log.warning("worker_process_killed index=%d pid=%d after=%g", self._index, process.pid, self._patience)
        process.kill()
