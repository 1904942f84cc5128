"""One run of the demo: enqueue what is not there yet, let workers work, kill one if asked to, count everything."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import platform
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from reinhardt_tasks.backends import connect
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.demo.crew import Crew, kill_one
from reinhardt_tasks.demo.page import page
from reinhardt_tasks.demo.report import Entry, Kill, Report, Run, make_report, miscounted
from reinhardt_tasks.demo.settings import Audience, Settings
from reinhardt_tasks.demo.sources import FileFacts, python_files, standard_library
from reinhardt_tasks.demo.tasks import WEEK, index, queue
from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Record
from reinhardt_tasks.status import UNFINISHED, TaskStatus

_LOOK = 0.1
_LOOK_TO_KILL = 0.005
_KILL_AFTER = 4
"""A worker is killed when a quarter of the files is done."""


async def run_demo(settings: Settings, audience: Audience) -> tuple[Report, Path]:
    """Do one run; the report, and where it stands as a page.

    A run that was interrupted goes on where it was. Raises QueueError when the count does not come out right.
    """
    root = standard_library()
    files = python_files(root)[: settings.limit]
    if not files:
        raise ConfigurationError(f"there are no .py files below {root}; this Python keeps its library elsewhere")
    if settings.kill and settings.workers < 2:
        raise ConfigurationError("a worker is killed so that another one goes on; give it --workers 2 or more")
    with _alone_in(settings.directory):
        place = Place(settings.directory, root)
        await _make_room(place, len(files), audience, fresh=settings.fresh)
        queue.configure(place.url)
        async with queue:
            report = await _indexed(place, files, settings, audience)
    return report, place.write(page(report))


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Make the directory and hold its lock.

    Raises QueueError when another demo has it, ConfigurationError when a file is in its place.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"{directory} cannot be made a directory, as a file is in the way; name another --directory",
            setting="directory",
        ) from error
    with (directory / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise QueueError(f"another demo works in {directory}; let it end, or name another --directory") from error
        yield


class Place:
    """The files of the demo in `directory`; each Python, told apart by version and `root`, has its own database."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self.root = root
        name = f"python-{platform.python_version()}-{zlib.crc32(str(root).encode()):08x}.db"
        self._database = directory.resolve() / name
        self.url = f"sqlite:///{self._database}"
        self.log = self._database.with_name("workers.log")

    def exists(self) -> bool:
        """Whether there was a run before."""
        return self._database.exists()

    def clear(self) -> None:
        """Forget it."""
        for ending in ("", "-wal", "-shm"):
            self._database.with_name(self._database.name + ending).unlink(missing_ok=True)

    def write(self, html: str) -> Path:
        """Write the report; where it is."""
        file = self.directory / "report.html"
        file.write_text(html, encoding="utf-8")
        return file


async def _make_room(place: Place, wanted: int, audience: Audience, *, fresh: bool) -> None:
    """Take away the database of a run that came to its end, or that is not wanted any more."""
    if not place.exists():
        return
    if not fresh:
        async with connect(place.url) as backend:
            unfinished, ended = await _standing(backend)
        if unfinished or ended < wanted:
            audience.say(f"going on with an interrupted run: {ended:,} of {wanted:,} files are done")
            return
        audience.say("the last run here came to its end; this is a new one")
    place.clear()


async def _standing(backend: TaskBackend) -> tuple[int, int]:
    """How many messages are not finished, and how many are."""
    by_status = [counts.by_status for counts in await backend.counts()]
    total = sum(sum(numbers.values()) for numbers in by_status)
    unfinished = sum(numbers.get(status, 0) for numbers in by_status for status in UNFINISHED)
    return unfinished, total - unfinished


async def _indexed(place: Place, files: Sequence[str], settings: Settings, audience: Audience) -> Report:
    began = time.time()
    ids = await _enqueue(place.root, files)
    audience.say(f"{len(ids):,} messages, one for each .py file below {place.root}")
    async with Crew(place.url, settings.workers, place.log) as crew:
        kill = await _watch(await queue.backend(), crew, len(files), audience, kill=settings.kill)
        ended = time.time()
    run = Run(
        python=platform.python_version(),
        root=str(place.root),
        began_at=began,
        ended_at=ended,
        workers=settings.workers,
        kill=kill,
    )
    entries = await _entries(dict(zip(files, ids, strict=True)))
    if complaints := miscounted(files, entries):
        raise QueueError(f"the count is wrong: {'; '.join(complaints[:5])}")
    return make_report(run, entries)


async def _enqueue(root: Path, files: Sequence[str]) -> list[TaskId]:
    """One message per file, the one from before where the file has one: its path is its unique key."""
    messages = [index.using(unique_key=path, unique_for=WEEK).message(root, path) for path in files]
    return [handle.id for handle in await queue.enqueue_many(messages)]


async def _watch(backend: TaskBackend, crew: Crew, total: int, audience: Audience, *, kill: bool) -> Kill | None:
    """Follow the work to its end, killing a worker on the way if so asked."""
    killed: Kill | None = None
    while True:
        crew.check()
        unfinished, _ = await _standing(backend)
        done = max(0, total - unfinished)
        audience.count(done, total)
        if not unfinished:
            break
        if kill and killed is None and done >= total // _KILL_AFTER:
            killed = await _kill(backend, audience)
        await asyncio.sleep(_LOOK_TO_KILL if kill and killed is None else _LOOK)
    if kill and killed is None:
        raise QueueError("all files were done before a worker could be killed; try again with --fresh and more files")
    return killed


async def _kill(backend: TaskBackend, audience: Audience) -> Kill | None:
    victim = await kill_one(backend)
    if victim is None:
        return None
    beat = victim.beat
    audience.say(f"killed worker process {beat.pid} with SIGKILL; messages it held: {victim.claims}")
    return Kill(worker=beat.worker, pid=beat.pid, at=time.time(), held=victim.claims)


async def _entries(ids: dict[str, TaskId]) -> list[Entry]:
    """What became of each file's message."""
    backend = await queue.backend()
    paths, found = list(ids), list[Entry]()
    for start in range(0, len(paths), MAX_BATCH):
        part = paths[start : start + MAX_BATCH]
        records = await backend.get([ids[path] for path in part])
        found += [_entry(path, record) for path, record in zip(part, records, strict=True) if record is not None]
    return found


def _entry(path: str, record: Record) -> Entry:
    return Entry(
        path=path,
        id=str(record.id),
        status=record.status,
        attempts=record.attempts,
        losses=record.losses,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        facts=_facts(record),
        error=None if record.error is None else ErrorRecord.decode(record.error),
    )


def _facts(record: Record) -> FileFacts | None:
    if record.status is not TaskStatus.SUCCESS or record.result is None:
        return None
    facts: FileFacts = index.returns.decode(queue.seal.open(record.result, bytes(record.id)))
    return facts
