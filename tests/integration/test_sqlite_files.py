"""SQLite as a file among other things on a machine: locks, full disks, other processes, forks and power to the user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from reinhardt_tasks.backends.sqlite import SqliteBackend, connection, operations, place
from reinhardt_tasks.backends.sqlite.layout import APPLICATION_ID
from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    DirectoryMissingError,
    InvalidTextError,
    NotADatabaseError,
    SchemaError,
    UnsupportedError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message, Outcome, Put, Settled
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.procfs import open_files

PEER = Path(__file__).with_name("sqlite_peer.py")
LONG = 30.0


def message(body: bytes = b"body", **options) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name="task", body=body, **options)


def peer(*words: object) -> subprocess.Popen[str]:
    """Another process; see sqlite_peer.py."""
    command = [sys.executable, "-u", str(PEER), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told_by(*words: object) -> list[str]:
    """What another process says, which ends well and in silence otherwise."""
    with peer(*words) as process:
        said, errors = process.communicate(timeout=LONG)
    assert (process.returncode, errors) == (0, "")
    return said.splitlines()


def files_in(directory: Path) -> list[str]:
    """Their names."""
    return sorted(file.name for file in directory.iterdir())


async def claim(backend: SqliteBackend, want: int) -> list:
    """What a worker that has just come is given."""
    await backend.beat(Beat(worker="w", number=1, lease=300.0))
    return (await backend.exchange("w", (), want=want, queues=None, sequence=1)).claims


def ids(claims: list) -> list[TaskId]:
    """Of the messages."""
    return [each.id for each in claims]


async def settle(backend: SqliteBackend, claims: list) -> set[Settled]:
    """What the fence says when they succeed."""
    outcomes = [Outcome.success(each, b"r") for each in claims]
    return set((await backend.exchange("w", outcomes, want=0, queues=(), sequence=2)).settled)


@pytest.fixture
def path(tmp_path) -> Path:
    """Of a file that is not there yet."""
    return tmp_path / "tasks.db"


@pytest.fixture
def locker(path) -> Iterator[apsw.Connection]:
    """Another program's connection to the file."""
    other = apsw.Connection(str(path))
    yield other
    other.close()


# Opening --------------------------------------------------------------------------------------------------------------


async def test_the_file_is_created_and_the_directory_is_not(tmp_path):
    """A missing directory is an error of its own, naming the file."""
    async with SqliteBackend(tmp_path / "tasks.db") as backend:
        assert await backend.counts() == []
    with pytest.raises(DirectoryMissingError, match=r"nowhere/tasks\.db"):
        await SqliteBackend(tmp_path / "nowhere" / "tasks.db").open()
    assert not (tmp_path / "nowhere").exists()


async def test_a_file_that_is_no_database_is_left_as_it_is(path):
    """A text stays the same byte for byte, with no file beside it."""
    path.write_text("Dear diary, today I was nearly overwritten.\n" * 50)
    before = path.read_bytes()
    with pytest.raises(NotADatabaseError, match=r"tasks\.db is not a sqlite database"):
        await SqliteBackend(path).open()
    assert path.read_bytes() == before
    assert files_in(path.parent) == ["tasks.db"]


async def test_the_database_of_another_application_is_left_as_it_is(path, locker):
    """Whether it has tables without a mark, or a mark of its own."""
    locker.execute("CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(NotADatabaseError, match="another application"):
        await SqliteBackend(path).open()
    assert path.read_bytes() == before
    locker.execute("DROP TABLE customers; PRAGMA application_id = 7")
    with pytest.raises(NotADatabaseError, match="another application"):
        await SqliteBackend(path).open()


async def test_a_newer_schema_is_refused_by_both_versions(path):
    """The error names what was found and what is known."""
    async with SqliteBackend(path):
        pass
    other = apsw.Connection(str(path))
    other.execute("PRAGMA user_version = 9")
    other.close()
    with pytest.raises(SchemaError, match=r"version 9.*up to 1") as refused:
        await SqliteBackend(path).open()
    assert (refused.value.found, refused.value.known, refused.value.place) == (9, 1, str(path))


async def test_an_empty_file_becomes_a_database(path):
    """As a file made by a deployment tool."""
    path.touch()
    async with SqliteBackend(path) as backend:
        await backend.enqueue(message())
    opened = apsw.Connection(str(path))
    assert opened.pragma("application_id") == APPLICATION_ID
    opened.close()


async def test_a_backend_that_is_not_open_says_so():
    """Before it is opened, and after it was closed."""
    backend = SqliteBackend("tasks.db")
    with pytest.raises(BackendError, match=r"not open in this process: use `async with`"):
        await backend.put([message()])


async def test_opening_at_once_opens_once(path):
    """Two who find it closed do not open it twice."""
    backend = SqliteBackend(path)
    before = threading.active_count()
    await asyncio.gather(*(backend.open() for _ in range(5)))
    assert threading.active_count() == before + 1
    await backend.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1), ("off", 0)])
