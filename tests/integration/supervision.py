"""A running supervisor as a test sees it: its process, what its workers say they did, and its log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.eventually import eventually

PROGRAM = Path(__file__).with_name("supervised.py")


@dataclass(frozen=True)
class Event:
    index: int
    pid: int
    what: str


class Supervision:
    """One supervisor and the directory where its workers and its log write."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process

    def log(self) -> str:
        file = self.directory / "log"
        return file.read_text() if file.exists() else ""

    def events(self, what: str) -> list[Event]:
        """What workers did, of this kind, in order."""
        return [event for event in _events(self.directory) if event.what == what]

    def started(self, count: int) -> list[Event]:
        """The first `count` starts, once there have been so many."""
        return eventually(lambda: found if len(found := self.events("start")) >= count else None)[:count]

    def next_start(self, index: int, after: Event) -> Event:
        """The start at `index` that follows `after`."""

        def look() -> Event | None:
            at_index = [event for event in self.events("start") if event.index == index]
            later = at_index[at_index.index(after) + 1 :]
            return later[0] if later else None

        return eventually(look)

    def ended(self) -> int:
        """The exit code of the supervisor, once it has ended."""
        return self.process.wait(30)


@contextlib.contextmanager
def supervision(directory: Path, *options: str | Path) -> Iterator[Supervision]:
    """A supervisor in a session of its own; whatever the test does, it and its workers are gone afterwards."""
    command = [sys.executable, PROGRAM, "watch", directory, *options]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield Supervision(directory, process)
        finally:
            process.kill()
            _kill_workers(directory)


def _kill_workers(directory: Path) -> None:
    """Those that did not follow their supervisor, by their ids; each is asked first whether it is one of this test."""
    seen = {event.pid for event in _events(directory) if event.what == "start"}
    for pid in seen:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def _events(directory: Path) -> list[Event]:
    file = directory / "events"
    lines = file.read_text().splitlines() if file.exists() else []
    return [Event(int(index), int(pid), said) for index, pid, said in (line.split(" ", 2) for line in lines)]
