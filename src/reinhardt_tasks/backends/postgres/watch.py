"""Waiting: a glance tells whether it has come; between glances who waits sleeps until a ring, or for a while."""

from __future__ import annotations

import asyncio
import random
import time
from enum import Enum, auto
from typing import Final, NamedTuple

from reinhardt_tasks.backends.postgres.exchange import Heard
from reinhardt_tasks.identity import TaskId

SOON: Final = 0.1
"""A worker's pauses between glances while a ring may be held back, as one has just been sent: the share of the time it
has waited. What comes then is seen late by a tenth of the time that nothing came."""
_CALMER: Final = 1.0
"""The same for others, of whom there may be many, and for all whom no ring reaches."""
_SHORTEST: Final = 0.001
_LONGEST: Final = 0.07
"""A glance that would come later than so many seconds after the one before is one of those that follow."""
POLL: Final = 1.0
"""Seconds between later glances, for rings that never come."""


class Hint(Enum):
    """Whether a ring tells of what happens elsewhere."""

    AT_ONCE = auto()
    HELD_BACK = auto()
    NEVER = auto()


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
    """How long one who waits sleeps between two glances, until `timeout` seconds are over (None: never).

    `share`: of the time it has waited, while rings may be held back.
    """

    def __init__(self, timeout: float | None, *, share: float = _CALMER) -> None:
        self._began = time.monotonic()
        self._deadline = None if timeout is None else self._began + timeout
        self._share = share

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return POLL if self._deadline is None else self._deadline - time.monotonic()

    async def sleep(self, ring: asyncio.Event, hint: Hint, *, until: float | None = None) -> bool:
        """Sleep until it rings; no longer than `until` seconds, than what is left, and than a glance may wait.

        Answers whether there is a reason to look: not at the end of a time in which a ring would have come at once.
        """
        pause = self._pause(hint)
        with_end = min(pause, max(0.0, self.left), pause if until is None else max(0.0, until))
        try:
            async with asyncio.timeout(with_end):
                await ring.wait()
        except TimeoutError:
            return hint is not Hint.AT_ONCE or self.left > 0
        ring.clear()
        return True

    def _pause(self, hint: Hint) -> float:
        share = self._share if hint is Hint.HELD_BACK else _CALMER
        soon = max(_SHORTEST, share * (time.monotonic() - self._began))
        if hint is Hint.AT_ONCE or soon > _LONGEST:
            return POLL * random.uniform(1.0, 1.2)  # noqa: S311 - jitter, not a secret
        return soon
