"""Waiting: a glance tells whether it has come; between glances who waits sleeps until a ring, or for a while."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, NamedTuple

from reinhardt_tasks.backends.postgres.exchange import Heard
from reinhardt_tasks.identity import TaskId

_QUICK: Final = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
"""Seconds between the first glances: a ring that was held back, as one had just been sent, comes within that time."""
POLL: Final = 1.0
"""Seconds between later glances, for rings that never come."""


class Glance(NamedTuple):
    """A row of the function `glance`."""

    registered: bool
    draining: bool | None
    cancel: list[bytes] | None
    ready: bool
    suspect: bool
    mark: int
    moment: float | None

    def concerns(self, heard: Heard) -> bool:
        """Whether a worker that knows what it `heard` may have something to do."""
        if heard.registered is not None and heard.registered != self.registered:
            return True
        if (self.draining and not heard.draining) or {*map(TaskId, self.cancel or ())} - heard.cancel:
            return True
        return (self.ready or self.suspect) and (not heard.withheld or heard.mark != self.mark)


class Patience:
    """How long one who waits sleeps between two glances, until `timeout` seconds are over (None: never)."""

    def __init__(self, timeout: float | None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._quick = iter(_QUICK)

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return POLL if self._deadline is None else self._deadline - time.monotonic()

    async def sleep(self, ring: asyncio.Event, *, until: float | None = None) -> None:
        """Sleep until it rings; no longer than `until` seconds, than what is left, and than a glance may wait."""
        pause = next(self._quick, POLL * random.uniform(0.8, 1.0))  # noqa: S311 - jitter, not a secret
        with_end = min(pause, max(0.0, self.left), pause if until is None else max(0.0, until))
        try:
            async with asyncio.timeout(with_end):
                await ring.wait()
        except TimeoutError:
            return
        ring.clear()
