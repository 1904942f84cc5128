"""`demo`: the demo at a terminal, with a progress bar while it runs and tables when it is done."""

from __future__ import annotations

import asyncio
import shlex
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from reinhardt_tasks.cli.failures import INTERRUPTED
from reinhardt_tasks.cli.screen import console, print_error, print_text, print_wide
from reinhardt_tasks.cli.tables import facts_table, table
from reinhardt_tasks.cli.text import cell, count, duration, visible
from reinhardt_tasks.demo.report import Entry, Report, percentiles, waits
from reinhardt_tasks.demo.settings import Audience, Settings
from reinhardt_tasks.demo.sources import FileFacts


def demo(
    *,
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the database and the report go.")] = Path(
        "demo-out"
    ),
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Index only the first so many files.")] = None,
    kill: Annotated[bool, typer.Option("--kill", help="Kill a worker process with SIGKILL in the middle.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on with an interrupted run.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Index this Python's own standard library with real workers, and report what was found.

    One message for each .py file. Interrupted, it goes on where it was when it is started again.
    """
    from reinhardt_tasks.demo.run import run_demo  # noqa: PLC0415 - makes a queue, which no other command needs

    settings = Settings(directory=directory, workers=workers, limit=limit, kill=kill, fresh=fresh)
    try:
        with _audience() as audience:
            report, page = asyncio.run(run_demo(settings, audience))
    except KeyboardInterrupt:
        print_error(f"stopped; go on by: {command_again(settings)}")
        raise typer.Exit(INTERRUPTED) from None
    _print_report(report)
    print_text(f"\nreport: {page}")
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    print_text(last_line(report))


def command_again(settings: Settings) -> str:
    """The command that goes on where this run was stopped."""
    words = ["reinhardt-tasks", "demo", "--directory", str(settings.directory), "--workers", str(settings.workers)]
    return shlex.join([*words, *(["--limit", str(settings.limit)] if settings.limit else [])])


def last_line(report: Report) -> str:
    """`demo: N messages, N succeeded, N failed, N.N s`."""
    failed = len(report.dead)
    succeeded = len(report.entries) - failed
    return f"demo: {len(report.entries)} messages, {succeeded} succeeded, {failed} failed, {report.run.elapsed:.1f} s"


# While it runs ----------------------------------------------------------------------------------------------------


class _Bar:
    """Shows the run at a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: TaskID | None = None

    def say(self, line: str) -> None:
        self._progress.console.print(visible(line))

    def count(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("indexing", total=total)
        self._progress.update(self._bar, completed=done)


class _Lines:
    """Shows the run where no terminal is: a line at each quarter."""

    def __init__(self) -> None:
        self._next = 1

    def say(self, line: str) -> None:
        print_text(line)

    def count(self, done: int, total: int) -> None:
        while done * 4 >= total * self._next and self._next <= 4:
            if done * 4 < total * (self._next + 1) or self._next == 4:
                print_text(f"{done:,} of {total:,} done")
            self._next += 1


@contextmanager
def _audience() -> Iterator[Audience]:
    screen = console()
    if not screen.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen) as progress:
        yield _Bar(progress)


# When it is done ----------------------------------------------------------------------------------------------------


def _print_report(report: Report) -> None:
    parts = [
        facts_table(_totals(report)),
        _longest(report.longest),
        _deepest(report.deepest),
        _packages(report),
        _dead(report.dead) if report.dead else "No dead letters: every file of this library could be parsed.",
    ]
    for part in parts:
        print_text("")
        print_wide(part)


def _totals(report: Report) -> dict[str, object]:
    typical, slow, most = percentiles(report.times)
    waited, _, longest = percentiles(waits(report.fresh))
    facts: dict[str, object] = {
        "files": f"{len(report.entries):,}",
        "lines": f"{sum(facts.lines for facts in report.facts):,}",
        "functions": f"{sum(facts.functions for facts in report.facts):,}",
        "classes": f"{sum(facts.classes for facts in report.facts):,}",
        "throughput": f"{report.throughput:,.0f} files per second, {count(report.run.workers, 'worker')}",
        "per file": f"{duration(typical)} (median), {duration(slow)} (95 %), {duration(most)} (longest)",
        "time in line": f"{duration(waited)} (median), {duration(longest)} (longest)",
    }
    kill = report.run.kill
    if kill is not None:
        facts["killed"] = f"process {kill.pid}, which held {count(kill.held, 'message')}; {report.run_again} run again"
        facts["counted"] = (
            f"every file exactly once: {len(report.facts):,} results and {len(report.dead):,} dead letters"
        )
    return facts


def _longest(found: Sequence[FileFacts]) -> Table:
    made = table("function", "file", "lines", right=("lines",), narrow=("function", "file"), title="Longest functions")
    for facts in found:
        made.add_row(cell(facts.longest), cell(facts.path), cell(f"{facts.longest_lines:,}"))
    return made


def _deepest(found: Sequence[FileFacts]) -> Table:
    made = table("file", "lines", "depth", right=("lines", "depth"), narrow=("file",), title="Deepest files")
    for facts in found:
        made.add_row(cell(facts.path), cell(f"{facts.lines:,}"), cell(facts.deepest))
    return made


def _packages(report: Report) -> Table:
    made = table("package", "files", "lines", right=("files", "lines"), title="Biggest packages")
    for package in report.packages[:10]:
        made.add_row(cell(package.name), cell(f"{package.files:,}"), cell(f"{package.lines:,}"))
    return made


def _dead(dead: Sequence[Entry]) -> Table:
    made = table("file", "reason", "runs", right=("runs",), narrow=("reason",), title="Dead letters")
    for entry in dead:
        reason = f"{entry.error.type}: {entry.error.message}" if entry.error is not None else None
        made.add_row(cell(entry.path), cell(reason), cell(entry.attempts))
    return made
