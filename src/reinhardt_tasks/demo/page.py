"""The report as one HTML file (pure): charts and tables, no script, nothing from the network, every text escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from reinhardt_tasks.demo.charts import area, bars, columns
from reinhardt_tasks.demo.report import Entry, Report, ended_over_time, percentiles, waits
from reinhardt_tasks.demo.sources import FileFacts

BIGGEST = 10
_TIMES = (
    (0.001, "≤ 1"),
    (0.002, "≤ 2"),
    (0.005, "≤ 5"),
    (0.01, "≤ 10"),
    (0.02, "≤ 20"),
    (0.05, "≤ 50"),
    (0.1, "≤ 100"),
)


def page(report: Report) -> str:
    """The whole document."""
    run = report.run
    title = f"Python {run.python}: its standard library, indexed"
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="soft">One message for each .py file below <code>{escape(run.root)}</code>, parsed by {_workers(report)}.</p>
{_told(report)}
{_tiles(report)}
<div class="cards">
{"".join(_cards(report))}</div>
</main>
</body>
</html>
"""


def _workers(report: Report) -> str:
    number = report.run.workers
    return "one worker process" if number == 1 else f"{number} worker processes"


def _told(report: Report) -> str:
    """What happened on the way, where something did."""
    kill = report.run.kill
    said = ""
    if kill is not None:
        said = (
            f"<p>Worker process {kill.pid} was killed with SIGKILL in the middle. Messages it held: {kill.held}; "
            f"run again by others: {report.run_again}. Every file was counted exactly once.</p>"
        )
    earlier = len(report.entries) - len(report.fresh)
    if earlier:
        said += f"<p>An interrupted run was resumed; files indexed before that: {earlier:,}.</p>"
    return said


def _tiles(report: Report) -> str:
    tiles = [
        ("files", f"{len(report.entries):,}"),
        ("lines", f"{sum(facts.lines for facts in report.facts):,}"),
        ("functions", f"{sum(facts.functions for facts in report.facts):,}"),
        ("classes", f"{sum(facts.classes for facts in report.facts):,}"),
        ("dead letters", f"{len(report.dead):,}"),
        ("files per second", f"{report.throughput:,.0f}"),
    ]
    inner = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="tiles">{inner}</dl>'


def _cards(report: Report) -> Iterable[str]:
    yield _card("Files indexed per second", "While this run went on", _over_time(report))
    yield _card("Biggest packages", "Lines of code, all files of a package together", _packages(report))
    yield _card("How deep the code nests", "Files by their deepest block inside blocks", _depths(report))
    yield _card("How long a file takes", _taking(report), _times(report))
    yield _card("Longest functions", "The longest one of each file", _longest(report.longest))
    yield _card("Deepest files", "Blocks inside blocks", _deepest(report.deepest))
    yield _card("Dead letters", "Files that could not be parsed, after all retries", _dead(report.dead), wide=True)


def _card(title: str, said: str, content: str, *, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    return f'<section{kind}><h2>{escape(title)}</h2><p class="soft">{escape(said)}</p>{content}</section>\n'


def _over_time(report: Report) -> str:
    step = max(0.25, round(report.run.elapsed / 60, 1))
    values = ended_over_time(report, step)
    kill = report.run.kill
    marker = None if kill is None else (kill.at - report.run.began_at, f"worker {kill.pid} killed")
    told = f"Between {min(values):.0f} and {max(values):.0f} files per second, {report.throughput:.0f} on average."
    return area("Files indexed per second", told, values, step=step, axis="seconds since the start", marker=marker)


def _packages(report: Report) -> str:
    biggest = report.packages[:BIGGEST]
    told = f"The biggest of {len(report.packages)} packages; the first is {biggest[0].name if biggest else 'none'}."
    rows = [(package.name, float(package.lines), f"{package.lines:,}") for package in biggest]
    return bars("Biggest packages by lines", told, rows)


def _depths(report: Report) -> str:
    found = Counter(facts.deepest for facts in report.facts)
    rows = [(str(depth), float(found[depth])) for depth in range(max(found, default=0) + 1)]
    common = found.most_common(1)[0][0] if found else 0
    told = f"Number of files by deepest nesting, 0 to {max(found, default=0)}; most files reach {common}."
    return columns("Files by deepest nesting", told, rows, axis="deepest nesting")


def _times(report: Report) -> str:
    times = report.times
    edges = [*(edge for edge, _ in _TIMES), float("inf")]
    found = Counter(next(place for place, edge in enumerate(edges) if time <= edge) for time in times)
    rows = [(label, float(found[place])) for place, label in enumerate([*(name for _, name in _TIMES), "> 100"])]
    typical, slow, most = (value * 1e3 for value in percentiles(times))
    told = f"Number of files by time; median {typical:.1f}, 95th percentile {slow:.1f}, longest {most:.0f} ms."
    return columns("Files by time", told, rows, axis="milliseconds")


def _taking(report: Report) -> str:
    typical, slow, _ = (value * 1e3 for value in percentiles(report.times))
    _, _, longest = percentiles(waits(report.fresh))
    parsing = f"Median {typical:.1f} ms to read and parse, 95 % within {slow:.1f} ms"
    return f"{parsing}; up to {longest:.1f} s in line"


def _longest(found: Sequence[FileFacts]) -> str:
    rows = [(_code(facts.longest), _code(facts.path), f"{facts.longest_lines:,}") for facts in found]
    return _table(("function", "file", "lines"), rows)


def _deepest(found: Sequence[FileFacts]) -> str:
    rows = [(_code(facts.path), f"{facts.lines:,}", f"{facts.deepest:,}") for facts in found]
    return _table(("file", "lines", "depth"), rows)


def _dead(dead: Sequence[Entry]) -> str:
    if not dead:
        return "<p>None: every file of this library could be parsed.</p>"
    rows = [
        (_code(entry.path), _code(f"{entry.error.type}: {entry.error.message}"), f"{entry.attempts}")
        for entry in dead
        if entry.error is not None
    ]
    return _table(("file", "reason", "runs"), rows)


def _code(text: str) -> str:
    """`text` in a fixed pitch; a line may end after each `/` and `_`."""
    return "<code>" + re.sub(r"([/_])", r"\1<wbr>", escape(text)) + "</code>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML fragments; its last columns, named for numbers, stand at the right."""
    kinds = [' class="number"' if head in {"lines", "depth", "runs"} else "" for head in heads]
    top = "".join(f'<th{kind} scope="col">{escape(head)}</th>' for head, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{value}</td>' for value, kind in zip(row, kinds, strict=True))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
