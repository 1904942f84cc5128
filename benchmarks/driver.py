"""The order of things: pilots choose the sizes, then repeats alternate between the cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bench import bench
from benchmarks.cases import COMPOSED, MEASURES, Case
from benchmarks.figures import FIGURES
from benchmarks.guard import Guard
from benchmarks.measures import (
    COMPOSED_SIZES,
    LATENCY_MESSAGES,
    LATENCY_WARM_UP,
    SIZED,
    UNSIZED,
    WORKFLOWS,
    Repeat,
    claims,
    idle,
)
from benchmarks.stats import enough_messages

PILOT_MESSAGES = 2_000
SPARE = 100  # slots for what runs beside a workflow: warm-up, round trips, the callback


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much a figure rests on; durations in seconds."""

    repeats: int
    messages: int  # the least of a repeat
    lasting: float  # the least of a repeat
    aim: float  # a repeat is sized for this, so that a faster one still lasts the least
    pilot: float  # the least of a pilot that is trusted
    idle: float  # how long an idle worker is watched
    backlog: int  # messages in the large store of the claim costs


WHOLE = Effort(repeats=3, messages=5_000, lasting=2.0, aim=2.6, pilot=0.7, idle=10.0, backlog=1_000_000)
QUICK = Effort(repeats=1, messages=1_000, lasting=0.3, aim=0.6, pilot=0.1, idle=2.0, backlog=20_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one run does. `messages` None means: as many as `effort` asks for."""

    cases: Sequence[Case]
    measures: Sequence[str]
    effort: Effort
    messages: int | None
    say: Callable[[str], None]


@dataclass(slots=True)
class Run:
    """What one run found."""

    peers: dict[str, dict[str, Any]] = field(default_factory=dict)  # case → interpreter, packages, store
    sizes: dict[tuple[str, str], int] = field(default_factory=dict)  # (case, measure) → messages a repeat
    results: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def execute(plan: Plan, guard: Guard) -> Run:
    """Everything `plan` asks for. Raises PeerError or MissingEnvironmentError at the first thing that fails."""
    return _Driver(plan, guard).execute()


class _Driver:
    """One run while it goes on."""

    def __init__(self, plan: Plan, guard: Guard) -> None:
        self._plan = plan
        self._guard = guard
        self._run = Run()

    def execute(self) -> Run:
        for case in self._plan.cases:
            with bench(case, self._guard, 1) as place:
                found = place.produce("describe")
                self._run.peers[case.name] = {**found, "store": {**place.broker.settings, **found["store"]}}
        for measure in MEASURES:
            if measure in self._plan.measures:
                self._measure(measure, [case for case in self._plan.cases if measure in case.measures])
        return self._run

    def _measure(self, measure: str, cases: Sequence[Case]) -> None:
        if measure == "claims":
            for case in cases:
                self._claims(case)
            return
        for case in cases:
            if measure in SIZED:
                self._run.sizes[case.name, measure] = self._plan.messages or self._size(case, measure)
            elif measure in COMPOSED:
                self._run.sizes[case.name, measure] = self._plan.messages or COMPOSED_SIZES[measure]
        for number in range(1, self._plan.effort.repeats + 1):
            what = f"{measure} {number}/{self._plan.effort.repeats}"
            if measure == "idle":
                self._idle(cases, what)
                continue
            for case in cases:
                self._record(case, what, self._repeat(case, measure))

    def _claims(self, case: Case) -> None:
        effort = self._plan.effort
        with bench(case, self._guard, 1) as place:
            for number, repeat in enumerate(claims(place, effort.backlog, effort.repeats), 1):
                self._record(case, f"claims {number}/{effort.repeats}", repeat)

    def _idle(self, cases: Sequence[Case], what: str) -> None:
        with ExitStack() as opened:
            places = [opened.enter_context(bench(case, self._guard, 1)) for case in cases]
            for case, repeat in zip(cases, idle(places, self._plan.effort.idle), strict=True):
                self._record(case, what, repeat)

    def _size(self, case: Case, measure: str) -> int:
        """Messages of a repeat. Two workers start from what one has drained; too short a repeat asks for more."""
        drained = self._run.sizes.get((case.name, "drain"))
        return drained if measure == "drain2" and drained else self._calibrated(case, measure)

    def _calibrated(self, case: Case, measure: str) -> int:
        """Messages that keep this case busy for a while, from pilots that grow until one is long enough to trust."""
        effort = self._plan.effort
        messages = PILOT_MESSAGES
        while True:
            took = self._once(case, measure, messages).seconds
            if took >= effort.pilot:
                return enough_messages(messages, took, least=effort.messages, lasting=effort.aim)
            larger = enough_messages(messages, took, least=messages * 2, lasting=2 * effort.pilot)
            messages = min(messages * 20, larger)

    def _repeat(self, case: Case, measure: str) -> Repeat:
        """One repeat; where it turns out too short to count, a larger one in its place."""
        if measure in UNSIZED:
            with bench(case, self._guard, LATENCY_WARM_UP + LATENCY_MESSAGES) as place:
                return UNSIZED[measure](place)
        if measure in COMPOSED:
            size = self._run.sizes[case.name, measure]
            with bench(case, self._guard, 2 * size + SPARE) as place:
                return WORKFLOWS[measure](place, size)
        effort = self._plan.effort
        while True:
            messages = self._run.sizes[case.name, measure]
            repeat = self._once(case, measure, messages)
            if self._plan.messages or repeat.seconds >= effort.lasting:
                return repeat
            self._run.sizes[case.name, measure] = enough_messages(
                messages, repeat.seconds, least=messages + 1000, lasting=effort.aim
            )

    def _once(self, case: Case, measure: str, messages: int) -> Repeat:
        with bench(case, self._guard, messages) as place:
            return SIZED[measure](place, messages)

    def _record(self, case: Case, what: str, repeat: Repeat) -> None:
        for key, value in repeat.figures.items():
            self._run.results[case.name, key].append(value)
        key, value = next(iter(repeat.figures.items()))
        self._plan.say(f"{what}  {case.name}  {value:,.{FIGURES[key].digits}f} {FIGURES[key].unit}")
