"""The run as text and as JSON: machine, versions, settings, figures, ratios, verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.cases import PROJECT, Case
from benchmarks.driver import Plan, Run
from benchmarks.figures import FIGURES, Figure
from benchmarks.stats import paired_ratios, spread
from benchmarks.targets import TARGETS, Judgement, best_case, judge

Row = Sequence[str]


def text(plan: Plan, run: Run, machine: Mapping[str, str], warnings: Sequence[str]) -> str:
    """The whole report."""
    lines = ["Machine", *_pairs(machine), *(f"  WARNING: {warning}" for warning in warnings), ""]
    for case in plan.cases:
        lines += [*_case(case, run), ""]
    for figure in FIGURES.values():
        lines += _figure(figure, plan.cases, run)
    return "\n".join([*lines, *_verdicts(run)])


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [f"  {name}: {value}" for name, value in values.items()]


def _case(case: Case, run: Run) -> Iterator[str]:
    found = run.peers[case.name]
    yield f"{case.name} (durability: {case.durability})"
    yield f"  settings: {json.dumps(case.settings)}"
    if case.pair:
        yield f"  for two processes: {json.dumps(case.pair)}"
    yield f"  {found['runtime']}; " + ", ".join(
        f"{name} {version}" for name, version in sorted(found["packages"].items())
    )
    yield "  store: " + ", ".join(f"{name} {value}" for name, value in found["store"].items())
    sizes = [f"{measure} {count:,}" for (name, measure), count in run.sizes.items() if name == case.name]
    if sizes:
        yield f"  messages a repeat: {', '.join(sizes)}"


def _figure(figure: Figure, cases: Sequence[Case], run: Run) -> list[str]:
    rows = [_figure_row(figure, case, cases, run) for case in cases if run.results.get((case.name, figure.key))]
    if not rows:
        return []
    compared = f"{PROJECT} is better by (min .. max)" if any(row[-1] for row in rows) else ""
    heading = ("", "median", "min .. max", compared)
    return [f"{figure.title} [{figure.unit}]", *_table([heading, *rows]), ""]


def _figure_row(figure: Figure, case: Case, cases: Sequence[Case], run: Run) -> Row:
    seen = spread(run.results[case.name, figure.key])
    d = figure.digits
    return (
        case.name,
        f"{seen.median:,.{d}f}",
        f"{seen.low:,.{d}f} .. {seen.high:,.{d}f}",
        _better_by(figure, case, cases, run),
    )


def _better_by(figure: Figure, case: Case, cases: Sequence[Case], run: Run) -> str:
    """How many times better our best case of the same durability is than this case of a peer."""
    if case.peer == PROJECT:
        return ""
    alike = [one.name for one in cases if one.peer == PROJECT and one.durability == case.durability]
    ours = best_case(run.results, alike, figure.key)
    if ours is None:
        return ""
    pair = (run.results[ours, figure.key], run.results[case.name, figure.key])
    if min(map(min, pair)) <= 0:
        return ""
    ratio = spread(paired_ratios(*(pair if figure.more_is_better else reversed(pair))))
    return f"{ratio.median:.2f} x ({ratio.low:.2f} .. {ratio.high:.2f})"


def judgements(run: Run) -> list[Judgement]:
    """The verdict on every target this run can judge."""
    return [found for target in TARGETS if (found := judge(target, run.results))]


def _verdicts(run: Run) -> list[str]:
    rows = [
        (
            one.verdict,
            one.target.text,
            f"goal {one.target.goal:g}",
            f"{one.reached.median:.2f} ({one.reached.low:.2f} .. {one.reached.high:.2f})",
            (f"{one.ours} / {one.peer}" if one.peer else one.ours) + (f"; {one.why}" if one.why else ""),
        )
        for one in judgements(run)
    ]
    return (
        ["Targets (equal: missed, but within the spread; not asked: the machine had no room)", *_table(rows)]
        if rows
        else []
    )


def _table(rows: Sequence[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def as_json(plan: Plan, run: Run, machine: Mapping[str, str], warnings: Sequence[str]) -> str:
    """The same for programs; every repeat's value is in it."""
    told: dict[str, Any] = {
        "machine": dict(machine),
        "warnings": list(warnings),
        "repeats": plan.effort.repeats,
        "cases": [_case_record(case, run) for case in plan.cases],
        "figures": [
            {"case": case, "figure": key, "unit": FIGURES[key].unit, "values": values}
            for (case, key), values in run.results.items()
        ],
        "targets": [_judgement_record(one) for one in judgements(run)],
    }
    return json.dumps(told, indent=2) + "\n"


def _case_record(case: Case, run: Run) -> dict[str, Any]:
    sizes = {measure: count for (name, measure), count in run.sizes.items() if name == case.name}
    settings = dict(case.settings)
    return {
        "case": case.name,
        "durability": case.durability,
        "settings": settings,
        "messages": sizes,
        **run.peers[case.name],
    }


def _judgement_record(one: Judgement) -> dict[str, Any]:
    reached = {"median": one.reached.median, "min": one.reached.low, "max": one.reached.high}
    said = {"target": one.target.text, "goal": one.target.goal, "verdict": one.verdict}
    return {**said, "ours": one.ours, "peer": one.peer, "reached": reached, "why": one.why}
