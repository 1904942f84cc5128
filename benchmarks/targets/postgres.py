"""What this project wants to reach on PostgreSQL."""

from __future__ import annotations

from benchmarks.targets.target import Target


def _both(peer: str) -> tuple[str, ...]:
    """The cases of a peer at its defaults and at its fastest."""
    return f"postgres/{peer}", f"postgres/{peer}-fast"


_OURS, _PROCRASTINATE, _PGQUEUER = _both("reinhardt"), _both("procrastinate"), _both("pgqueuer")
_GRAPHILE = _both("graphile-worker")

TARGETS = (
    Target(text="drain, over pgqueuer at its fastest", figure="drain", goal=1.25, ours=_OURS, against=_PGQUEUER),
    Target(
        text="drain, over procrastinate at its fastest", figure="drain", goal=30, ours=_OURS, against=_PROCRASTINATE
    ),
    Target(text="bulk, over graphile-worker", figure="bulk", goal=1.2, ours=_OURS, against=_GRAPHILE),
    Target(text="100 in flight, over procrastinate", figure="gathered", goal=5, ours=_OURS, against=_PROCRASTINATE),
    Target(text="single enqueue, over pgqueuer", figure="single", goal=1, ours=_OURS, against=_PGQUEUER),
    Target(text="enqueue to start, p50 in ms, at most", figure="latency_p50", goal=2.5, ours=_OURS),
    Target(text="claim cost, large backlog queued, at most", figure="claim_queued_growth", goal=2, ours=_OURS),
    Target(text="claim cost, large backlog finished, at most", figure="claim_finished_growth", goal=2, ours=_OURS),
)
