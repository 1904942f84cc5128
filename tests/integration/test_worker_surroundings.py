"""Worker processes in bad surroundings: a locked database, a full disk, clocks that are wrong, another release."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendFullError
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.integration.apps import jobs, version_one, version_two
from tests.integration.site import all_finished, producer, records, registered, site
from tests.workshop import awaited


@pytest.fixture
def place(tmp_path: Path):
    """A database with the workers of one test."""
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB. Only root may mount one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", directory]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root only")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


# A database that others lock ------------------------------------------------------------------------------------------


async def test_a_locked_database_is_waited_for(place):
    """Another program keeps it for four seconds, longer than the lease: no caller sees an error, nothing runs twice."""
    async with producer(jobs.queue, place) as backend:
        for _ in range(2):
            place.start("--concurrency", "4")
        await registered(backend, 2)
        handles = await jobs.queue.enqueue_many(jobs.pausing.message(0.1) for _ in range(60))
        await place.begun(12)
        locked = threading.Event()
        locking = asyncio.create_task(asyncio.to_thread(lock, place.directory / "tasks.db", 4.0, locked))
        await asyncio.to_thread(locked.wait, 30)
        handles += await asyncio.gather(*[jobs.quick.enqueue(number) for number in range(20)])
        await locking
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 80}
        assert place.runs("begin", "run").total() == 80
        ended = await records(backend, [handle.id for handle in handles])
        assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}


def lock(file: Path, seconds: float, locked: threading.Event) -> None:
    """Keep a database to oneself."""
    connection = apsw.Connection(str(file))
    connection.set_busy_timeout(20_000)
    try:
        connection.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


# A disk that is full --------------------------------------------------------------------------------------------------


async def test_a_full_disk_stops_nothing_for_good(place, disk):
    """Whoever enqueues is told; the worker goes on as soon as there is room, and what ended meanwhile counts."""
    place.url = f"sqlite:///{disk / 'tasks.db'}"
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "4")
        await registered(backend, 1)
        slow = await jobs.queue.enqueue_many(jobs.pausing.message(1.0) for _ in range(4))
        await place.begun(4)
        fill(disk / "ballast")
        stored: list[TaskHandle[int]] = []
        with pytest.raises(BackendFullError):
            await enqueue_for_ever(stored)
        await eventually_async(lambda: len(place.entries("end")) == 4)
        await eventually_async(lambda: "_failed" in crew.log() or "unavailable" in crew.log())
        (disk / "ballast").unlink()
        stored.append(await jobs.quick.enqueue(7))
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 4 + len(stored)}
        assert crew.process.poll() is None
        assert set(place.runs("begin", "run").values()) == {1}
        assert [await handle.result(timeout=1) for handle in slow] == [crew.pid] * 4
        assert not [name for name in await backend.check() if name.startswith("warning")]


async def enqueue_for_ever(stored: list[TaskHandle[int]]) -> None:
    """Until there is no room; `stored` is what was acknowledged."""
    while True:
        stored += await jobs.queue.enqueue_many(jobs.quick.message(number) for number in range(500))


def fill(ballast: Path) -> None:
    """Leave no room on the disk."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def test_a_file_that_may_not_grow_stops_nothing_for_good(place):
    """As a full disk, for the worker alone, and without being root."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "4")
        await registered(backend, 1)
        size = max(file.stat().st_size for file in place.directory.glob("tasks.db*"))
        _, hard = resource.prlimit(crew.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(crew.pid, resource.RLIMIT_FSIZE, (size, hard))
        stored = await jobs.queue.enqueue_many(jobs.quick.message(number) for number in range(3000))
        await eventually_async(lambda: "_failed" in crew.log() or "unavailable" in crew.log())
        resource.prlimit(crew.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 3000}
        assert crew.process.poll() is None
        assert place.runs("run").total() == len(stored)


# Clocks ---------------------------------------------------------------------------------------------------------------

SHIFTED = """
import os, time
_file, _time, _time_ns = os.environ["CLOCK_SHIFT"], time.time, time.time_ns
def _shift():
    with open(_file) as file:
        return float(file.read())
time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + int(_shift() * 1e9)
"""


class Clock:
    """The wall clock of processes that are started with its `environment`; it can be set while they run."""

    def __init__(self, directory: Path, seconds: float) -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(SHIFTED)
        self._file = directory / "shift"
        path = os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))
        self.environment = {"PYTHONPATH": path, "CLOCK_SHIFT": str(self._file)}
        self.shift(seconds)

    def shift(self, seconds: float) -> None:
        """Let it go wrong by so much."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds}")
        new.rename(self._file)


