"""Median, spread, ratio and verdict: what may be said about figures of interleaved repeats (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Verdict = Literal["met", "equal", "missed", "not asked"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of the repeats of one figure."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of `values`. Raises ValueError if there are none."""
    if not values:
        raise ValueError("a spread needs at least one value")
    return Spread(median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of `values` that at least `percent` (above 0, up to 100) of them do not exceed: the nearest-rank rule.

    Raises ValueError if there are no values, or if `percent` is out of its range.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"percentile {percent} of {len(values)} values")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def paired_ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Ratio of each repeat to the one that ran beside it, so that a slow minute of the machine slows both.

    Raises ValueError if the two were not repeated equally often.
    """
    return [top / bottom for top, bottom in zip(over, under, strict=True)]


def verdict(values: Sequence[float], goal: float, *, more_is_better: bool) -> Verdict:
    """Whether repeats reach `goal`: "met" by the median; "equal" when only the best repeat does; else "missed"."""
    seen = spread(values)
    sign = 1 if more_is_better else -1
    best = seen.high if more_is_better else seen.low
    if sign * seen.median >= sign * goal:
        return "met"
    return "equal" if sign * best >= sign * goal else "missed"


def enough_messages(messages: int, took: float, *, least: int, lasting: float) -> int:
    """Messages that last `lasting` seconds if a run of `messages` took `took` seconds; never under `least`.

    Rounded up to whole thousands, so that two calibrations of the same system tend to agree.
    """
    wanted = messages * lasting / took
    return max(least, math.ceil(wanted / 1000) * 1000)
