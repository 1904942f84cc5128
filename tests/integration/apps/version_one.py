"""An application before its new release."""

from __future__ import annotations

import asyncio

from reinhardt_tasks import TaskQueue
from tests.integration.apps.jobs import note

queue = TaskQueue()


@queue.task(name="app.shared")
async def shared(number: int, seconds: float = 0.0) -> str:
    """Known to both releases."""
    note("run")
    await asyncio.sleep(seconds)
    return f"one {number}"