async def test_a_clock_that_jumps_doubles_and_loses_nothing(place):
    """The machine's clock is set an hour ahead, then an hour back: nobody is taken for dead who is alive."""
    clock = Clock(place.directory / "clock", 0)
    async with producer(jobs.queue, place) as backend:
        crews = [place.start(environment=clock.environment) for _ in range(2)]
        await registered(backend, 2)
        long = await jobs.queue.enqueue_many(jobs.pausing.message(6.0) for _ in range(4))
        await place.begun(4)
        short = await jobs.queue.enqueue_many(jobs.pausing.message(0.1) for _ in range(100))
        for seconds, ended in ((3600, 30), (-3600, 60), (0, 90)):
            clock.shift(seconds)
            await eventually_async(lambda ended=ended: len(place.entries("end")) >= ended, timeout=30)
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 104}
        assert set(place.runs("begin").values()) == {1}
        ended = await records(backend, [handle.id for handle in (*long, *short)])
        assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}
        assert all(crew.process.poll() is None for crew in crews)


async def test_a_worker_with_a_wrong_clock_doubles_and_loses_nothing(place):
    """Its own is an hour ahead, or behind, of everybody else's."""
    async with producer(jobs.queue, place) as backend:
        for seconds in (0, 3600, -3600):
            clock = Clock(place.directory / f"clock{seconds}", seconds)
            place.start(environment=clock.environment)
        await registered(backend, 3)
        handles = await jobs.queue.enqueue_many(jobs.pausing.message(4.0) for _ in range(6))
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 6}
        assert set(place.runs("begin").values()) == {1}
        ended = await records(backend, [handle.id for handle in handles])
        assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}


# Two releases ---------------------------------------------------------------------------------------------------------


async def test_two_releases_work_side_by_side(place):
    """What the older does not know is left for the newer: a new task, a newer envelope. No attempt is spent."""
    async with producer(version_two.queue, place) as backend:
        old = place.start("--concurrency", "1", target="tests.integration.apps.version_one:queue")
        await registered(backend, 1)
        fresh, envelope = await version_two.fresh.enqueue(1), future_envelope()
        await backend.put([envelope])
        for id in (fresh.id, envelope.id):
            await awaited(lambda id=id: _left_for_others(backend, id))
        shared = await version_two.shared.enqueue(2, seconds=6)
        await place.begun(1)  # the older has its hands full now
        new = place.start(target="tests.integration.apps.version_two:queue")
        assert await fresh.result(timeout=30) == "fresh 1"
        assert place.entries("run")[-1].pid == new.pid
        record = (await records(backend, [fresh.id]))[0]
        assert (record.attempts, record.losses) == (0, 0)
        await awaited(lambda: _left_for_others(backend, envelope.id))
        assert await shared.result(timeout=30) == "one 2"
        assert old.process.poll() is None


def future_envelope() -> AnyMessage:
    """A message whose envelope is of a version, and a shape, that nobody here knows."""
    message = version_one.shared.message(1)
    body = msgspec.msgpack.encode({"v": 99, "i": bytes(message.id), "something": ["else"]})
    return msgspec.structs.replace(message, body=body)


async def _left_for_others(backend: TaskBackend, id: TaskId) -> bool:
    """Whether the message was given back, to be looked at later."""
    record = (await records(backend, [id]))[0]
    return record.status is TaskStatus.PENDING and record.run_at is not None


async def test_a_call_of_the_newer_release_that_the_older_cannot_read_is_a_dead_letter_there(place):
    """A parameter that it does not have: no wrong call is made, and the message waits to be requeued."""
    async with producer(version_two.queue, place) as backend:
        old = place.start(target="tests.integration.apps.version_one:queue")
        handle = await version_two.shared.enqueue(2, factor=10)
        record = await awaited(lambda: _failed(backend, handle.id))
        assert record is not None
        assert place.entries("run") == []
        old.process.terminate()
        assert old.ended() == 0
        place.start(target="tests.integration.apps.version_two:queue")
        await backend.requeue([handle.id])
        assert await handle.result(timeout=30) == "two 20"


async def _failed(backend: TaskBackend, id: TaskId):
    record = (await records(backend, [id]))[0]
    return record if record.status is TaskStatus.FAILURE else None
