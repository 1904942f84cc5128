"""Redis servers of the tests: private ones, whose clock can be moved, and the one that a test process shares."""

from __future__ import annotations

import functools
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import redis

from tests.servers.process import MissingServerError, ServerProcess

Option = str | int | Sequence[str]

HOW_TO_GET_REDIS = (
    "redis-server is not on PATH: type `sudo apt-get install redis-server libfaketime`, or name a server that tests"
    " may fill with REINHARDT_TEST_REDIS_URL=redis://…"
)
HOW_TO_GET_FAKETIME = "libfaketime, which moves a server's clock, is missing: type `sudo apt-get install libfaketime`"
FAKETIME = ("lib/*/faketime/libfaketimeMT.so.1", "lib*/faketime/libfaketimeMT.so.1")


class RedisServer(ServerProcess):
    """A `redis-server` of its own, on loopback, that keeps nothing on disk unless told to.

    `options` are lines of its configuration by their names there (`{"appendonly": "yes", "maxmemory": "8mb"}`); a
    sequence gives one line each. `sentinel=True` runs it as a sentinel. `clock=True` gives it a clock of its own,
    moved by `advance`; each command costs it 20 to 40 µs more then.
    """

    def __init__(
        self, options: Mapping[str, Option] | None = None, *, clock: bool = False, sentinel: bool = False
    ) -> None:
        self._program = _program()
        self._library = _faketime() if clock else None
        super().__init__()
        self._sentinel = sentinel
        self._options = dict(options or {})
        self._socket = self.directory / "socket"
        self._configuration = self.directory / "redis.conf"
        self._stamp = self.directory / "clock"
        self._ahead = 0.0
        self.advance(0)

    # How it runs ------------------------------------------------------------------------------------------------------

    def command(self) -> Sequence[str | Path]:
        """Sentinels and replicas rewrite their configuration, so it is written once for each port."""
        if not self._configuration.exists() or f"\nport {self.port}\n" not in self._configuration.read_text():
            self._configuration.write_text("\n".join(self._lines()) + "\n")
        return [self._program, self._configuration, *(["--sentinel"] if self._sentinel else [])]

    def _lines(self) -> list[str]:
        options: dict[str, Option] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": str(self._socket),
            "dir": str(self.directory),
            **({} if self._sentinel else {"save": ""}),
            **self._options,
        }
        return [f"{name} {value}" for name, given in options.items() for value in _values(given)]

    def environment(self) -> Mapping[str, str]:
        """What moves the clock.

        The C library is named after libfaketime so that its `malloc` is found before that of jemalloc, which asks for
        the time while libfaketime is still looking for the clock, and waits for itself. Timers go by the monotonic
        clock, which is left alone.
        """
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": f"{self._library}:libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(self._stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def answers(self) -> bool:
        """Whether it says anything to PING but that it is still loading its data."""
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(str(self._socket))
                line.sendall(b"PING\r\n")
                return not line.recv(64).startswith((b"-LOADING", b"-BUSY"))
        except OSError:
            return False

    # What tests do with it --------------------------------------------------------------------------------------------

    patience = float("inf")
    """The longest time that `advance` may be asked for, in seconds."""

    def url(
        self,
        *,
        scheme: str = "redis",
        user: str = "",
        password: str = "",
        port: int | None = None,
        **query: str | float,
    ) -> str:
        """The URL of a backend on it, with these options of the backend; through another port, such as a proxy's."""
        login = f"{quote(user)}:{quote(password)}@" if user or password else ""
        return f"{scheme}://{login}127.0.0.1:{port or self.port}" + (f"?{urlencode(query)}" if query else "")

    def advance(self, seconds: float) -> None:
        """Move its clock; it is that late for every command from now on. Raises ValueError on a clock that goes back.

        Without `clock=True` only an advance of 0 is possible.
        """
        if seconds < 0 or (seconds and self._library is None):
            raise ValueError(f"the clock of this server cannot be moved by {seconds:g} s")
        self._ahead += seconds
        new = self._stamp.with_suffix(".new")
        new.write_text(f"+{self._ahead:.6f}\n")
        new.rename(self._stamp)

    def call(self, *parts: str | float | bytes) -> Any:
        """What it answers to a command, sent as an administrator, past the port. Raises redis.RedisError."""
        with redis.Redis(unix_socket_path=str(self._socket), password=str(self._options.get("requirepass", ""))) as it:
            execute: Callable[..., Any] = it.execute_command  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            return execute(*parts)


def _values(given: Option) -> list[str]:
    values = [str(given)] if isinstance(given, (str, int)) else list(given)
    return [value or '""' for value in values]


def _program() -> str:
    found = shutil.which("redis-server")
    if found is None:
        raise MissingServerError(HOW_TO_GET_REDIS)
    return found


def _faketime() -> str:
    for root in (Path("/usr"), Path("/usr/local")):
        for pattern in FAKETIME:
            for found in root.glob(pattern):
                return str(found)
    raise MissingServerError(HOW_TO_GET_FAKETIME)


@functools.cache
def shared() -> RedisServer:
    """The server of this test process, with a clock. Each test takes a prefix of its own: `fresh_prefix()`."""
    server = RedisServer(clock=True)
    server.start()
    return server


def close_shared() -> None:
    """End it, if there is one. Raises AssertionError with its log if it has ended by itself."""
    if not shared.cache_info().currsize:
        return
    server = shared()
    ended, tail = not server.running, server.tail()
    server.close()
    shared.cache_clear()
    assert not ended, f"redis-server has ended by itself:\n{tail}"


def fresh_prefix() -> str:
    """A prefix that nobody has used."""
    return f"test-{uuid.uuid4().hex}:"