async def test_durability_is_what_was_asked_for(path, durability, level):
    """The connection that writes is set so, and `check` tells what that means."""
    async with SqliteBackend.from_url(f"sqlite:///{path}?durability={durability}") as backend:
        engine = backend._engine  # noqa: SLF001
        synchronous = await engine.write(lambda store: store.connection.pragma("synchronous"))
        told = await backend.check()
    assert synchronous == level
    assert told["durability"].startswith(f"{durability}: ")
    assert ("warning durability" in told) == (durability == "off")


async def test_check_tells_versions_sizes_and_soundness(path):
    """What an operator needs to know, nothing to warn of."""
    async with SqliteBackend(path) as backend:
        await backend.enqueue(message(b"x" * 10_000))
        told = await backend.check()
    assert (told["backend"], told["path"], told["journal"], told["schema"]) == ("sqlite", str(path), "wal", "1")
    assert told["integrity"] == "ok"
    assert told["sqlite"] == apsw.sqlite_lib_version()
    assert int(told["log size"].removesuffix(" bytes")) > 10_000
    assert [key for key in told if key.startswith("warning")] == []


def spoil_last_page(path: Path) -> None:
    """Write nonsense where bodies are."""
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xa5" * 4096)


async def test_check_warns_of_a_damaged_file(path):
    """A page full of nonsense is found."""
    async with SqliteBackend(path) as backend:
        await backend.put([message(b"x" * 500) for _ in range(300)])
    spoil_last_page(path)
    async with SqliteBackend(path) as backend:
        assert "damaged" in (await backend.check())["warning integrity"]


async def test_a_connection_of_the_caller_is_refused(path):
    """The error names a backend that can join the caller's transaction."""
    async with SqliteBackend(path) as backend:
        with pytest.raises(UnsupportedError, match=r"connection=.*Postgres"):
            await backend.put([message()], connection=object())


async def test_a_lone_surrogate_is_refused_alone(path):
    """The puts beside it are stored."""
    async with SqliteBackend(path) as backend:
        odd = Message(id=TaskId.new(), name="\ud800", body=b"")
        answers = await asyncio.gather(
            backend.put([message()]), backend.put([odd]), backend.put([message()]), return_exceptions=True
        )
        assert isinstance(answers[1], InvalidTextError)
        assert (await backend.counts())[0].ready == 2


# Locks ----------------------------------------------------------------------------------------------------------------


