"""A server of a test: a process that goes when the test process does, however that ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.eventually import eventually

PORTS = range(20_000, 30_000)
"""Below what the system gives to outgoing connections, so that a server finds its own free again when it returns."""
ATTEMPTS = 10
"""Ports that are tried: between the look for a free one and its use another may have taken it."""

# The kernel ends a server with the thread that started it, so all are started by one that lives as long as we do.
_starter = ThreadPoolExecutor(1, "servers")


class MissingServerError(AssertionError):
    """A server that tests need is not on this machine. Fails the test; says how to get it."""


class ServerProcess:
    """One server process and its directory. Usable as a context manager, which starts it and in the end removes all."""

    def __init__(self) -> None:
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix="reinhardt-tasks-"))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    # What a kind of server says ---------------------------------------------------------------------------------------

    def command(self) -> Sequence[str | Path]:
        """The command that runs it on `self.port` in the foreground."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What is added to the environment of the process."""
        return {}

    def answers(self) -> bool:
        """Whether it does its work now."""
        raise NotImplementedError

    # Its life ---------------------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start it, and return when it answers. Takes a free port the first time, and keeps it."""
        chosen = self.port
        for _ in range(ATTEMPTS):
            self.port = chosen or free_port()
            self._process = self._popen()
            if not wait or self._begins():
                return
            if chosen or "address already in use" not in self.log.read_text().lower():
                break
        raise AssertionError(f"{self.command()[0]} ended with {self._process and self._process.poll()}:\n{self.tail()}")

    def _popen(self) -> subprocess.Popen[bytes]:
        command = [*_bound_to_us(), *self.command()]
        variables = {**os.environ, **self.environment()}
        with self.log.open("ab") as log:
            return _starter.submit(
                subprocess.Popen,
                command,
                cwd=self.directory,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    def _begins(self) -> bool:
        eventually(lambda: not self.running or self.answers(), timeout=60)
        return self.running

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process; it has to have been started."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Have it end in order. Its directory stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would: nothing is written any more. Its directory stays."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(30)

    def restart(self) -> None:
        """Stop it where it still runs, and start it on the same port with what its directory holds."""
        if self.running:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Let it do nothing: connections stand, and nobody answers."""
        self.send(signal.SIGSTOP)

    def unpause(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its directory."""
        if self.running:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def tail(self) -> str:
        """The end of what it logged."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace")[-5_000:]
        return ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            print(self.tail())  # noqa: T201 - pytest shows it where a test has failed
        self.close()


def _bound_to_us() -> list[str]:
    """What, before a command, has the kernel kill the process when the one that started it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def free_port() -> int:
    """A port on which nobody listens now."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - any will do
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
