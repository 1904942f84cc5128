"""One measurement's surroundings: an empty store, the stamps and the peer's processes, gone when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.adapter import Job
from benchmarks.brokers import BROKERS
from benchmarks.cases import Case
from benchmarks.environments import ROOT, interpreter
from benchmarks.stamps import Progress, Stamps, create_stamps

LOOK = 0.005  # seconds between two looks at a running worker
STALL = 60  # seconds without a message run after which a measurement is given up
STOP = 20  # seconds a worker has to stop when told to


class PeerError(Exception):
    """A process of a peer failed or stood still; says what it wrote last."""


class Bench:
    """One case with a store of its own; made by `bench`."""

    def __init__(self, case: Case, job: Job, slots: Stamps) -> None:
        self.case = case
        self.slots = slots
        self._job = job
        self._log = job.stamps.with_name("worker.log")

    def produce(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Answer of one verb of `benchmarks.peer`, run to its end in a process of its own. Raises PeerError."""
        return self._produce(self._job, verb, arguments)

    def fill(self, messages: int) -> None:
        """Queue `messages` at the least durability, then have them all on the disk."""
        job = replace(self._job, settings={**self.case.settings, **self.case.filling})
        self._produce(job, "fill", {"messages": messages})
        os.sync()

    def _produce(self, job: Job, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        command = self._command(verb, arguments)
        done = subprocess.run(command, cwd=ROOT, env=_environment(job), capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerError(f"{self.case.name}: {verb} ended with {done.returncode}\n{done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def _command(self, verb: str, arguments: Mapping[str, Any]) -> list[str]:
        return [str(interpreter(self.case.peer)), "-m", "benchmarks.peer", self.case.peer, verb, json.dumps(arguments)]

    @contextmanager
    def worker(self) -> Iterator[RunningWorker]:
        """One worker from its start to its stop; it leads a process group, of which nothing is left behind."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._command("worker", {}),
                cwd=ROOT,
                env=_environment(self._job),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield RunningWorker(self.case.name, process, self._log)
        finally:
            _stop(process)


class RunningWorker:
    """A worker that may be watched while it works."""

    def __init__(self, case: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = process.pid
        self._case = case
        self._process = process
        self._log = log

    def until(self, reached: Callable[[], bool], progress: Progress) -> None:
        """Return when `reached()`. Raises PeerError if the worker ends or runs nothing for a minute before that."""
        moved_at, seen = monotonic(), progress.seen()
        while not reached():
            if (now := progress.seen()) != seen:
                moved_at, seen = monotonic(), now
            if self._process.poll() is not None or monotonic() - moved_at > STALL:
                raise PeerError(f"{self._case}: the worker stopped after {seen} messages\n{self._last_words()}")
            sleep(LOOK)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@contextmanager
def bench(case: Case, stores: Path, messages: int) -> Iterator[Bench]:
    """An empty broker with its files under `stores`, for one measurement of `messages` messages."""
    with tempfile.TemporaryDirectory(dir=stores) as place:
        store, stamps = Path(place, "store"), Path(place, "stamps")
        store.mkdir()
        slots = create_stamps(stamps, messages)
        with BROKERS[case.broker](store) as address:
            os.sync()
            yield Bench(case, Job(address, stamps, case.settings), slots)


def _environment(job: Job) -> dict[str, str]:
    return {**os.environ, **job.environment(), "PYTHONPATH": str(ROOT)}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
