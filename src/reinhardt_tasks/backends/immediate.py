"""Tasks run inside `enqueue`, in the same process and loop: for tests and scripts that need no worker."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from reinhardt_tasks.backends.inline import InlineBackend
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.message import Claim, Outcome

Run = Callable[[Claim], Awaitable[Outcome]]
"""Runs one claimed message and says how it ended; raises only when it is cancelled itself."""


class ImmediateBackend(InlineBackend):
    """Runs each message through the `run` it is bound to, retries included; a retry comes at once, whatever its delay.

    Everything else is as in InlineBackend. A task's failure is recorded, and not raised by `put`.
    """

    name: ClassVar[str] = "immediate"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._bound: list[Run] = []  # shared by all siblings

    def bind(self, run: Run) -> None:
        """Run messages through `run` from now on, for all siblings."""
        self._bound[:] = [run]

    async def _run(self, claim: Claim) -> Outcome:
        return await self._bound[0](claim)

    def _check_ready(self) -> None:
        if not self._bound:
            raise QueueError(
                "immediate:// runs tasks through a TaskQueue: make one with this backend, and enqueue there"
            )
