"""Where workers work: a directory with a database, worker processes started on it, and the book they write."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Record, WorkerRecord
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually, eventually_async
from tests.workshop import awaited

ROOT = Path(__file__).parents[2]
JOBS = "tests.integration.apps.jobs:queue"
LEASE = 3.0
"""The lease of the workers here: a beat each second, a sweep each half, given up after 4.1 s at worst (see below)."""
REDELIVERY = 4.5
"""Seconds within which a message of a worker that died is started again, if a worker is free for it."""
UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RETRY})


@dataclass(frozen=True)
class Entry:
    """What a task wrote down: when (monotonic), the id of its message, the attempt, the process, the stage."""

    at: float
    id: str
    attempt: int
    pid: int
    stage: str

    @classmethod
    def of(cls, line: str) -> Entry:
        """The entry on a line of the book."""
        at, id, attempt, pid, stage = line.split()
        return cls(float(at), id, int(attempt), int(pid), stage)


class Crew:
    """One worker process, or a supervisor with several."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 30.0) -> int:
        """The exit code, once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker has not ended after {timeout:g} s:\n{self.log()}") from None


class Site:
    """The place of one test."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.book = directory / "book"
        self.gate = self.book.with_suffix(".open")
        """Made, it lets the tasks end that wait for it."""
        self._crews: list[Crew] = []

    # Processes ----------------------------------------------------------------------------------------------------

    def start(
        self,
        *options: str,
        target: str = JOBS,
        environment: Mapping[str, str] | None = None,
        limits: Callable[[], None] | None = None,
    ) -> Crew:
        """Start a worker with these options of the command line."""
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "reinhardt_tasks",
            "worker",
            target,
            "--lease",
            f"{LEASE:g}",
            *options,
        ]
        return self._popen(command, environment or {}, limits)

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> Crew:
        """Start another program of this Python on the same database and book."""
        return self._popen([sys.executable, *command], environment or {}, None)

    def _popen(
        self, command: list[str | Path], environment: Mapping[str, str], limits: Callable[[], None] | None
    ) -> Crew:
        log = self.directory / f"log-{len(self._crews)}"
        variables = {**os.environ, "REINHARDT_TASKS_URL": self.url, "BOOK": str(self.book), **environment}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=limits,  # noqa: PLW1509 - sets a limit of the child, and no thread here holds what that needs
            )
        crew = Crew(process, log)
        self._crews.append(crew)
        return crew

    def clear(self) -> None:
        """Kill what is left, with the processes it has started."""
        for crew in self._crews:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(crew.pid, signal.SIGKILL)
            crew.process.wait(30)

    def logs(self) -> str:
        """What all workers logged."""
        return "\n".join(crew.log() for crew in self._crews)

    # What happened ------------------------------------------------------------------------------------------------

    def entries(self, *stages: str) -> list[Entry]:
        """What tasks wrote down, of these stages, in order."""
        text = self.book.read_text() if self.book.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        found = [Entry.of(line) for line in whole.splitlines()]
        return [entry for entry in found if not stages or entry.stage in stages]

    def runs(self, *stages: str) -> Counter[str]:
        """How often each message was started."""
        return Counter(entry.id for entry in self.entries(*(stages or ("begin", "run"))))

    async def begun(self, count: int, *stages: str) -> list[Entry]:
        """The first `count` starts, once there are so many."""
        await eventually_async(lambda: len(self.entries(*(stages or ("begin", "run")))) >= count, timeout=30)
        return self.entries(*(stages or ("begin", "run")))[:count]


@contextlib.contextmanager
def site(directory: Path, url: str | None = None) -> Iterator[Site]:
    """A place that is cleared in the end. What was logged is printed: pytest shows it where a test has failed."""
    made = Site(directory, url or f"sqlite:///{directory / 'tasks.db'}")
    try:
        yield made
    finally:
        made.clear()
        print(made.logs()[-10_000:])  # noqa: T201


@contextlib.asynccontextmanager
async def producer(queue: TaskQueue, at: Site) -> AsyncIterator[TaskBackend]:
    """Have `queue` of this process lead to the site's database; gives its backend."""
    with queue.override(at.url):
        async with queue:
            yield await queue.backend()


async def registered(backend: TaskBackend, count: int) -> list[WorkerRecord]:
    """The workers, once there are so many."""

    async def look() -> list[WorkerRecord] | None:
        workers = await backend.workers()
        return workers if len(workers) == count else None

    found = await awaited(look, timeout=30)
    assert found is not None
    return found


async def all_finished(backend: TaskBackend, *, timeout: float = 60.0) -> dict[TaskStatus, int]:
    """How many messages stand where, once none is unfinished."""

    async def look() -> dict[TaskStatus, int] | None:
        total: Counter[TaskStatus] = Counter()
        for counts in await backend.counts():
            total.update(counts.by_status)
        await asyncio.sleep(0.02)
        return dict(total) if not UNFINISHED & set(total) else None

    found = await awaited(look, timeout=timeout)
    assert found is not None
    return found


async def records(backend: TaskBackend, ids: list[TaskId]) -> list[Record]:
    """The messages, all of which have to be there."""
    found = await backend.get(ids)
    return [record for record in found if record is not None]


def limited(kind: int, size: int) -> Callable[[], None]:
    """For a child to be: no more than `size` of the resource."""
    return lambda: resource.setrlimit(kind, (size, size))


def gone(pid: int) -> bool:
    """Whether no process of that id is left, at once or soon."""
    return eventually(lambda: not Path(f"/proc/{pid}").exists())
