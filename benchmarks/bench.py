"""One measurement's surroundings: an empty store, the stamps and the peer's processes, gone when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.adapter import Job
from benchmarks.brokers import BROKERS
from benchmarks.brokers.broker import Broker
from benchmarks.cases import Case
from benchmarks.environments import Environment, environment
from benchmarks.guard import Guard
from benchmarks.stamps import Progress, Stamps, create_stamps
from benchmarks.trees import Memory, cpu_seconds, memory

LOOK = 0.005  # seconds between two looks at a running worker
STALL = 60  # seconds without a message run after which a measurement is given up


class PeerError(Exception):
    """A process of a peer failed or stood still; says what it wrote last."""


class Bench:
    """One case with a store of its own; made by `bench`."""

    def __init__(self, case: Case, guard: Guard, job: Job, *, broker: Broker, slots: Stamps) -> None:
        self.case = case
        self.broker = broker
        self.slots = slots
        self._guard = guard
        self._job = job
        self._peer: Environment = environment(case.peer)

    def produce(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Answer of one verb of `benchmarks.peer`, run to its end in a process of its own. Raises PeerError."""
        return self._produce(self._job, verb, arguments)

    def fill(self, messages: int, *, verb: str = "fill", **arguments: Any) -> dict[str, Any]:
        """Queue `messages` at the least durability, then have them all on the disk; what the verb answered."""
        job = replace(self._job, settings={**self.case.settings, **self.case.filling})
        with self.broker.filling():
            answer = self._produce(job, verb, {"messages": messages, **arguments})
        os.sync()
        return answer

    def _produce(self, job: Job, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        with self._file("answer") as answer, self._file("errors") as errors:
            with self._running(job, verb, arguments, output=answer, errors=errors) as process:
                process.wait()
            if process.returncode:
                said = _end_of(errors.name)
                raise PeerError(f"{self.case.name}: {verb} ended with {process.returncode}\n{said}")
            told: dict[str, Any] = json.loads(Path(answer.name).read_text().splitlines()[-1])
            return told

    @contextmanager
    def workers(self, processes: int = 1) -> Iterator[Workers]:
        """That many worker processes from their start to their stop; one command for all where the case has one."""
        pair = self.case.pair if processes > 1 else None
        job = replace(self._job, settings={**self.case.settings, **(pair or {})})
        with ExitStack() as running, self._file("log") as log:
            started = [
                running.enter_context(self._running(job, "worker", {}, output=log, errors=log))
                for _ in range(1 if pair else processes)
            ]
            yield Workers(self.case.name, started, log.name)

    def _running(
        self, job: Job, verb: str, arguments: Mapping[str, Any], **outputs: Any
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        command = [*self._peer.command, self.case.peer, verb, json.dumps(arguments)]
        variables = {**os.environ, **self._peer.variables, **job.environment()}
        return self._guard.running(command, environment=variables, **outputs)

    def _file(self, name: str) -> Any:
        """A new file to write to, which stays as long as the measurement."""
        return tempfile.NamedTemporaryFile(dir=self._job.stamps.parent, prefix=name, delete=False)


class Workers:
    """The worker processes of one measurement, to be watched while they work."""

    def __init__(self, case: str, processes: Sequence[subprocess.Popen[bytes]], log: str) -> None:
        self._case = case
        self._processes = processes
        self._log = log

    def cpu_seconds(self) -> float:
        """User and system time spent so far, by all that they started too."""
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def memory(self) -> Memory:
        """What they hold at this moment."""
        held = [memory(process.pid) for process in self._processes]
        return Memory(sum(one.rss for one in held), sum(one.pss for one in held))

    def until(self, reached: Callable[[], bool], progress: Progress) -> None:
        """Return when `reached()`. Raises PeerError if a worker ends before, or none runs anything for a minute."""
        moved_at, seen = monotonic(), progress.seen()
        while not reached():
            if (now := progress.seen()) != seen:
                moved_at, seen = monotonic(), now
            ended = any(process.poll() is not None for process in self._processes)
            if ended or monotonic() - moved_at > STALL:
                raise PeerError(f"{self._case}: the worker stopped after {seen} messages\n{_end_of(self._log)}")
            sleep(LOOK)


@contextmanager
def bench(case: Case, guard: Guard, messages: int) -> Iterator[Bench]:
    """An empty broker for one measurement of `messages` messages."""
    with tempfile.TemporaryDirectory(dir=guard.directory) as place:
        store, stamps = Path(place, "store"), Path(place, "stamps")
        store.mkdir()
        slots = create_stamps(stamps, messages)
        with BROKERS[case.broker](guard, store, case.durability) as broker:
            os.sync()
            job = Job(case.broker, broker.address, stamps, case.settings)
            yield Bench(case, guard, job, broker=broker, slots=slots)


def _end_of(log: str) -> str:
    return Path(log).read_text(errors="replace")[-2000:]
