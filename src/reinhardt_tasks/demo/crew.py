"""The demo's worker processes: `reinhardt-tasks worker --processes N`, started, watched, killed and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from typing import Self

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.message import WorkerRecord

LEASE = 3.0
"""Seconds; short, so that the rescue of a killed worker's messages can be watched."""
_PATIENCE = 10.0
"""Seconds the processes have to stop before they are killed."""


class Crew:
    """`count` worker processes on `url`, their log in `log`. They stop by themselves when this process is gone."""

    def __init__(self, url: str, count: int, log: Path) -> None:
        self._url = url
        self._count = count
        self._log = log
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        slots = max(1, (os.cpu_count() or 1) // self._count)
        options = {"--processes": self._count, "--concurrency": slots, "--lease": LEASE, "--queues": "default"}
        arguments = [f"{name}={value}" for name, value in options.items()]
        settings = {name: value for name, value in os.environ.items() if not name.startswith("REINHARDT_TASKS_")}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "reinhardt_tasks", "worker", "reinhardt_tasks.demo.tasks:queue"),
                *(*arguments, "--until-eof"),
                stdin=PIPE,
                stdout=log,
                stderr=STDOUT,
                cwd=self._log.parent,
                env=settings | {"REINHARDT_TASKS_URL": self._url},
                start_new_session=True,  # Ctrl-C is for the demo, which then stops them in good order
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def check(self) -> None:
        """Raise QueueError if the processes have ended, which they should not before they are told to."""
        if self._process is not None and self._process.returncode is not None:
            code = self._process.returncode
            raise QueueError(f"the workers ended with exit code {code}; why stands in {self._log}", queue="default")


async def kill_one(backend: TaskBackend) -> WorkerRecord | None:
    """End the worker process that holds most messages by SIGKILL; None when none holds any at the moment.

    It is stopped before it is looked at for the last time, so that it holds messages when it dies.
    """
    workers = await backend.workers()
    victim = max(workers, key=lambda worker: worker.claims, default=None)
    if victim is None or not victim.claims:
        return None
    pid = victim.beat.pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        still = [worker for worker in await backend.workers() if worker.beat.worker == victim.beat.worker]
        if still and still[0].claims:
            os.kill(pid, signal.SIGKILL)
            return still[0]
        os.kill(pid, signal.SIGCONT)
    return None
