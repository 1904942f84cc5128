"""Ends everything a driver started, and removes its files, whenever and however the driver ends.

A process of its own, `python -m benchmarks.guard DIRECTORY`, reads from a pipe what the driver starts ("+PID") and has
ended ("-PID"). The pipe closes with the driver, even one that is killed: what has been started but not ended is killed
then, with all that it started itself, and the directory is removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from benchmarks.environments import ROOT
from benchmarks.trees import runs, tree

STOP = 20  # seconds a process has to end when told to
_GONE = 5  # seconds to wait until killed processes have left

# The child tells its number before it becomes the command, so that no moment is left in which nobody knows of it; its
# standard input is the pipe until then.
_ANNOUNCED = ("sh", "-c", 'echo "+$$" >&0; exec "$@" </dev/null', "sh")


class Guard:
    """Starts the driver's processes; made by `guarded`."""

    def __init__(self, directory: Path, pipe: int) -> None:
        self.directory = directory
        """A directory for this run's files, removed at its end."""
        self._pipe = pipe

    @contextmanager
    def running(
        self, command: Sequence[str], *, environment: Mapping[str, str], output: IO[bytes], errors: IO[bytes]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`command`, leader of a process group of which nothing is left behind."""
        process = subprocess.Popen(
            [*_ANNOUNCED, *command],
            cwd=ROOT,
            env=environment,
            stdin=self._pipe,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)
            os.write(self._pipe, f"-{process.pid}\n".encode())


@contextmanager
def guarded(stores: Path) -> Iterator[Guard]:
    """A guard for one run, with the run's files under `stores`."""
    directory = Path(tempfile.mkdtemp(dir=stores.resolve()))
    command = [sys.executable, "-m", "benchmarks.guard", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        yield Guard(directory, process.stdin.fileno())


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(directory: str) -> None:
    """Watch until the driver has ended, then clean up behind it."""
    started: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (started.add if line[0] == "+" else started.discard)(pid)
    _kill({member for pid in started for member in tree(pid)}, started)
    shutil.rmtree(directory, ignore_errors=True)


def _kill(pids: Collection[int], groups: Collection[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in groups:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    deadline = monotonic() + _GONE
    while any(map(runs, pids)) and monotonic() < deadline:
        sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
