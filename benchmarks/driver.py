"""The order of things: pilots choose the sizes, then repeats alternate between the cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bench import bench
from benchmarks.cases import MEASURES, Case
from benchmarks.figures import FIGURES
from benchmarks.measures import LATENCY_MESSAGES, LATENCY_WARM_UP, SIZED, UNSIZED, Repeat, claims
from benchmarks.stats import enough_messages

LEAST_MESSAGES = 10_000
LEAST_SECONDS = 2.0
AIM_SECONDS = 3.0  # so that a faster repeat still lasts the least
PILOT_MESSAGES = 2_000
PILOT_SECONDS = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one run does. `messages` None means: as many as `LEAST_MESSAGES` and `LEAST_SECONDS` ask for."""

    cases: Sequence[Case]
    measures: Sequence[str]
    repeats: int
    messages: int | None
    backlog: int  # the large store of the claim costs
    stores: Path
    say: Callable[[str], None]


@dataclass(slots=True)
class Run:
    """What one run found."""

    peers: dict[str, dict[str, Any]] = field(default_factory=dict)  # case → interpreter, packages, store
    sizes: dict[tuple[str, str], int] = field(default_factory=dict)  # (case, measure) → messages a repeat
    results: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def execute(plan: Plan) -> Run:
    """Everything `plan` asks for. Raises PeerError or MissingEnvironmentError at the first thing that fails."""
    run = Run()
    for case in plan.cases:
        with bench(case, plan.stores, 1) as place:
            run.peers[case.name] = place.produce("describe")
    for measure in MEASURES:
        if measure in plan.measures:
            _measure(plan, run, measure)
    return run


def _measure(plan: Plan, run: Run, measure: str) -> None:
    cases = [case for case in plan.cases if measure in case.measures]
    if measure == "claims":
        for case in cases:
            _measure_claims(plan, run, case)
        return
    for case in cases:
        if measure in SIZED:
            run.sizes[case.name, measure] = plan.messages or _calibrated(plan, case, measure)
    for number in range(1, plan.repeats + 1):
        for case in cases:
            _record(plan, run, case, f"{measure} {number}/{plan.repeats}", _repeat(plan, run, case, measure))


def _measure_claims(plan: Plan, run: Run, case: Case) -> None:
    with bench(case, plan.stores, 1) as place:
        for number, repeat in enumerate(claims(place, plan.backlog, plan.repeats), 1):
            _record(plan, run, case, f"claims {number}/{plan.repeats}", repeat)


def _calibrated(plan: Plan, case: Case, measure: str) -> int:
    """Messages that keep this case busy for `AIM_SECONDS`, from pilots that grow until one is long enough to trust."""
    messages = PILOT_MESSAGES
    while True:
        took = _once(plan, case, measure, messages).seconds
        if took >= PILOT_SECONDS:
            return enough_messages(messages, took, least=LEAST_MESSAGES, lasting=AIM_SECONDS)
        messages = min(messages * 20, enough_messages(messages, took, least=messages * 2, lasting=2 * PILOT_SECONDS))


def _repeat(plan: Plan, run: Run, case: Case, measure: str) -> Repeat:
    """One repeat; where it turns out too short to count, a larger one in its place."""
    if measure in UNSIZED:
        with bench(case, plan.stores, LATENCY_WARM_UP + LATENCY_MESSAGES) as place:
            return UNSIZED[measure](place)
    while True:
        messages = run.sizes[case.name, measure]
        repeat = _once(plan, case, measure, messages)
        if plan.messages or repeat.seconds >= LEAST_SECONDS:
            return repeat
        run.sizes[case.name, measure] = enough_messages(
            messages, repeat.seconds, least=messages + 1000, lasting=AIM_SECONDS
        )


def _once(plan: Plan, case: Case, measure: str, messages: int) -> Repeat:
    with bench(case, plan.stores, messages) as place:
        return SIZED[measure](place, messages)


def _record(plan: Plan, run: Run, case: Case, what: str, repeat: Repeat) -> None:
    for key, value in repeat.figures.items():
        run.results[case.name, key].append(value)
    key, value = next(iter(repeat.figures.items()))
    plan.say(f"{what}  {case.name}  {value:,.{FIGURES[key].digits}f} {FIGURES[key].unit}")
