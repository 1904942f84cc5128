"""Code around every enqueue and every run: the one small class to derive from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from reinhardt_tasks.context import TaskContext
from reinhardt_tasks.message import AnyMessage

Next = Callable[[], Awaitable[Any]]
"""The rest of the way: the next middleware, and behind the last one the enqueue or the task itself."""


class Middleware:
    """Override one method or both; each does its part around `await call_next()`.

    The first middleware of a queue is the outermost. An exception raised before `call_next` stops the enqueue or the
    run.
    """

    async def on_enqueue(self, message: AnyMessage, call_next: Next) -> None:
        """Around one message being stored. Returning without `call_next` refuses it: the caller gets a QueueError."""
        await call_next()

    async def on_run(self, task: TaskContext, call_next: Next) -> Any:
        """Around one run of a task; what it returns is the task's result."""
        return await call_next()
