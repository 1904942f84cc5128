"""What this project wants to reach with workflows: chains at the defaults, groups where a drain is fastest."""

from __future__ import annotations

from benchmarks.targets.target import Target


def _both(peer: str) -> tuple[str, ...]:
    """The cases of a peer on Redis, at its defaults and at its fastest."""
    return f"workflow/redis-{peer}", f"workflow/redis-{peer}-fast"


_OURS, _CELERY = _both("reinhardt"), _both("celery")

TARGETS = (
    *(
        target
        for broker in ("sqlite", "redis", "postgres")
        for target in (
            Target(
                text=f"{broker}: mean step of a chain over a round trip, at most",
                figure="chain_ratio",
                goal=1.5,
                ours=(f"workflow/{broker}-reinhardt",),
            ),
            Target(
                text=f"{broker}: group with callback, % of the plain drain rate",
                figure="group_share",
                goal=60,
                ours=(f"workflow/{broker}-reinhardt-fast",),
            ),
        )
    ),
    Target(text="redis: chain, over Celery at its fastest", figure="chain", goal=5, ours=_OURS, against=_CELERY),
    Target(
        text="redis: group, over Celery's chord at its fastest", figure="group", goal=5, ours=_OURS, against=_CELERY
    ),
)
