"""What `--json` prints: plain dicts with stable keys, described in docs/cli.md. Instants are ISO 8601 in UTC."""

from __future__ import annotations

import json

from reinhardt_tasks.cli.text import moment
from reinhardt_tasks.errors import SerializationError
from reinhardt_tasks.message import ErrorRecord, Progress, QueueCounts, Record, WorkerRecord
from reinhardt_tasks.status import TaskStatus

Document = dict[str, object]


def as_json(document: object) -> str:
    """`document` as indented JSON in ASCII, so that no terminal obeys what a message contains."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def message_document(record: Record) -> Document:
    """One message as `list` prints it."""
    return {
        "id": str(record.id),
        "task": record.name,
        "queue": record.queue,
        "status": record.status.value,
        "priority": record.priority,
        "attempts": record.attempts,
        "losses": record.losses,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "run_at": moment(record.run_at),
        "started_at": moment(record.started_at),
        "finished_at": moment(record.finished_at),
        "waiting_on": record.waiting_on,
        "worker": record.worker,
        "unique_key": record.unique_key,
        "workflow": None if record.workflow is None else str(record.workflow),
        "cancelling": record.cancelling,
        "expired": record.expired,
        "error": error_document(error_of(record)),
        "progress": progress_document(progress_of(record)),
    }


def error_of(record: Record) -> ErrorRecord | None:
    """The last error of a message."""
    return None if record.error is None else ErrorRecord.decode(record.error)


def error_document(error: ErrorRecord | None) -> Document | None:
    """An error without its traceback, which `show` adds."""
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "reason": error.reason.value}


def progress_of(record: Record) -> Progress | None:
    """The newest progress of a message; an unreadable one is none."""
    try:
        return None if record.progress is None else Progress.decode(record.progress)
    except SerializationError:
        return None


def progress_document(progress: Progress | None) -> Document | None:
    """How far a task says it is."""
    if progress is None:
        return None
    return {
        "done": progress.done,
        "total": progress.total,
        "note": progress.note,
        "at": moment(progress.at or None),
    }


def queue_document(counts: QueueCounts) -> Document:
    """One queue as `counts` and `watch` print it: every status has its key."""
    numbers: Document = {status.value: counts.by_status.get(status, 0) for status in TaskStatus}
    return {"queue": counts.queue, "paused": counts.paused, "ready": counts.ready, **numbers}


def worker_document(record: WorkerRecord) -> Document:
    """One worker as `workers` and `watch` print it; `queues` is null when it serves all."""
    beat = record.beat
    return {
        "id": beat.worker,
        "name": beat.name,
        "host": beat.host,
        "pid": beat.pid,
        "queues": None if beat.queues is None else list(beat.queues),
        "concurrency": beat.concurrency,
        "claims": record.claims,
        "running": beat.running,
        "finished": beat.finished,
        "lease": beat.lease,
        "started_at": moment(beat.started_at or None),
        "beat_at": moment(record.beat_at),
        "suspected": record.suspected,
    }