async def test_a_lock_held_for_a_while_reaches_no_caller(path, locker, monkeypatch):
    """Longer than SQLite itself waits, again and again: calls take longer, none fails."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT", 0.02)
    async with SqliteBackend(path) as backend:
        for _ in range(5):
            locker.execute("BEGIN IMMEDIATE")
            calls = [asyncio.create_task(backend.enqueue(message())) for _ in range(4)]
            await asyncio.sleep(0.1)
            assert not any(call.done() for call in calls)
            locker.execute("COMMIT")
            assert all(put.created for put in await asyncio.gather(*calls))


async def test_a_long_purge_leaves_others_half_of_the_time(path, monkeypatch):
    """Who waits for the lock looks for it from time to time, and would not find it between steps without a pause."""
    steps: list[tuple[float, float]] = []
    purge_some = operations.purge_some

    def noted(*args) -> int:
        began = time.monotonic()
        time.sleep(0.02)  # as long as thousands of messages take
        purged = purge_some(*args)
        steps.append((began, time.monotonic()))
        return purged

    monkeypatch.setattr(operations, "purge_some", noted)
    monkeypatch.setattr(operations, "PURGED_AT_ONCE", 2)
    async with SqliteBackend(path, durability="off") as backend:
        await backend.put([message() for _ in range(5)])
        assert await backend.purge("default") == 5
    assert len(steps) == 3
    assert all(after[0] - before[1] >= 0.02 for before, after in pairwise(steps)), steps


async def test_a_lock_held_for_ever_is_an_error_that_says_what_to_do(path, locker):
    """Nothing is stored; once the lock is gone, the next call works. Reading was possible all along."""
    async with SqliteBackend(path, lock_timeout=0.2) as backend:
        locker.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailableError, match=r"tasks\.db is locked.*keeps a transaction open"):
            await backend.enqueue(message())
        assert await backend.counts() == []
        locker.execute("COMMIT")
        assert (await backend.enqueue(message())).created


async def test_a_file_is_opened_while_others_write_to_it(path):
    """Processes that start together, all creating the file, wait for each other."""
    backends = [SqliteBackend(path) for _ in range(6)]
    await asyncio.gather(*(backend.open() for backend in backends))
    await asyncio.gather(*(backend.enqueue(message()) for backend in backends))
    assert (await backends[0].counts())[0].ready == 6
    for backend in backends:
        await backend.close()


# Room and rights ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited_size(directory: Path) -> Iterator[None]:
    """No file of this process grows beyond 512 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def filled_disk(directory: Path) -> Iterator[None]:
    """Nothing more fits onto the disk of `directory`."""
    filler = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(filler, b"\0" * 4096)
    try:
        yield
    finally:
        os.truncate(filler, 0)
        os.close(filler)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 2 MB. Only root may mount one."""
    directory = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory], capture_output=True, check=False
    )
    if mounted.returncode:
        directory.rmdir()
        pytest.skip("a disk of its own can be mounted by root only")
    yield directory
    subprocess.run(["umount", directory], check=True)
    directory.rmdir()


async def test_a_limit_of_size_is_a_full_disk(tmp_path):
    """Enqueue refuses clearly, nothing is lost, and everything goes on when there is room."""
    await _fill_up(tmp_path, limited_size)


async def test_a_full_disk_is_a_full_disk(small_disk):
    """The same where the disk itself is full."""
    await _fill_up(small_disk, filled_disk)


async def _fill_up(directory: Path, full) -> None:
    async with SqliteBackend(directory / "tasks.db") as backend:
        stored = await backend.put([message() for _ in range(100)])
        claims = await claim(backend, 50)
        with full(directory), pytest.raises(BackendFullError, match=r"no room left for .*tasks\.db"):
            await _put_for_ever(backend, stored)
        stored += await backend.put([message() for _ in range(20)])
        assert await settle(backend, claims) <= {Settled.SETTLED, Settled.ALREADY}
        assert None not in await backend.get([put.id for put in stored])
        counts = (await backend.counts())[0].by_status
        assert sum(counts.values()) == len(stored)
        assert counts[TaskStatus.SUCCESS] == 50
        assert (await backend.check())["integrity"] == "ok"


async def _put_for_ever(backend: SqliteBackend, stored: list[Put]) -> None:
    while True:
        stored += await backend.put([message(b"x" * 2000) for _ in range(20)])


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """As a user whose rights are looked at."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def shared(request) -> Iterator[Path]:
    """A directory that every user may enter, with a database in it."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


async def test_a_read_only_file_is_an_error_with_a_remedy(shared):
    """It names the file and who must be able to write what."""
    async with SqliteBackend(shared / "tasks.db"):
        pass
    (shared / "tasks.db").chmod(0o444)
    with not_root(), pytest.raises(BackendError, match=r"tasks\.db cannot be written.*writable by the user"):
        await SqliteBackend(shared / "tasks.db").open()


async def test_a_read_only_directory_is_an_error_with_a_remedy(shared):
    """SQLite needs to make files beside the database."""
    async with SqliteBackend(shared / "tasks.db"):
        pass
    (shared / "tasks.db").chmod(0o666)
    shared.chmod(0o555)
    with not_root(), pytest.raises(BackendError, match=r"cannot be written.*and their directory"):
        await SqliteBackend(shared / "tasks.db").open()


def remove(path: Path) -> None:
    """The file and what is beside it."""
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink()


async def test_a_file_that_was_removed_is_noticed(path, monkeypatch):
    """One call says so; what comes after it goes to the file that is there."""
    monkeypatch.setattr(place, "LOOKS_APART", 0.0)
    async with SqliteBackend(path) as backend:
        await backend.put([message(), message()])
        assert len(await claim(backend, 5)) == 2
        assert await backend.wait("w", None, 0.01) is False
        remove(path)
        with pytest.raises(BackendUnavailableError, match="removed or replaced"):
            await backend.enqueue(message())
        put = await backend.enqueue(message())
        assert (await backend.counts())[0].ready == 1
        assert ids(await claim(backend, 5)) == [put.id]
        waiting = asyncio.create_task(backend.wait_result(put.id, LONG))
        await backend.move(put.id, TaskStatus.CANCELLED)
        assert (await waiting).id == put.id
    async with SqliteBackend(path) as backend:
        assert await backend.get_status(put.id) is TaskStatus.CANCELLED


# Closing --------------------------------------------------------------------------------------------------------------


async def test_what_was_asked_for_before_the_close_is_finished(path):
    """Calls under way are answered, and their messages stored."""
    backend = SqliteBackend(path)
    await backend.open()
    calls = [asyncio.create_task(backend.enqueue(message())) for _ in range(50)]
    await asyncio.sleep(0)
    await backend.close()
    assert all(put.created for put in await asyncio.gather(*calls))
    async with backend:
        assert (await backend.counts())[0].ready == 50


async def test_a_close_ends_those_who_wait(path):
    """A worker hears of nothing, and who waits for a result is told that there is no telling."""
    backend = SqliteBackend(path)
    await backend.open()
    put = await backend.enqueue(message())
    await claim(backend, 1)
    waiting = asyncio.create_task(backend.wait("w", None, LONG))
    result = asyncio.create_task(backend.wait_result(put.id, LONG))
    schedules = asyncio.create_task(backend.watch_schedules(0, LONG))
    await asyncio.sleep(0.05)
    await backend.close()
    assert await waiting is False
    assert await schedules == 0
    with pytest.raises(BackendError, match="closed while message"):
        await result


async def test_a_close_that_is_not_waited_for_ends_everything_all_the_same(path):
    """Though a long look at the file holds it up: each thread ends when it has done what was asked for before."""
    before, looked = set(threading.enumerate()), threading.Event()
    backend = SqliteBackend(path, durability="off")
    await backend.open()
    await backend.wait("w", None, 0.01)
    looking = asyncio.create_task(backend._engine.read(lambda _: looked.wait(20)))  # noqa: SLF001
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(backend.close(), 0.05)
    looked.set()
    assert await looking
    await eventually_async(lambda: set(threading.enumerate()) <= before)


async def test_nothing_stays_open_after_a_close(path):
    """No thread, no file, no log beside the database."""
    threads, files = threading.active_count(), open_files()
    async with SqliteBackend(path) as backend:
        await backend.enqueue(message())
        await backend.counts()
        await backend.wait("w", None, 0.01)
    assert (threading.active_count(), open_files()) == (threads, files)
    assert files_in(path.parent) == [path.name]


@pytest.mark.parametrize("command", ["leave_open", "abandon"])
def test_a_program_may_end_without_closing(path, command):
    """It ends at once and in silence, whether calls are under way or their loop is gone; what was put is stored."""
    assert told_by(command, path) == []
    opened = apsw.Connection(str(path))
    assert opened.execute("SELECT count(*) FROM messages").fetchall()[0][0] >= 1
    opened.close()


# Other processes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_what_was_confirmed_outlives_a_kill(path, durability):
    """Every id that was told before SIGKILL is stored."""
    with peer("put_for_ever", path, durability) as process:
        told = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    ids = [TaskId.parse(line.strip()) for line in told if line.endswith("\n")]
    assert len(ids) >= 200
    async with SqliteBackend(path) as backend:
        for start in range(0, len(ids), 500):
            assert None not in await backend.get(ids[start : start + 500])
        assert (await backend.check())["integrity"] == "ok"


async def test_processes_share_a_file(path):
    """Some put, some work, none of them opened it first: each message is given once, none is lost."""
    producers = [peer("put_many", path, 300) for _ in range(3)]
    workers = [peer("work_off", path, f"w{number}", 900) for number in range(3)]
    put = [line for process in producers for line in process.communicate(timeout=LONG)[0].splitlines()]
    done = [line for process in workers for line in process.communicate(timeout=LONG)[0].splitlines()]
    assert [process.returncode for process in producers + workers] == [0] * 6
    assert len(put) == 900
    assert Counter(done) == Counter(put)


async def test_a_worker_in_another_process_is_woken_and_its_result_wakes_us(path):
    """Both long before any time-out, by nothing but the file."""
    async with SqliteBackend(path) as backend:
        with peer("wait_and_finish", path) as process:
            assert process.stdout.readline() == "ready\n"
            put = await backend.enqueue(message())
            async with asyncio.timeout(LONG):
                record = await backend.wait_result(put.id, None)
            assert process.communicate(timeout=LONG)[0] == f"True {put.id}\n"
    assert record.status is TaskStatus.SUCCESS


def test_a_fork_opens_the_file_anew(path):
    """The child finds its instance closed, may open it, and takes nothing from its parent."""
    assert told_by("fork", path) == ["child True 2", "parent 4 ok"]


def test_a_fork_in_the_middle_of_a_step_is_refused_the_file(path):
    """The child is told how to do it; the parent goes on."""
    child, parent = told_by("fork_while_busy", path)
    assert "Fork before the backend is opened" in child
    assert parent == "parent 1"
