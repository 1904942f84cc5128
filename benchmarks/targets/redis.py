"""What this project wants to reach on Redis."""

from __future__ import annotations

from benchmarks.targets.target import Room, Target


def _both(*peers: str) -> tuple[str, ...]:
    """The cases of peers at their defaults and at their fastest."""
    return tuple(f"redis/{peer}{kind}" for peer in peers for kind in ("", "-fast"))


_OURS = _both("reinhardt")
_PYTHON = _both("taskiq", "dramatiq", "saq", "huey", "celery")

TARGETS = (
    Target(text="drain, over the best Python peer at its fastest", figure="drain", goal=6, ours=_OURS, against=_PYTHON),
    Target(text="drain, over BullMQ at its fastest", figure="drain", goal=2.5, ours=_OURS, against=_both("bullmq")),
    Target(
        text="drain, two worker processes over one",
        figure="drain2",
        goal=1.6,
        ours=_OURS,
        against=_OURS,
        peer_figure="drain",
        room=Room(figure="drain_idle", least=25, tell=("drain_core", "drain_server_core")),
    ),
    Target(text="100 in flight, over BullMQ", figure="gathered", goal=2, ours=_OURS, against=_both("bullmq")),
    Target(text="single enqueue, over SAQ", figure="single", goal=1, ours=_OURS, against=_both("saq")),
    Target(
        text="enqueue_sync, over huey",
        figure="sync",
        goal=0.5,
        ours=_OURS,
        against=_both("huey"),
        peer_figure="single",
    ),
    Target(text="enqueue to start, p50 in ms, at most", figure="latency_p50", goal=0.6, ours=_OURS),
    Target(text="memory of a queued message over 2 × body + 300, at most", figure="memory_share", goal=1, ours=_OURS),
    Target(text="claim cost, large backlog queued, at most", figure="claim_queued_growth", goal=1.5, ours=_OURS),
    Target(text="claim cost, large backlog due later, at most", figure="claim_later_growth", goal=1.5, ours=_OURS),
    Target(text="claim cost, large backlog finished, at most", figure="claim_finished_growth", goal=1.5, ours=_OURS),
)
