"""What is measured: each function takes a fresh bench and answers one repeat's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import sleep

from benchmarks.bench import Bench
from benchmarks.stamps import Progress, elapsed
from benchmarks.stats import percentile
from benchmarks.trees import cpu_seconds, memory

LATENCY_MESSAGES, LATENCY_WARM_UP = 200, 10
IDLE_SECONDS, IDLE_SETTLE = 20.0, 2.0
MEMORY_AFTER = 0.4  # seconds between the end of a drain and the look at the memory


@dataclass(frozen=True, slots=True)
class Repeat:
    """Figures of one repeat; `seconds` says how long the measured part took, for the choice of a size."""

    figures: Mapping[str, float]
    seconds: float


def enqueue(bench: Bench, verb: str, messages: int) -> Repeat:
    """Messages a second put by one process, without a worker."""
    seconds = bench.produce(verb, messages=messages)["seconds"]
    return Repeat({verb: messages / seconds}, seconds)


def drain(bench: Bench, messages: int) -> Repeat:
    """Messages a second between the first and the last of a queue that was full before the worker started."""
    bench.fill(messages)
    progress = Progress(bench.slots, messages)
    with bench.worker() as worker:
        worker.until(lambda: progress.seen() > 0, progress)
        began, cpu_before = progress.seen(), cpu_seconds(worker.pid)
        worker.until(progress.complete, progress)
        cpu = cpu_seconds(worker.pid) - cpu_before
        sleep(MEMORY_AFTER)
        held = memory(worker.pid)
    seconds = elapsed(bench.slots, messages)
    figures = {
        "drain": (messages - 1) / seconds,
        "drain_cpu": cpu / (messages - began) * 1e6,
        "rss": held.rss,
        "pss": held.pss,
    }
    return Repeat(figures, seconds)


def latency(bench: Bench) -> Repeat:
    """Milliseconds from enqueue to start with an idle worker."""
    with bench.worker():
        took = bench.produce("latency", warm_up=LATENCY_WARM_UP, messages=LATENCY_MESSAGES)["milliseconds"]
    return Repeat({"latency_p50": percentile(took, 50), "latency_p99": percentile(took, 99)}, sum(took) / 1000)


def idle(bench: Bench) -> Repeat:
    """Share of a core that a worker takes once it has run one message and has nothing more to do."""
    with bench.worker() as worker:
        bench.produce("latency", warm_up=0, messages=1)
        sleep(IDLE_SETTLE)
        before = cpu_seconds(worker.pid)
        sleep(IDLE_SECONDS)
        spent = cpu_seconds(worker.pid) - before
    return Repeat({"idle_cpu": spent / IDLE_SECONDS * 100}, IDLE_SECONDS)


SIZED: Mapping[str, Callable[[Bench, int], Repeat]] = {
    "single": lambda bench, messages: enqueue(bench, "single", messages),
    "gathered": lambda bench, messages: enqueue(bench, "gathered", messages),
    "bulk": lambda bench, messages: enqueue(bench, "bulk", messages),
    "drain": drain,
}
UNSIZED: Mapping[str, Callable[[Bench], Repeat]] = {"latency": latency, "idle": idle}


def claims(bench: Bench, backlog: int, rounds: int) -> list[Repeat]:
    """Microseconds to claim and settle 10 messages against what else the store holds, by the backend's own verbs."""
    answer = bench.produce("claims", backlog=backlog, rounds=rounds)
    return [
        Repeat(
            {
                "claim_small": small,
                "claim_queued": queued,
                "claim_finished": finished,
                "claim_queued_growth": queued / small,
                "claim_finished_growth": finished / small,
            },
            0,
        )
        for small, queued, finished in zip(answer["small"], answer["queued"], answer["finished"], strict=True)
    ]
