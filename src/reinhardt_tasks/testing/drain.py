"""`drain`: run what is due, here and now, as a worker would."""

from __future__ import annotations

import asyncio
import os

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, Claim, Outcome
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.runner import Runner

_LEASE = 3600.0


async def drain(queue: TaskQueue) -> int:
    """Run every message that is due, one after the other, until none is; the number of runs.

    What the tasks enqueue meanwhile is run as well, if it is due; a retry or a delayed message is left for later (with
    a StillClock as the backend's clock: for after `advance`). Providers are opened at the start and closed at the end.
    A task's failure is its message's outcome, as in a worker, and not raised here.
    """
    backend = await queue.backend()
    worker = f"drain:{os.getpid()}:{TaskId.new()}"
    await backend.beat(_beat(worker, 1))
    try:
        async with queue.lifespans() as values:
            return await _run_all(backend, worker, Runner(queue, values=values, backend=backend))
    finally:
        await backend.beat(_beat(worker, 2, leaving=True))


async def _run_all(backend: TaskBackend, worker: str, runner: Runner) -> int:
    """One message at a time, so that each is the first in line when it is taken."""
    runs, outcomes = 0, list[Outcome]()
    while claims := await _exchange(backend, worker, outcomes, sequence=runs + 1):
        # In an asyncio task of its own, so that neither its context nor its end is the caller's.
        outcomes = [await asyncio.create_task(runner.run(claims[0]))]
        runs += 1
    return runs


async def _exchange(backend: TaskBackend, worker: str, outcomes: list[Outcome], *, sequence: int) -> list[Claim]:
    return (await backend.exchange(worker, outcomes, want=1, queues=None, sequence=sequence)).claims


def _beat(worker: str, number: int, *, leaving: bool = False) -> Beat:
    return Beat(worker=worker, number=number, name="drain", pid=os.getpid(), lease=_LEASE, leaving=leaving)
