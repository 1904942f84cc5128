"""What `watch` and the tables show is computed from what was read, and nothing in it can break the picture."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from reinhardt_tasks.cli.documents import message_document, queue_document, worker_document
from reinhardt_tasks.cli.failures import InputError
from reinhardt_tasks.cli.operating import chosen_worker
from reinhardt_tasks.cli.tables import (
    facts_table,
    message_facts,
    message_table,
    note,
    queue_table,
    running_table,
    worker_table,
)
from reinhardt_tasks.cli.watch import Frame, frame_document, frame_lines, frame_picture, rates
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, ErrorRecord, Progress, QueueCounts, Reason, Record, WorkerRecord
from reinhardt_tasks.status import TaskStatus

EVIL = "[red]\x1b[2J\n\u202e:smile:"
SHOWN = r"[red]\x1b[2J\n\u202e:smile:"


def counts(queue: str = "mail", *, paused: bool = False, **numbers: int) -> QueueCounts:
    """Counts of one queue."""
    by_status = {TaskStatus(name): number for name, number in numbers.items()}
    return QueueCounts(queue=queue, by_status=by_status, ready=2, paused=paused)


def worker(name: str = "host:42:abc", *, suspected: bool = False) -> WorkerRecord:
    """A worker that beat 2 s before the time 100."""
    beat = Beat(worker=name, number=3, host="host", pid=42, concurrency=4, running=1, finished=9, started_at=40.0)
    return WorkerRecord(beat=beat, beat_at=98.0, claims=5, suspected=suspected)


def record(status: TaskStatus = TaskStatus.PENDING, **fields: object) -> Record:
    """A message."""
    first = Record(
        id=TaskId.new(), name="app.f", queue="mail", priority=5, status=status, created_at=90.0, updated_at=91.0
    )
    return msgspec.structs.replace(first, **fields)


def frame(**fields: object) -> Frame:
    """One of each."""
    running = [record(TaskStatus.RUNNING, started_at=95.0, worker="host:42:abc")]
    first = Frame(at=100.0, queues=[counts(success=7, pending=3)], workers=[worker()], running=running)
    return msgspec.structs.replace(first, **fields)


def shown(picture: object, width: int = 200) -> str:
    """What a console prints of it."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rates_are_what_ended_since_the_last_look() -> None:
    """Whatever the way it ended; a queue seen for the first time, or purged meanwhile, has none."""
    before = frame(queues=[counts("a", success=5, failure=1), counts("gone"), counts("purged", success=9)])
    now = frame(
        at=102.0, queues=[counts("a", success=9, failure=2, cancelled=1), counts("new", success=50), counts("purged")]
    )
    assert rates(before, now) == {"a": 3.0, "new": 0.0, "purged": 0.0}


def test_lines_say_everything_once() -> None:
    """One a queue, one a worker, each with all its figures."""
    first, second = frame_lines(frame(rates={"mail": 12.4}))
    assert first.partition(" ")[2] == (
        "queue=mail ready=2 pending=3 running=0 retry=0 success=7 failure=0 cancelled=0 per_second=12 paused=no"
    )
    assert second.partition(" ")[2] == "worker=host:42:abc holds=5 running=1/4 finished=9 beat=2.0s alive"


def test_lines_tell_that_there_is_nothing() -> None:
    """An empty output would look like a failure."""
    (line,) = frame_lines(frame(queues=[], workers=[]))
    assert line.endswith("no messages and no worker")


def test_the_document_has_every_key() -> None:
    """Whatever there is to count."""
    document = frame_document(frame(rates={"mail": 12.44}))
    assert document["at"] == "1970-01-01T00:01:40.000000Z"
    assert document["queues"] == [
        {
            "queue": "mail",
            "paused": False,
            "ready": 2,
            "per_second": 12.4,
            "pending": 3,
            "running": 0,
            "retry": 0,
            "success": 7,
            "failure": 0,
            "cancelled": 0,
        }
    ]
    assert document["workers"] == [worker_document(worker())]


def test_the_picture_shows_queues_workers_and_what_runs() -> None:
    """And what went wrong at the last look."""
    text = shown(frame_picture(frame(trouble="The backend cannot be reached."), "sqlite:///tasks.db"))
    for part in ("sqlite:///tasks.db", "mail", "host:42:abc", "app.f", "5.0 s", "cannot be reached. Still trying."):
        assert part in text


def test_the_picture_of_nothing_says_so() -> None:
    """No empty tables."""
    text = shown(frame_picture(frame(queues=[], workers=[], running=[]), "sqlite:///tasks.db"))
    assert "No messages." in text
    assert "No worker is registered." in text


