"""What workers, their server and the rest of the machine have done between two moments."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from benchmarks.bench import Bench, Workers
from benchmarks.brokers.broker import Reading
from benchmarks.machine import cores, idle_seconds


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything counted up to one moment, in seconds."""

    at: float
    workers: float  # processor time
    server: Reading | None
    idle: float  # of all cores


def now(bench: Bench, workers: Workers) -> Moment:
    """This moment."""
    return Moment(monotonic(), workers.cpu_seconds(), bench.broker.reading(), idle_seconds())


@dataclass(frozen=True, slots=True)
class Spent:
    """What passed between two moments; `server` and `commands` are None where no server runs."""

    seconds: float
    workers: float  # processor time in seconds, as in what follows
    server: float | None
    commands: int | None
    idle: float

    def shares(self, prefix: str) -> dict[str, float]:
        """Percent of one core for workers and server, and of the machine for what was left idle."""
        server = {} if self.server is None else {f"{prefix}_server_core": 100 * self.server / self.seconds}
        idle = 100 * self.idle / (self.seconds * cores())
        return {f"{prefix}_core": 100 * self.workers / self.seconds, **server, f"{prefix}_idle": idle}

    def costs(self, prefix: str, messages: int) -> dict[str, float]:
        """Microseconds of processor time for each of `messages`."""
        server = {} if self.server is None else {f"{prefix}_server_cpu": self.server / messages * 1e6}
        return {f"{prefix}_cpu": self.workers / messages * 1e6, **server}


def between(before: Moment, after: Moment) -> Spent:
    """What passed from one moment to a later one."""
    server = commands = None
    if before.server and after.server:
        server = after.server.cpu_seconds - before.server.cpu_seconds
        commands = after.server.commands - before.server.commands
    return Spent(after.at - before.at, after.workers - before.workers, server, commands, after.idle - before.idle)
