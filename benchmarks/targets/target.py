"""A target, and the verdict on it from the figures of one run (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import FIGURES
from benchmarks.stats import Spread, Verdict, paired_ratios, spread, verdict

Results = Mapping[tuple[str, str], Sequence[float]]  # (case, figure) → one value a repeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A target is asked only where `figure` of the case it compares with is at least `least`; else `tell` is told."""

    figure: str
    least: float
    tell: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A figure of ours against a goal; with `against`, its ratio to another figure (best case against best case)."""

    text: str
    figure: str
    goal: float
    ours: tuple[str, ...]
    against: tuple[str, ...] = ()
    peer_figure: str = ""  # the same as `figure` where empty
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A target with what was reached."""

    target: Target
    ours: str
    peer: str  # empty for a goal without a peer
    reached: Spread
    verdict: Verdict
    why: str = ""  # it was not asked


def best_case(results: Results, cases: Sequence[str], figure: str) -> str | None:
    """The case among `cases` with the best median of `figure`; None if none was measured."""
    measured = [case for case in cases if results.get((case, figure))]
    sign = 1 if FIGURES[figure].more_is_better else -1
    return max(measured, key=lambda case: sign * spread(results[case, figure]).median, default=None)


def judge(target: Target, results: Results) -> Judgement | None:
    """The verdict on one target; None if a figure it needs was not measured."""
    ours = best_case(results, target.ours, target.figure)
    if ours is None:
        return None
    if not target.against:
        values: Sequence[float] = results[ours, target.figure]
        more = FIGURES[target.figure].more_is_better
        return Judgement(target, ours, "", spread(values), verdict(values, target.goal, more_is_better=more))
    figure = target.peer_figure or target.figure
    peer = best_case(results, target.against, figure)
    if peer is None:
        return None
    values = paired_ratios(results[ours, target.figure], results[peer, figure])
    if target.room and (why := _no_room(target.room, results, peer)):
        return Judgement(target, ours, peer, spread(values), "not asked", why)
    return Judgement(target, ours, peer, spread(values), verdict(values, target.goal, more_is_better=True))


def _no_room(room: Room, results: Results, case: str) -> str:
    """Why the target is not asked; empty where it is."""
    if spread(results[case, room.figure]).median >= room.least:
        return ""
    return ", ".join(_told(results, case, figure) for figure in (room.figure, *room.tell))


def _told(results: Results, case: str, key: str) -> str:
    figure = FIGURES[key]
    return f"{figure.title} {spread(results[case, key]).median:.{figure.digits}f} {figure.unit}"
