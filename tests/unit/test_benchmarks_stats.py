"""What the benchmark may say about its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.brokers.broker import Reading
from benchmarks.cases import CASES, MEASURES, chosen
from benchmarks.figures import FIGURES
from benchmarks.machine import cores
from benchmarks.spending import Moment, between
from benchmarks.stats import Spread, enough_messages, paired_ratios, percentile, spread, verdict
from benchmarks.tables import tables
from benchmarks.targets import TARGETS, Results, Room, Target, best_case, judge


def test_spread_is_median_and_ends() -> None:
    """The middle repeat stands for all, and the ends are shown."""
    assert spread([5, 1, 3]) == Spread(median=3, low=1, high=5)
    assert spread([4, 2]) == Spread(median=3, low=2, high=4)
    with pytest.raises(ValueError, match="at least one"):
        spread([])


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1), (98.5, 99)])
def test_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    """The p-th percentile of 1 to 100 is a value that was seen, and p percent do not exceed it."""
    assert percentile(list(range(100, 0, -1)), percent) == expected


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1], 0), ([1], 100.1)])
def test_percentile_refuses_what_has_no_answer(values: list[float], percent: float) -> None:
    """No values and no such rank are errors, never a zero."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_ratios_compare_repeats_that_ran_side_by_side() -> None:
    """A slow minute that halves both repeats leaves the ratio alone."""
    assert paired_ratios([80, 40, 80], [10, 5, 10]) == [8, 8, 8]
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios([1, 2], [1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7, 8, 9], "met"), ([8, 8, 8], "met"), ([6, 7, 8], "equal"), ([6, 7, 7.9], "missed"), ([1, 8.5, 20], "met")],
)
def test_a_rate_is_judged_by_its_median_and_its_best_repeat(values: list[float], expected: str) -> None:
    """Met by the median; equal while the best repeat reaches the goal; otherwise missed."""
    assert verdict(values, 8, more_is_better=True) == expected


@pytest.mark.parametrize(
    ("values", "expected"), [([2, 3, 9], "met"), ([2.9, 3.1, 4], "equal"), ([3.1, 3.2, 3.3], "missed")]
)
def test_a_cost_is_judged_downwards(values: list[float], expected: str) -> None:
    """Where less is better, the least repeat is the best."""
    assert verdict(values, 3, more_is_better=False) == expected


@pytest.mark.parametrize(
    ("messages", "took", "expected"), [(2_000, 0.1, 60_000), (2_000, 1.99, 10_000), (9_999, 2.0, 15_000)]
)
def test_a_fast_system_gets_more_messages(messages: int, took: float, expected: int) -> None:
    """Enough for the time wanted at the pilot's rate, in whole thousands, never under the least."""
    assert enough_messages(messages, took, least=10_000, lasting=3) == expected


RESULTS: Results = {
    ("ours", "drain"): [800, 900, 1000],
    ("ours-fast", "drain"): [1600, 1700, 1900],
    ("peer", "drain"): [100, 100, 100],
    ("peer-fast", "drain"): [200, 200, 200],
    ("ours", "latency_p50"): [3.5, 2.0, 4.0],
    ("ours", "gathered"): [500, 600, 700],
    ("peer", "single"): [100, 100, 100],
}


def test_the_best_case_follows_the_direction_of_the_figure() -> None:
    """The highest rate, the lowest cost; a case that was not measured is passed over."""
    assert best_case(RESULTS, ["peer", "peer-fast", "absent"], "drain") == "peer-fast"
    assert best_case({("a", "latency_p50"): [2], ("b", "latency_p50"): [1]}, ["a", "b"], "latency_p50") == "b"
    assert best_case(RESULTS, ["absent"], "drain") is None


def test_a_ratio_is_taken_between_best_cases() -> None:
    """A peer is met at its fastest, not at the case that flatters us."""
    target = Target(text="", figure="drain", goal=8, ours=("ours", "ours-fast"), against=("peer", "peer-fast"))
    found = judge(target, RESULTS)
    assert found is not None
    assert (found.ours, found.peer, found.verdict) == ("ours-fast", "peer-fast", "met")
    assert found.reached == Spread(median=8.5, low=8, high=9.5)


def test_a_target_may_compare_different_figures() -> None:
    """Many in flight against a peer that has only one at a time."""
    target = Target(text="", figure="gathered", goal=8, ours=("ours",), against=("peer",), peer_figure="single")
    found = judge(target, RESULTS)
    assert found is not None
    assert (found.reached.median, found.verdict) == (6, "missed")


def test_a_target_without_a_peer_is_judged_alone() -> None:
    """A latency stands for itself, and less is better."""
    found = judge(Target(text="", figure="latency_p50", goal=3, ours=("ours",)), RESULTS)
    assert found is not None
    assert (found.peer, found.verdict) == ("", "equal")


