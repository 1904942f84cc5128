"""The same application after its new release: one task has a further parameter, another is new."""

from __future__ import annotations

import asyncio

from reinhardt_tasks import TaskQueue
from tests.integration.apps.jobs import note

queue = TaskQueue()


@queue.task(name="app.shared")
async def shared(number: int, seconds: float = 0.0, factor: int = 1) -> str:
    """Known to both releases."""
    note("run")
    await asyncio.sleep(seconds)
    return f"two {number * factor}"


@queue.task(name="app.fresh")
async def fresh(number: int) -> str:
    """New in this release."""
    note("run")
    return f"fresh {number}"