@pytest.mark.parametrize(
    "picture",
    [
        message_table(
            [record(name=EVIL, queue=EVIL, error=ErrorRecord(EVIL, EVIL).encode(), status=TaskStatus.FAILURE)], 100.0
        ),
        facts_table(
            message_facts(
                record(name=EVIL, unique_key=EVIL, worker=EVIL, progress=Progress(1, 2, EVIL).encode()), 100.0
            )
        ),
        queue_table([counts(EVIL)], {}),
        worker_table([worker(EVIL)], 100.0),
        running_table(
            [record(TaskStatus.RUNNING, name=EVIL, worker=EVIL, progress=Progress(1, 2, EVIL).encode())], 100.0
        ),
        frame_picture(frame(trouble=EVIL, queues=[counts(EVIL)], workers=[worker(EVIL)]), EVIL),
    ],
    ids=["messages", "message", "queues", "workers", "running", "frame"],
)
def test_no_text_of_a_message_is_obeyed(picture: object) -> None:
    """Neither by rich (markup, emoji) nor by the terminal (escapes, direction, line ends)."""
    text = shown(picture, width=400)
    assert SHOWN in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": TaskStatus.PENDING}, ""),
        ({"status": TaskStatus.PENDING, "run_at": 130.0}, "due in 30.0 s"),
        ({"status": TaskStatus.PENDING, "waiting_on": 2}, "waits for 2 others"),
        ({"status": TaskStatus.RUNNING, "worker": "w"}, "on w"),
        ({"status": TaskStatus.RUNNING, "cancelling": True}, "is being cancelled"),
        ({"status": TaskStatus.RUNNING, "progress": Progress(3, 12, "half").encode()}, "3 of 12 (25 %), half"),
        ({"status": TaskStatus.RUNNING, "progress": Progress(3).encode()}, "3"),
        (
            {"status": TaskStatus.RETRY, "run_at": 105.0, "error": ErrorRecord("E", "x").encode()},
            "again in 5.0 s: failed: E: x",
        ),
        (
            {"status": TaskStatus.FAILURE, "error": ErrorRecord("E", "x", reason=Reason.POISON).encode()},
            "poison: E: x",
        ),
        ({"status": TaskStatus.SUCCESS, "error": ErrorRecord("E", "earlier").encode()}, ""),
        ({"status": TaskStatus.SUCCESS, "expired": True}, "result expired"),
    ],
)
def test_a_note_says_what_matters_most(fields: dict[str, object], said: str) -> None:
    """By the status of the message."""
    assert note(record(**fields), 100.0) == said


def test_documents_have_stable_keys() -> None:
    """Scripts rely on them; docs/cli.md lists them."""
    assert list(message_document(record())) == [
        *("id", "task", "queue", "status", "priority", "attempts", "losses"),
        *("created_at", "updated_at", "run_at", "started_at", "finished_at"),
        *("waiting_on", "worker", "unique_key", "workflow", "cancelling", "expired", "error", "progress"),
    ]
    assert list(queue_document(counts())) == [
        *("queue", "paused", "ready", "pending", "running", "retry", "success", "failure", "cancelled"),
    ]
    assert list(worker_document(worker())) == [
        *("id", "name", "host", "pid", "queues", "concurrency", "claims", "running", "finished", "lease"),
        *("started_at", "beat_at", "suspected"),
    ]


def test_what_cannot_be_read_of_a_message_is_no_error() -> None:
    """A listing goes on; a progress that is none is left out."""
    document = message_document(record(error=b"\xc1", progress=b"\xc1"))
    assert document["progress"] is None
    assert isinstance(document["error"], dict)
    assert document["error"]["type"] == "UnreadableError"


def test_a_narrow_screen_still_tells_tasks_and_queues_apart() -> None:
    """At 80 columns a list leaves out the queue, and no head of the live view is cut."""
    records = [record(TaskStatus.FAILURE, name="shop.images.resize"), record(name="shop.images.crop")]
    narrow, wide = (shown(message_table(records, 100.0, width=width), width) for width in (80, 120))
    assert "shop.images.r" in narrow
    assert str(records[0].id) in narrow
    assert ("queue" in narrow, "queue" in wide) == (False, True)
    running = [record(TaskStatus.RUNNING, name="shop.resize", progress=Progress(3, 12, "").encode())]
    assert all(word in shown(running_table(running, 100.0, width=80), 80) for word in ("shop.resize", "3 of 12"))
    assert "…" not in shown(queue_table([counts("default")], {"default": 12.4}), 80)
    cut = shown(queue_table([counts("a-queue-with-a-long-name")], {}), 80)
    assert all(word in cut for word in ("a-queu…", "ready", "cancelled", "state"))


def test_a_worker_is_chosen_by_id_or_host_and_pid() -> None:
    """One and only one."""
    workers = [worker("a:1:x"), worker("a:11:y"), worker("a:1:z")]
    assert chosen_worker("a:11", workers) == "a:11:y"
    assert chosen_worker("a:1:x", workers) == "a:1:x"
    with pytest.raises(InputError, match="a:1 stands for several workers: a:1:x, a:1:z"):
        chosen_worker("a:1", workers)
    with pytest.raises(InputError, match="no worker b is registered; there are: a:1:x, a:11:y, a:1:z"):
        chosen_worker("b", workers)
    with pytest.raises(InputError, match="no worker b is registered; no other is either"):
        chosen_worker("b", [])
