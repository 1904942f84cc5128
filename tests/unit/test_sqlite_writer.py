"""Group commit and the length of the log, without threads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from reinhardt_tasks.backends.sqlite import checkpoint, puts
from reinhardt_tasks.backends.sqlite.connection import Settings, open_reader
from reinhardt_tasks.backends.sqlite.lane import Answer, Job
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.backends.sqlite.writer import Writer
from reinhardt_tasks.errors import BackendFullError, InvalidTextError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message

LIMIT = 300
"""Pages after which the log is copied in these tests."""


@pytest.fixture
def path(tmp_path) -> Path:
    """Of the database."""
    return tmp_path / "t.db"


@pytest.fixture
def writer(path):
    """Connected."""
    writer = Writer(Settings(str(path), "off", time.time, 5.0))
    work(writer, nothing)
    yield writer
    writer.close()


def work(writer: Writer, *jobs) -> list[Answer]:
    """What becomes of jobs that are asked for together."""
    loop = asyncio.new_event_loop()
    try:
        return writer.work([Job(job, loop.create_future()) for job in jobs])
    finally:
        loop.close()


def nothing(store: Store) -> None:
    """A job that changes nothing."""


def putting(size: int = 4, count: int = 1, **options):
    """A job that stores messages."""
    messages = [Message(id=TaskId.new(), name="task", body=b"x" * size, **options) for _ in range(count)]
    return lambda store: puts.put(store, messages, None)


def stored(writer: Writer) -> int:
    """How many messages there are."""
    return writer.connection.execute("SELECT count(*) FROM messages").fetchall()[0][0]


def commits_of(writer: Writer, *jobs) -> int:
    """How often a set of jobs commits."""
    commits = []
    writer.connection.set_commit_hook(lambda: bool(commits.append(1)))
    work(writer, *jobs)
    writer.connection.set_commit_hook(None)
    return len(commits)


def test_what_is_asked_for_together_is_committed_together(writer):
    """Forty calls cost one commit, a call alone one of its own."""
    assert commits_of(writer, *(putting() for _ in range(40))) == 1
    assert commits_of(writer, putting()) == 1
    assert stored(writer) == 41


def test_a_call_that_fails_undoes_itself_alone(writer):
    """Its neighbours in the same commit are stored, and hear nothing of it."""
    orphan = putting(waits_on=(TaskId.new(),))
    answers = work(writer, putting(), orphan, putting())
    assert [type(answer.error) for answer in answers] == [type(None), QueueError, type(None)]
    assert stored(writer) == 2


def test_a_call_that_breaks_off_undoes_all_it_did(writer):
    """Also alone, and also what it had done before the error."""

    def break_off(store: Store) -> None:
        putting()(store)
        raise KeyError("broken off")

    for jobs in ([break_off], [break_off, nothing]):
        assert isinstance(work(writer, *jobs)[0].error, KeyError)
    assert stored(writer) == 0


def test_an_error_on_the_quick_way_is_the_same_as_on_the_other(writer):
    """A text that is no Unicode is named as such, with nothing stored."""
    odd = [Message(id=TaskId.new(), name="\ud800", body=b"")]
    writer._store.commit_seconds = 0.0  # noqa: SLF001 - commits have been quick
    with pytest.raises(InvalidTextError):
        writer.at_once(lambda store: puts.put(store, odd, None))
    assert writer.at_once(putting()) is not None
    assert stored(writer) == 1


@pytest.mark.parametrize("error", [MemoryError, apsw.IOError])
def test_a_transaction_that_does_not_get_going_is_undone(writer, monkeypatch, error):
    """Whichever way it was begun, it keeps no lock, and the next one begins as ever."""

    def fail(*_: object) -> None:
        raise error

    store = writer._store  # noqa: SLF001
    for begin in (store.begin, store.begin_at_once):
        with monkeypatch.context() as patched:
            patched.setattr(store, "rows", fail)
            with pytest.raises(error):
                begin()
        assert not writer.connection.in_transaction
    assert work(writer, putting())[0].error is None


def test_what_keeps_the_quick_way_from_beginning_is_the_threads_to_meet(writer, monkeypatch):
    """It knows what to do about it; the caller sees no error of SQLite's own."""

    def fail(_: Store) -> bool:
        raise apsw.IOError

    monkeypatch.setattr(Store, "begin_at_once", fail)
    writer._store.commit_seconds = 0.0  # noqa: SLF001 - commits have been quick
    assert writer.at_once(putting()) is None
    assert stored(writer) == 0


def test_a_call_too_many_for_the_disk_does_not_take_others_with_it(writer):
    """When the commit of all finds no room, each is tried alone: the small ones fit."""
    pages = writer.connection.pragma("page_count")
    writer.connection.pragma("max_page_count", pages + 8)
    answers = work(writer, putting(), putting(size=500_000), putting())
    assert [type(answer.error) for answer in answers] == [type(None), BackendFullError, type(None)]
    assert stored(writer) == 2


def test_it_connects_again_after_the_file_could_not_be_opened(tmp_path):
    """The error goes to who asked; the next call may find the file."""
    missing = tmp_path / "sub" / "t.db"
    writer = Writer(Settings(str(missing), "off", time.time, 5.0))
    assert "cannot be written" in str(work(writer, nothing)[0].error)
    missing.parent.mkdir()
    assert work(writer, putting())[0].error is None
    writer.close()


# The log --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_log(monkeypatch):
    """A log that is copied early, so that tests need not write much."""
    monkeypatch.setattr(checkpoint, "SOON", LIMIT)
    monkeypatch.setattr(checkpoint, "AGAIN", LIMIT // 4)
    monkeypatch.setattr(checkpoint, "URGENT", 3 * LIMIT)


def log_pages(path: Path) -> int:
    """The length of the write-ahead log."""
    return Path(f"{path}-wal").stat().st_size // 4096


def write(writer: Writer, pages: int) -> None:
    """Store so much."""
    for _ in range(pages // 10):
        assert work(writer, putting(size=3500, count=10))[0].error is None


def test_the_log_stays_short(short_log, writer, path):
    """However much is written, it starts anew each time it has been copied."""
    write(writer, 10 * LIMIT)
    assert log_pages(path) < 1.5 * LIMIT
    assert path.stat().st_size > 9 * LIMIT * 4096


def test_a_reader_that_stays_lets_the_log_grow_and_no_longer(short_log, writer, path):
    """While it reads an old state nothing can be overwritten; when it has gone, the log starts anew."""
    reader = open_reader(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    began = time.monotonic()
    write(writer, 4 * LIMIT)
    assert time.monotonic() - began < 4  # or it would have waited for the reader
    assert log_pages(path) > 4 * LIMIT
    reader.execute("COMMIT")
    write(writer, 2 * LIMIT)
    used = []
    writer.connection.set_wal_hook(lambda *note: used.append(note[2]) or apsw.SQLITE_OK)
    write(writer, 10)
    assert used[-1] < 2 * LIMIT
    reader.close()
