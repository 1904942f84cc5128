"""How many messages a worker holds beyond its slots: what it finishes in 50 ms at its measured speed (pure)."""

from __future__ import annotations

from typing import Final

HORIZON: Final = 0.05
"""Seconds of work held in advance; tasks that take longer are not fetched ahead of time at all."""
MOST: Final = 300
_RISING: Final = 0.25
_FALLING: Final = 0.5
"""How much one measurement counts: tasks that end in bursts do not look quick, and ones that become slow soon do."""


class Allowance:
    """The number of messages to hold beyond `slots`, from the speed of late; `fixed` sets it for good.

    The speed is measured over at least the horizon at a time.
    """

    __slots__ = ("_busy", "_finished", "_fixed", "_rate", "_since", "_slots")

    def __init__(self, fixed: int | None, *, slots: int, now: float) -> None:
        self._fixed = fixed
        self._slots = slots
        self._since = now
        self._rate = 0.0
        self._finished = 0
        self._busy = 0.0

    def measure(self, finished: int, now: float, *, busy: bool) -> None:
        """`finished` messages ended since the last call; time in which the worker had nothing to do does not count."""
        elapsed, self._since = now - self._since, now
        if not busy:
            return
        self._finished += finished
        self._busy += elapsed
        if self._busy >= HORIZON:
            speed = self._finished / self._busy
            self._rate += (_RISING if speed > self._rate else _FALLING) * (speed - self._rate)
            self._finished, self._busy = 0, 0.0

    def forget(self) -> None:
        """What was measured is true no longer: hold nothing beyond the slots until it is measured anew."""
        self._rate = 0.0

    @property
    def size(self) -> int:
        """Messages to hold beyond the slots now: 0 to 300, or the number that was set.

        None while less is finished within the horizon than there are slots: tasks take longer than it then.
        """
        if self._fixed is not None:
            return self._fixed
        ahead = int(self._rate * HORIZON)
        return min(MOST, ahead) if ahead >= self._slots else 0
