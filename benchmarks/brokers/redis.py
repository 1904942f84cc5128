"""Redis: a private server on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from benchmarks.brokers.broker import Reading
from benchmarks.guard import Guard
from benchmarks.trees import cpu_seconds

HOST = "127.0.0.1"
DURABILITY = {
    "full": {"appendonly": "yes", "appendfsync": "always"},
    "relaxed": {"appendonly": "no"},
}
_SHOWN = ("save", "appendonly", "appendfsync", "maxmemory-policy", "io-threads")
_UNSCRIPTED = {"info", "ping", "hello", "config|get", "client|setname", "subscribe"}
_PATIENCE = 10  # seconds a server has to start


@contextmanager
def redis(guard: Guard, directory: Path, durability: str) -> Iterator[Redis]:
    """A server without snapshots; at full durability every command is on the disk before its answer.

    Raises FileNotFoundError where there is no redis-server, TimeoutError when it does not start.
    """
    port = _free_port()
    options = {"port": str(port), "bind": HOST, "dir": str(directory), "save": "", **DURABILITY[durability]}
    command = [_server(), *(part for name, value in options.items() for part in (f"--{name}", value))]
    log = directory / "server.log"
    with (
        log.open("wb") as output,
        guard.running(command, environment=os.environ, output=output, errors=output) as process,
        _Session(port) as session,
    ):
        yield Redis(port, process.pid, session)


def _server() -> str:
    found = shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("no redis-server on PATH; install it, with Debian as: apt-get install redis-server")
    return found


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class _Session:
    """The few commands a driver needs, over a connection of its own. It waits for a server that is just starting."""

    def __init__(self, port: int) -> None:
        self._socket = _connected(port)
        self._answers = self._socket.makefile("rb")
        self.asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()

    def ask(self, command: str) -> list[str]:
        """Lines of an answer that is one string or a list of strings."""
        self.asked += 1
        self._socket.sendall(f"{command}\r\n".encode())
        kind, size = self._head()
        if kind == "$":
            return self._string(size).splitlines()
        if kind == "*":
            return [self._string(self._head()[1]) for _ in range(size)]
        raise ConnectionError(f"{command}: unexpected answer {kind}{size}")

    def info(self) -> Mapping[str, str]:
        """Everything INFO tells, by name."""
        return dict(line.split(":", 1) for line in self.ask("INFO all") if ":" in line)

    def _head(self) -> tuple[str, int]:
        line = self._answers.readline().decode().strip()
        return line[:1], int(line[1:])

    def _string(self, size: int) -> str:
        return self._answers.read(size + 2)[:-2].decode()


def _connected(port: int) -> socket.socket:
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            return socket.create_connection((HOST, port))
        sleep(0.01)
    raise TimeoutError(f"redis-server did not open port {port} within {_PATIENCE} s")


class Redis:
    """A running server."""

    def __init__(self, port: int, pid: int, session: _Session) -> None:
        self._pid = pid
        self._session = session
        self.address = f"redis://{HOST}:{port}/0"
        shown = {name: session.ask(f"CONFIG GET {name}")[1] or '""' for name in _SHOWN}
        self.settings: Mapping[str, str] = {"redis": session.info()["redis_version"], **shown}

    def reading(self) -> Reading:
        """What the server tells of itself, and the system of its process."""
        told = self._session.info()
        return Reading(
            cpu_seconds=cpu_seconds(self._pid),
            commands=int(told["total_commands_processed"]) - (self._session.asked - 1),
            memory=int(told["used_memory"]),
        )

    def in_scripts(self) -> tuple[float, float]:
        """Seconds spent in scripts so far, and those of them in the commands they called."""
        told = {name: value for name, value in self._session.info().items() if name.startswith("cmdstat_")}
        seconds = {name[8:]: int(value.split("usec=")[1].split(",")[0]) / 1e6 for name, value in told.items()}
        scripts = seconds.pop("evalsha", 0.0) + seconds.pop("eval", 0.0)
        return scripts, sum(spent for name, spent in seconds.items() if name not in _UNSCRIPTED)

    def filling(self) -> AbstractContextManager[None]:
        """Nothing to do."""
        return nullcontext()