@pytest.mark.parametrize(("idle", "expected"), [([24, 26, 30], "missed"), ([24, 24, 30], "not asked")])
def test_a_target_is_asked_where_the_machine_has_room(idle: list[float], expected: str) -> None:
    """Two workers are not twice as quick as one that leaves them nothing; what was full is told instead."""
    results = {("one", "drain"): [10, 10, 10], ("one", "drain2"): [12, 12, 12], ("one", "drain_idle"): idle}
    room = Room(figure="drain_idle", least=25, tell=("drain_core",))
    target = Target(text="", figure="drain2", goal=1.6, ours=("one",), against=("one",), peer_figure="drain", room=room)
    found = judge(target, {**results, ("one", "drain_core"): [99, 99, 99]})
    assert found is not None
    assert found.verdict == expected
    assert found.why.endswith("99 % of a core") == (expected == "not asked")


def test_what_was_spent_is_told_by_the_message_and_by_the_core() -> None:
    """Two seconds of 1,000 messages, with a server and without."""
    before = Moment(at=5, workers=1, server=Reading(cpu_seconds=3, commands=10, memory=0), idle=7)
    after = Moment(at=7, workers=2, server=Reading(cpu_seconds=3.5, commands=30, memory=0), idle=8)
    spent = between(before, after)
    assert spent.costs("drain", 1_000) == {"drain_cpu": 1_000, "drain_server_cpu": 500}
    assert spent.shares("drain") == {"drain_core": 50, "drain_server_core": 25, "drain_idle": 50 / cores()}
    assert spent.commands == 20
    alone = between(replace(before, server=None), replace(after, server=None))
    assert alone.costs("drain", 1_000) == {"drain_cpu": 1_000}


def test_what_was_not_measured_is_not_judged() -> None:
    """A run of some cases says nothing about the others."""
    assert judge(Target(text="", figure="bulk", goal=1, ours=("ours",)), RESULTS) is None
    assert judge(Target(text="", figure="drain", goal=1, ours=("ours",), against=("absent",)), RESULTS) is None


def test_every_target_has_a_text_of_its_own_for_its_broker() -> None:
    """So that a line of the report names one."""
    named = [(target.ours[0].partition("/")[0], target.text) for target in TARGETS]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.ours[0]}: {target.text}")
def test_every_target_can_be_judged_by_a_whole_run(target: Target) -> None:
    """Targets name cases that exist and figures that those cases measure."""
    found = {
        (case.name, key): [1.0] for case in CASES for key, figure in FIGURES.items() if figure.measure in case.measures
    }
    assert judge(target, found) is not None


def test_cases_are_chosen_by_pattern() -> None:
    """Nothing chosen means all; a pattern that fits nothing is a mistake, not an empty run."""
    assert chosen([]) == CASES
    assert {case.peer for case in chosen(["sqlite/huey*"])} == {"huey"}
    assert {case.broker for case in chosen(["redis/*"])} == {"redis"}
    with pytest.raises(ValueError, match="no case is called nothing"):
        chosen(["nothing"])


def test_cases_differ_by_name_and_measure_something_known() -> None:
    """Results are kept by a case's name."""
    assert len({case.name for case in CASES}) == len(CASES)
    assert {measure for case in CASES for measure in case.measures} <= set(MEASURES)
    assert {figure.measure for figure in FIGURES.values()} == set(MEASURES)


def test_the_tables_of_a_page_show_medians_and_verdicts() -> None:
    """A case in each line, a dash where it has no figure; why a target was not asked stands beside it."""
    reached = {"median": 1.2, "min": 1.1, "max": 1.3}
    told = {
        "cases": [{"case": "redis/one"}, {"case": "redis/two"}],
        "figures": [
            {"case": "redis/one", "figure": "single", "unit": "messages/s", "values": [1000, 3000, 2000]},
            {"case": "redis/one", "figure": "pss", "unit": "MiB", "values": [7]},
            {"case": "redis/two", "figure": "latency_p50", "unit": "ms", "values": [0.5]},
        ],
        "targets": [{"target": "speed", "goal": 1.6, "reached": reached, "verdict": "not asked", "why": "no room"}],
    }
    assert tables(told).splitlines() == [
        "|  | enqueue one, messages/s | p50, ms |",
        "| --- | ---: | ---: |",
        "| redis/one | 2,000 | – |",
        "| redis/two | – | 0.50 |",
        "",
        "| target | goal | reached, median (least – greatest) |  |",
        "| --- | ---: | ---: | --- |",
        "| speed | 1.6 | 1.20 (1.10 – 1.30) | not asked: no room |",
    ]
