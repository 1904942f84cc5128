"""What the run found, counted (pure): from one entry per file to the figures that terminal and page show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import quantiles

import msgspec

from reinhardt_tasks.demo.sources import FileFacts
from reinhardt_tasks.message import ErrorRecord
from reinhardt_tasks.status import TaskStatus

TOP = 10
"""How many lines the lists of the longest, deepest and biggest have."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file and what became of its message. Instants are Unix seconds; `facts` where it succeeded, `error` else."""

    path: str
    id: str
    status: TaskStatus
    attempts: int = 0
    losses: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    facts: FileFacts | None = None
    error: ErrorRecord | None = None


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process that was killed, when, and how many messages it held."""

    worker: str
    pid: int
    at: float
    held: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """This run: whose library, when it began and ended (Unix seconds), how many workers, and which was killed."""

    python: str
    root: str
    began_at: float
    ended_at: float
    workers: int
    kill: Kill | None = None

    @property
    def elapsed(self) -> float:
        """Seconds from the first enqueue to the last result."""
        return max(0.0, self.ended_at - self.began_at)


class Package(msgspec.Struct, frozen=True):
    """A top-level module or package of the library, all its files together."""

    name: str
    files: int
    lines: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run. `fresh` are the entries that ended in this run, not in one that was interrupted before."""

    run: Run
    entries: tuple[Entry, ...]
    facts: tuple[FileFacts, ...]
    dead: tuple[Entry, ...]
    fresh: tuple[Entry, ...]

    @property
    def run_again(self) -> int:
        """How many messages were given to another worker because the one that held them died."""
        return sum(entry.losses > 0 for entry in self.entries)

    @property
    def throughput(self) -> float:
        """Messages that ended per second of this run."""
        return len(self.fresh) / self.run.elapsed if self.run.elapsed else 0.0

    @property
    def times(self) -> list[float]:
        """Seconds that reading and parsing took, by file."""
        return [facts.seconds for facts in self.facts]

    @property
    def longest(self) -> list[FileFacts]:
        """The files with the longest functions."""
        return sorted(self.facts, key=lambda facts: (-facts.longest_lines, facts.path))[:TOP]

    @property
    def deepest(self) -> list[FileFacts]:
        """The files with the deepest nesting."""
        return sorted(self.facts, key=lambda facts: (-facts.deepest, facts.path))[:TOP]

    @property
    def packages(self) -> list[Package]:
        """Top-level modules and packages, the one with the most lines first."""
        files: Counter[str] = Counter()
        lines: Counter[str] = Counter()
        for facts in self.facts:
            name = facts.path.partition("/")[0].removesuffix(".py")
            files[name] += 1
            lines[name] += facts.lines
        return [Package(name, files[name], total) for name, total in lines.most_common()]


def make_report(run: Run, entries: Sequence[Entry]) -> Report:
    """The report on `entries`, one per file."""
    return Report(
        run=run,
        entries=tuple(entries),
        facts=tuple(entry.facts for entry in entries if entry.facts is not None),
        dead=tuple(entry for entry in entries if entry.status is TaskStatus.FAILURE),
        fresh=tuple(entry for entry in entries if (entry.finished_at or 0.0) >= run.began_at),
    )


def miscounted(files: Sequence[str], entries: Sequence[Entry]) -> list[str]:
    """What speaks against "every file is counted exactly once", as sentences; empty when it is so."""
    found: list[str] = []
    paths = Counter(entry.path for entry in entries)
    found += [f"{path} has no message" for path in files if not paths[path]]
    found += [f"{path} has {number} messages" for path, number in paths.items() if number > 1]
    ids = Counter(entry.id for entry in entries)
    found += [f"the id {identity} stands for {number} files" for identity, number in ids.items() if number > 1]
    return found + [complaint for entry in entries if (complaint := _complaint(entry))]


def _complaint(entry: Entry) -> str:
    if entry.status is TaskStatus.SUCCESS:
        counted = entry.facts is not None and entry.facts.path == entry.path
        return "" if counted else f"{entry.path} succeeded, but its facts are not there"
    if entry.status is TaskStatus.FAILURE:
        return "" if entry.error is not None else f"{entry.path} failed without a reason"
    return f"{entry.path} is {entry.status.value}, neither counted nor a dead letter"


def percentiles(values: Iterable[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 100th percentile; zeros for no values."""
    known = sorted(values)
    if len(known) < 2:
        return (known[0],) * 3 if known else (0.0, 0.0, 0.0)
    cuts = quantiles(known, n=100, method="inclusive")
    return cuts[49], cuts[94], known[-1]


def waits(entries: Iterable[Entry]) -> list[float]:
    """Seconds from enqueue until a worker took each entry, for its last run."""
    return [max(0.0, entry.started_at - entry.created_at) for entry in entries if entry.started_at is not None]


def ended_over_time(report: Report, step: float) -> list[float]:
    """Messages that ended per second, for each `step` seconds of the run."""
    slots = max(1, int(report.run.elapsed / step) + 1)
    counts = [0] * slots
    for entry in report.fresh:
        place = int(((entry.finished_at or 0.0) - report.run.began_at) / step)
        counts[min(place, slots - 1)] += 1
    return [number / step for number in counts]
