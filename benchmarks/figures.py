"""The figures a run prints: what each is called, its unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Iterator
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
    short: str = ""  # its heading in the table of a page, where it has a place there


def _drain(measure: str, title: str) -> Iterator[Figure]:
    """What every drain tells; what a server costs is told where there is one."""
    short = "drain, messages/s" if measure == "drain" else "by two"
    yield Figure(measure, measure, title, "messages/s", more_is_better=True, digits=0, short=short)
    worker, server = ("worker, µs", "server, µs") if measure == "drain" else ("", "")
    yield Figure(f"{measure}_cpu", measure, f"{title}: workers' processor time", "us/message", short=worker)
    yield Figure(f"{measure}_server_cpu", measure, f"{title}: server's processor time", "us/message", short=server)
    yield Figure(f"{measure}_core", measure, f"{title}: workers' processor time", "% of a core", digits=0)
    yield Figure(f"{measure}_server_core", measure, f"{title}: server's processor time", "% of a core", digits=0)
    yield Figure(f"{measure}_idle", measure, f"{title}: idle", "% of the machine", more_is_better=True, digits=0)


def _claims() -> Iterator[Figure]:
    yield Figure("claim_small", "claims", "claim and settle 10, 1,000 queued", "us")
    for key, what in (
        ("queued", "large backlog queued"),
        ("later", "1,000 queued, large backlog due later"),
        ("finished", "1,000 queued after a large backlog finished"),
    ):
        yield Figure(f"claim_{key}", "claims", f"claim and settle 10, {what}", "us")
        yield Figure(f"claim_{key}_growth", "claims", f"claim cost, {what}, over 1,000 queued", "x", digits=2)


def _composed() -> Iterator[Figure]:
    yield Figure("chain", "chain", "chain", "steps/s", more_is_better=True, digits=0, short="chain, steps/s")
    yield Figure("chain_step", "chain", "chain: mean step", "ms", digits=2, short="step, ms")
    yield Figure("chain_whole", "chain", "chain: from before its enqueue to its result", "ms", digits=0)
    yield Figure(
        "roundtrip_p50", "chain", "enqueue to result, idle worker, p50", "ms", digits=2, short="round trip, ms"
    )
    yield Figure("chain_ratio", "chain", "chain: mean step over round trip", "x", digits=2)
    title, plain = "group with callback", "as many messages in no group"
    yield Figure("group", "group", title, "messages/s", more_is_better=True, digits=0, short="group, messages/s")
    yield Figure("group_plain", "group", plain, "messages/s", more_is_better=True, digits=0)
    yield Figure("group_share", "group", f"{title}, of the rate in no group", "%", more_is_better=True, digits=0)
    yield Figure("group_members", "group", f"{title}: members alone", "messages/s", more_is_better=True, digits=0)
    yield Figure("group_put", "group", f"{title}: its enqueue", "messages/s", more_is_better=True, digits=0)
    for key, what in (("group", title), ("group_plain", plain)):
        yield Figure(f"{key}_cpu", "group", f"{what}: worker's processor time", "us/message")
        yield Figure(f"{key}_server_cpu", "group", f"{what}: server's processor time", "us/message")


def _enqueue(measure: str, title: str, short: str) -> Figure:
    return Figure(measure, measure, f"enqueue, {title}", "messages/s", more_is_better=True, digits=0, short=short)


FIGURES = {
    figure.key: figure
    for figure in (
        _enqueue("single", "one awaited at a time", "enqueue one, messages/s"),
        _enqueue("gathered", "100 in flight", "100 in flight"),
        _enqueue("bulk", "1,000 a call", "in bulk"),
        _enqueue("sync", "without an event loop", "`enqueue_sync`"),
        *_drain("drain", "drain by one worker process"),
        *_drain("drain2", "drain by two worker processes"),
        Figure("rss", "drain", "worker's memory after the drain, resident", "MiB", short="worker, MiB"),
        Figure("pss", "drain", "worker's memory after the drain, shared pages in proportion", "MiB"),
        Figure("latency_p50", "latency", "enqueue to start, idle worker, p50", "ms", digits=2, short="p50, ms"),
        Figure("latency_p99", "latency", "enqueue to start, idle worker, p99", "ms", digits=2, short="p99, ms"),
        Figure("idle_cpu", "idle", "idle worker", "% of a core", digits=2, short="idle, % of a core"),
        Figure("idle_server_cpu", "idle", "server of an idle worker", "% of a core", digits=2),
        Figure("idle_commands", "idle", "server of an idle worker", "commands/s", short="idle, commands/s"),
        Figure("memory", "memory", "server's memory for a queued message", "bytes", digits=0, short="queued, bytes"),
        Figure("memory_share", "memory", "the same over 2 x body + 300 bytes", "x", digits=2),
        *_claims(),
        *_composed(),
    )
}
HEADLINES = {key: figure for key, figure in FIGURES.items() if figure.short}
"""What the table of a page shows."""
