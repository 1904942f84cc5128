"""The figures a run prints: what each is called, its unit, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One column of numbers, gathered over cases and repeats."""

    key: str
    measure: str  # which of `benchmarks.cases.MEASURES` gives it
    title: str
    unit: str
    more_is_better: bool = False
    digits: int = 1


FIGURES = {
    figure.key: figure
    for figure in (
        Figure("single", "single", "enqueue, one awaited at a time", "messages/s", more_is_better=True, digits=0),
        Figure("gathered", "gathered", "enqueue, 100 in flight", "messages/s", more_is_better=True, digits=0),
        Figure("bulk", "bulk", "enqueue, 1,000 a call", "messages/s", more_is_better=True, digits=0),
        Figure("drain", "drain", "drain by one worker process", "messages/s", more_is_better=True, digits=0),
        Figure("drain_cpu", "drain", "worker's processor time while draining", "us/message"),
        Figure("rss", "drain", "worker's memory after the drain, resident", "MiB"),
        Figure("pss", "drain", "worker's memory after the drain, shared pages in proportion", "MiB"),
        Figure("latency_p50", "latency", "enqueue to start, idle worker, p50", "ms", digits=2),
        Figure("latency_p99", "latency", "enqueue to start, idle worker, p99", "ms", digits=2),
        Figure("idle_cpu", "idle", "idle worker", "% of a core", digits=2),
        Figure("claim_small", "claims", "claim and settle 10, 1,000 queued", "us"),
        Figure("claim_queued", "claims", "claim and settle 10, large backlog queued", "us"),
        Figure("claim_finished", "claims", "claim and settle 10, 1,000 queued after a large backlog finished", "us"),
        Figure("claim_queued_growth", "claims", "claim cost, large backlog queued over 1,000 queued", "x", digits=2),
        Figure(
            "claim_finished_growth", "claims", "claim cost, large backlog finished over 1,000 queued", "x", digits=2
        ),
    )
}
