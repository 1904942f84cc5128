"""Tables and pages for people: each function turns what was read into something rich can print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reinhardt_tasks.cli.documents import error_of, progress_of
from reinhardt_tasks.cli.text import ago, cell, clock, cut, duration
from reinhardt_tasks.message import Progress, QueueCounts, Record, WorkerRecord
from reinhardt_tasks.status import TaskStatus

STATUS_STYLES = {
    TaskStatus.PENDING: "cyan",
    TaskStatus.RUNNING: "blue",
    TaskStatus.RETRY: "yellow",
    TaskStatus.SUCCESS: "green",
    TaskStatus.FAILURE: "red",
    TaskStatus.CANCELLED: "magenta",
}

_WIDE = 100
"""Columns of a screen on which a list of messages has room for all it has to tell."""
_TASK_KEEPS = 14
"""Characters of a task's name that stay where there is little room."""


def table(*columns: str, right: Sequence[str] = (), narrow: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table. Columns in `right` hold numbers; where there is little room those in `narrow` give way first."""
    made = Table(
        box=SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column not in narrow)
    return made


def status_text(status: TaskStatus) -> Text:
    """A status in its colour."""
    return Text(status.value, STATUS_STYLES[status])


def message_table(records: Sequence[Record], now: float, *, width: int = 200) -> Table:
    """Messages, newest first as they come; the queue is told where the screen is `_WIDE` columns or wider."""
    queue = ("queue",) if width >= _WIDE else ()
    made = table("id", "task", *queue, "status", "age", "note", narrow=("task", "note"))
    made.columns[1].min_width = min(_TASK_KEEPS, max((len(record.name) for record in records), default=0))
    for record in records:
        made.add_row(
            cell(record.id),
            cut(record.name),
            *([cell(record.queue)] if queue else []),
            status_text(record.status),
            cell(duration(now - record.created_at, exact=False)),
            cut(note(record, now)),
        )
    return made


def note(record: Record, now: float) -> str:
    """What matters most about a message beyond its status: its error, progress, what it waits for."""
    if record.status is TaskStatus.RUNNING:
        return _running_note(record)
    if record.waiting_on and not record.status.finished:
        return f"waits for {record.waiting_on} others"
    if (error := error_of(record)) is not None and record.status is not TaskStatus.SUCCESS:
        due = f"again {ago(record.run_at, now)}: " if record.status is TaskStatus.RETRY and record.run_at else ""
        return f"{due}{error.reason}: {error.type}: {error.message}"
    if record.run_at is not None and record.status is TaskStatus.PENDING and record.run_at > now:
        return f"due {ago(record.run_at, now)}"
    return "result expired" if record.expired else ""


def _running_note(record: Record) -> str:
    if record.cancelling:
        return "is being cancelled"
    progress = progress_of(record)
    return f"on {record.worker}" if progress is None else progress_text(progress)


def progress_text(progress: Progress) -> str:
    """`3 of 12 (25 %), resizing`."""
    share = f" of {progress.total:g} ({progress.done / progress.total * 100:.0f} %)" if progress.total else ""
    return f"{progress.done:g}{share}" + (f", {progress.note}" if progress.note else "")


def queue_table(queues: Iterable[QueueCounts], rates: Mapping[str, float] | None = None) -> Table:
    """The queues and how many messages stand in each status; with `rates`, how many end per second."""
    numbers = ["ready", *(status.value for status in TaskStatus)]
    columns = ["queue", *numbers, *(["/s"] if rates is not None else []), "state"]
    made = table(*columns, right=[*numbers, "/s"], narrow=("queue",), title="Queues")
    for counts in queues:
        shown = [cut(counts.queue, "bold"), _number(counts.ready, "")]
        shown += [_number(counts.by_status.get(status, 0), STATUS_STYLES[status]) for status in TaskStatus]
        if rates is not None:
            shown.append(cell(f"{rates.get(counts.queue, 0.0):,.0f}"))
        made.add_row(*shown, Text("paused", "yellow") if counts.paused else Text("open"))
    return made


def _number(number: int, style: str) -> Text:
    return Text(f"{number:,}", style if number else "dim")


def worker_table(workers: Iterable[WorkerRecord], now: float) -> Table:
    """The registered workers and their last sign of life."""
    right = ("pid", "slots", "holds", "finished")
    columns = ("worker", "host", "pid", "queues", "slots", "holds", "finished", "up", "last beat")
    made = table(*columns, right=right, narrow=("worker", "host", "queues"), title="Workers")
    for record in workers:
        beat = record.beat
        made.add_row(
            cut(beat.worker, "bold"),
            cut(beat.host),
            cell(beat.pid),
            cut("all" if beat.queues is None else ", ".join(beat.queues)),
            cell(beat.concurrency),
            cell(f"{record.claims:,}"),
            cell(f"{beat.finished:,}"),
            cell(duration(now - beat.started_at, exact=False) if beat.started_at else None),
            cell(ago(record.beat_at, now, exact=False), "red" if record.suspected else ""),
        )
    return made


def facts_table(facts: Mapping[str, object]) -> Table:
    """Names and values, one pair a line."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in facts.items():
        made.add_row(cell(name), value if isinstance(value, Text) else cell(value))
    return made


def running_table(records: Iterable[Record], now: float, *, width: int = 200) -> Table:
    """Messages that run now, how long already, and how far they say they are; on a wide screen also where."""
    wide = width >= _WIDE
    columns = ("id", "task", *(("queue",) if wide else ()), "since", *(("worker",) if wide else ()), "progress")
    made = table(*columns, narrow=("task", "worker", "progress"), title="Running")
    for record in records:
        progress = progress_of(record)
        made.add_row(
            cell(record.id),
            cut(record.name),
            *([cell(record.queue)] if wide else []),
            cell(duration(max(0.0, now - record.started_at)) if record.started_at else None),
            *([cut(record.worker)] if wide else []),
            Text("is being cancelled", "magenta") if record.cancelling else cut(progress and progress_text(progress)),
        )
    return made


def message_facts(record: Record, now: float) -> dict[str, object]:
    """What the backend knows of a message, by name; only what says something."""
    error, progress = error_of(record), progress_of(record)
    facts: dict[str, object] = {
        "id": record.id,
        "task": record.name,
        "queue": record.queue,
        "priority": record.priority,
        "status": status_text(record.status).append(" (is being cancelled)" if record.cancelling else ""),
        "failed runs": record.attempts,
        "workers lost": record.losses or None,
        "created": _instant(record.created_at, now),
        "due": _instant(record.run_at, now),
        "started": _instant(record.started_at, now),
        "finished": _instant(record.finished_at, now),
        "took": duration(record.finished_at - record.started_at) if record.finished_at and record.started_at else None,
        "worker": record.worker,
        "waits for": f"{record.waiting_on} others" if record.waiting_on else None,
        "unique key": record.unique_key,
        "workflow": record.workflow,
        "progress": progress and progress_text(progress),
        "result": "no longer kept" if record.expired else None,
        "reason": error and error.reason,
        "error": error and f"{error.type}: {error.message}",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _instant(at: float | None, now: float) -> str | None:
    return None if at is None else f"{clock(at)} ({ago(at, now)})"
