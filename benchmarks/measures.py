"""What is measured: each function takes a fresh bench and answers one repeat's figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import sleep

from benchmarks.bench import Bench
from benchmarks.cases import PROJECT
from benchmarks.spending import Spent, between, now
from benchmarks.stamps import Progress, Stamps, elapsed
from benchmarks.stats import percentile

LATENCY_MESSAGES, LATENCY_WARM_UP = 200, 10
IDLE_SETTLE = 2.0
MEMORY_AFTER = 0.4  # seconds between the end of a drain and the look at the worker's memory
MEMORY_MESSAGES = 50_000
ROUND_TRIPS = 300


@dataclass(frozen=True, slots=True)
class Repeat:
    """Figures of one repeat; `seconds` says how long the measured part took, for the choice of a size."""

    figures: Mapping[str, float]
    seconds: float = 0


def enqueue(bench: Bench, messages: int, *, verb: str) -> Repeat:
    """Messages a second put by one process, without a worker."""
    seconds = bench.produce(verb, messages=messages)["seconds"]
    return Repeat({verb: messages / seconds}, seconds)


def drain(bench: Bench, messages: int, *, processes: int) -> Repeat:
    """Messages a second between the first and the last of a queue that was full before the workers started."""
    name = "drain" if processes == 1 else f"drain{processes}"
    bench.fill(messages)
    progress = Progress(bench.slots, messages)
    with bench.workers(processes) as workers:
        workers.until(lambda: progress.seen() > 0, progress)
        began, before = progress.seen(), now(bench, workers)
        workers.until(progress.complete, progress)
        spent = between(before, now(bench, workers))
        sleep(MEMORY_AFTER)
        held = workers.memory()
    seconds = elapsed(bench.slots, messages)
    figures = {name: (messages - 1) / seconds, **spent.costs(name, messages - began), **spent.shares(name)}
    return Repeat(figures if processes > 1 else {**figures, "rss": held.rss, "pss": held.pss}, seconds)


def latency(bench: Bench) -> Repeat:
    """Milliseconds from enqueue to start with an idle worker."""
    bench.fill(0)  # so that the worker finds the tables it works on
    with bench.workers():
        took = bench.produce("latency", warm_up=LATENCY_WARM_UP, messages=LATENCY_MESSAGES)["milliseconds"]
    return Repeat({"latency_p50": percentile(took, 50), "latency_p99": percentile(took, 99)}, sum(took) / 1000)


def idle(benches: Sequence[Bench], seconds: float) -> list[Repeat]:
    """What workers and their servers do in `seconds`, once each has run one message and has nothing more to do.

    All are watched at the same time, each with a broker of its own: they do next to nothing.
    """
    for bench in benches:
        bench.fill(0)
    with ExitStack() as running:
        watched = [(bench, running.enter_context(bench.workers())) for bench in benches]
        for bench in benches:
            bench.produce("latency", warm_up=0, messages=1)
        sleep(IDLE_SETTLE)
        before = [now(*one) for one in watched]
        sleep(seconds)
        after = [now(*one) for one in watched]
    return [Repeat(_idle_figures(between(*moments))) for moments in zip(before, after, strict=True)]


def _idle_figures(spent: Spent) -> Mapping[str, float]:
    figures = {"idle_cpu": 100 * spent.workers / spent.seconds}
    if spent.server is None or spent.commands is None:
        return figures
    served = {"idle_server_cpu": 100 * spent.server, "idle_commands": spent.commands}
    return {**figures, **{name: value / spent.seconds for name, value in served.items()}}


def memory(bench: Bench) -> Repeat:
    """Bytes a server holds for a message that is queued; for this project also as a share of what it may take."""
    before = bench.broker.reading()
    bench.fill(MEMORY_MESSAGES)
    after = bench.broker.reading()
    if before is None or after is None:
        raise ValueError(f"{bench.case.name}: no server whose memory could be read")
    held = (after.memory - before.memory) / MEMORY_MESSAGES
    if bench.case.peer != PROJECT:
        return Repeat({"memory": held})
    body = bench.produce("body")["bytes"]
    return Repeat({"memory": held, "memory_share": held / (2 * body + 300)})


def chain(bench: Bench, steps: int) -> Repeat:
    """Milliseconds from one step of a chain to the next with an idle worker; for this project also of a round trip."""
    bench.fill(0)
    with bench.workers():
        answer = bench.produce("chain", steps=steps, round_trips=ROUND_TRIPS if bench.case.peer == PROJECT else 0)
    step = 1000 * elapsed(bench.slots, steps) / (steps - 1)
    figures = {"chain": 1000 / step, "chain_step": step, "chain_whole": 1000 * answer["seconds"]}
    if not answer["milliseconds"]:
        return Repeat(figures)
    trip = percentile(answer["milliseconds"], 50)
    return Repeat({**figures, "roundtrip_p50": trip, "chain_ratio": step / trip})


def group(bench: Bench, members: int) -> Repeat:
    """Messages a second from the first member of a group to its callback, all queued before the worker starts.

    For this project also as a share of the rate at which as many messages are drained that are in no group. They come
    first, so that the group runs in a store that is fuller by them.
    """
    figures: dict[str, float] = {}
    if bench.case.peer == PROJECT:
        bench.fill(members)
        figures = _emptied(bench, "group_plain", bench.slots[:members])
    put = bench.fill(members, verb="group", first=members)
    ran = bench.slots[members : 2 * members + 1]
    figures = {**_emptied(bench, "group", ran), **figures, "group_put": members / put["seconds"]}
    figures["group_members"] = (members - 1) / elapsed(ran, members)
    if "group_plain" in figures:
        figures["group_share"] = 100 * figures["group"] / figures["group_plain"]
    return Repeat(figures)


def _emptied(bench: Bench, name: str, slots: Stamps) -> dict[str, float]:
    """Messages a second between the first and the last of a full queue, and what a worker and the server spent."""
    messages = len(slots)
    progress = Progress(slots, messages)
    with bench.workers() as workers:
        workers.until(lambda: progress.seen() > 0, progress)
        began, before = progress.seen(), now(bench, workers)
        workers.until(progress.complete, progress)
        spent = between(before, now(bench, workers))
    return {name: (messages - 1) / elapsed(slots, messages), **spent.costs(name, messages - began)}


SIZED: Mapping[str, Callable[[Bench, int], Repeat]] = {
    **{verb: partial(enqueue, verb=verb) for verb in ("single", "gathered", "bulk", "sync")},
    "drain": partial(drain, processes=1),
    "drain2": partial(drain, processes=2),
}
COMPOSED_SIZES: Mapping[str, int] = {"chain": 1_000, "group": 10_000}
WORKFLOWS: Mapping[str, Callable[[Bench, int], Repeat]] = {"chain": chain, "group": group}
UNSIZED: Mapping[str, Callable[[Bench], Repeat]] = {"latency": latency, "memory": memory}


def claims(bench: Bench, backlog: int, rounds: int) -> list[Repeat]:
    """Microseconds to claim and settle 10 messages against what else the store holds, by the backend's own verbs."""
    answer = bench.produce("claims", backlog=backlog, rounds=rounds)
    return [
        Repeat(_claim_figures(dict(zip(answer, costs, strict=True)))) for costs in zip(*answer.values(), strict=True)
    ]


def _claim_figures(costs: Mapping[str, float]) -> Mapping[str, float]:
    growth = {f"claim_{name}_growth": cost / costs["small"] for name, cost in costs.items() if name != "small"}
    return {**{f"claim_{name}": cost for name, cost in costs.items()}, **growth}
