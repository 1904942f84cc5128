"""Clocks: the one that nobody sets, and which clock measures durations beside a given one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Seconds of a clock that no one sets and that goes on while the machine sleeps, where there is one.

    The same for all processes of a machine, and begun anew when it starts.
    """
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def steadied(clock: Callable[[], float]) -> Callable[[], float]:
    """The clock to measure durations by where `clock` tells the time: for the wall clock, the one that nobody sets."""
    return boottime if clock is time.time else clock
