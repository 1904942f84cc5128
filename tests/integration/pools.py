"""Process pools in tests, and calls of tasks in them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reinhardt_tasks.failure import Failure
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.run import RemoteFailureError
from reinhardt_tasks.worker.processes import ProcessCall, ProcessPool

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@contextlib.asynccontextmanager
async def pool_of(size: int, **options: Any) -> AsyncIterator[ProcessPool]:
    """A pool that is closed afterwards."""
    pool = ProcessPool(size, **options)
    try:
        yield pool
    finally:
        await pool.close(20)


def call_of(task) -> ProcessCall:
    """The first run of a fresh message."""
    return ProcessCall(id=bytes(TaskId.new()), name=task.name)


async def run(pool: ProcessPool, task, *args, call: ProcessCall | None = None, on_progress=None, **kwargs):
    """The decoded result of a call of `task` in a child."""
    arguments = task.arguments.encode(args, kwargs)
    return task.returns.decode(await pool.run(task, arguments, call or call_of(task), on_progress=on_progress))


async def failure_of(pool: ProcessPool, task, *args) -> Failure:
    """The verdict on what `task` raises in a child."""
    with pytest.raises(RemoteFailureError) as caught:
        await run(pool, task, *args)
    return caught.value.failure


def pid_in(file: Path) -> int:
    """The process id that a task wrote there, once it has; 0 until then."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else 0
