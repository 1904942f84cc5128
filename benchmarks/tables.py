"""A run's figures and verdicts as the tables of a page, from what `run --json` wrote (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.figures import HEADLINES


def tables(told: Mapping[str, Any]) -> str:
    """The medians of every case, then every target with what was reached, in Markdown."""
    return "\n".join([*_figures(told), "", *_targets(told), ""])


def _figures(told: Mapping[str, Any]) -> Iterator[str]:
    found = {(one["case"], one["figure"]): median(one["values"]) for one in told["figures"]}
    shown = [key for key in HEADLINES if any(figure == key for _, figure in found)]
    yield _row(["", *(HEADLINES[key].short for key in shown)])
    yield _row(["---", *("---:" for _ in shown)])
    for case in (one["case"] for one in told["cases"]):
        yield _row([case, *(_cell(found, case, key) for key in shown)])


def _cell(found: Mapping[tuple[str, str], float], case: str, key: str) -> str:
    value = found.get((case, key))
    return "–" if value is None else f"{value:,.{HEADLINES[key].digits}f}"


def _targets(told: Mapping[str, Any]) -> Iterator[str]:
    yield _row(["target", "goal", "reached, median (least – greatest)", ""])
    yield _row(["---", "---:", "---:", "---"])
    for one in told["targets"]:
        reached = "{median:.2f} ({min:.2f} – {max:.2f})".format(**one["reached"])
        verdict = f"{one['verdict']}: {one['why']}" if one["why"] else one["verdict"]
        yield _row([one["target"], f"{one['goal']:g}", reached, verdict])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
