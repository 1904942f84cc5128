"""What this project wants to reach on SQLite."""

from __future__ import annotations

from benchmarks.targets.target import Target

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
