"""A clock that moves only when it is told to."""

from __future__ import annotations

import time


class StillClock:
    """Called, it gives Unix seconds; they change by `advance` alone. It starts at the present."""

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() if now is None else now

    def __call__(self) -> float:
        """The time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds
