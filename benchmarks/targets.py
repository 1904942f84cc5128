"""What this project wants to reach, each judged from the figures of one run (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import FIGURES
from benchmarks.stats import Spread, Verdict, paired_ratios, spread, verdict

Results = Mapping[tuple[str, str], Sequence[float]]  # (case, figure) → one value a repeat


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A figure of ours against a goal; with `against`, its ratio to a peer's figure (best case against best case)."""

    text: str
    figure: str
    goal: float
    ours: tuple[str, ...]
    against: tuple[str, ...] = ()
    peer_figure: str = ""  # the same as `figure` where empty


@dataclass(frozen=True, slots=True)
class Judgement:
    """A target with what was reached."""

    target: Target
    ours: str
    peer: str  # empty for a goal without a peer
    reached: Spread
    verdict: Verdict


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
    return Judgement(target, ours, peer, spread(values), verdict(values, target.goal, more_is_better=True))


_OURS, _OURS_FAST, _OURS_RELAXED = "sqlite/reinhardt", "sqlite/reinhardt-fast", "sqlite/reinhardt-relaxed"
_FULL, _RELAXED = ("sqlite/huey", "sqlite/huey-fast"), ("sqlite/huey-relaxed",)

TARGETS = (
    Target(
        text="drain, full durability on both, over huey at its fastest",
        figure="drain",
        goal=8,
        ours=(_OURS, _OURS_FAST),
        against=_FULL,
    ),
    Target(text="single enqueue, full durability on both", figure="single", goal=1, ours=(_OURS,), against=_FULL),
    Target(
        text="single enqueue, sync off on both",
        figure="single",
        goal=0.5,
        ours=(_OURS_RELAXED,),
        against=_RELAXED,
    ),
    Target(
        text="100 in flight over huey's single, full durability on both",
        figure="gathered",
        goal=8,
        ours=(_OURS,),
        against=_FULL,
        peer_figure="single",
    ),
    Target(
        text="bulk over huey's single, full durability on both",
        figure="bulk",
        goal=8,
        ours=(_OURS,),
        against=_FULL,
        peer_figure="single",
    ),
    Target(text="enqueue to start, p50 in ms, at most", figure="latency_p50", goal=3, ours=(_OURS,)),
    Target(text="claim cost, large backlog queued, at most", figure="claim_queued_growth", goal=1.5, ours=(_OURS,)),
    Target(text="claim cost, large backlog finished, at most", figure="claim_finished_growth", goal=1.5, ours=(_OURS,)),
    Target(text="idle worker, % of a core, at most", figure="idle_cpu", goal=0.5, ours=(_OURS,)),
)
