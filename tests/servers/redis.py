"""Redis servers of the tests: private ones, whose clock can be moved, and the one that a test process shares."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.container import contained
from tests.servers.process import MissingServerError, ServerProcess

Option = str | int | Sequence[str]

URL_VARIABLE = "REINHARDT_TEST_REDIS_URL"
GET_REDIS = (
    "redis-server is not on PATH: type `sudo apt-get install redis-server libfaketime`, or name a server that the"
    f" tests may fill, {URL_VARIABLE}=redis://…, or have a Docker engine and `pip install testcontainers`"
)
GET_OWN = (
    "this test needs a Redis server of its own, and redis-server is not on PATH: type"
    " `sudo apt-get install redis-server libfaketime`"
)
GET_FAKETIME = "libfaketime, which moves the clock of a server, is missing: type `sudo apt-get install libfaketime`"
FAKETIME = "lib*/*/faketime/libfaketimeMT.so.1"
IMAGE = "redis:7"

PATIENCE = 6.0
"""Seconds that a test waits at most for a clock that cannot be moved."""
SHORT_LEASE = 2.0
"""Seconds: what a lease may last where the tests really wait for its end."""

_run = uuid.uuid4().hex
_numbers = itertools.count()


class RedisServer(ServerProcess):
    """A `redis-server` of its own, on loopback, that keeps nothing on disk unless told to.

    `options` are lines of its configuration by their names there (`{"appendonly": "yes", "maxmemory": "8mb"}`); a
    sequence gives one line each. `sentinel=True` runs it as a sentinel. `clock=True` gives it a clock of its own,
    moved by `advance`; each command costs it 20 to 40 µs more then. With `still=True` that clock stands between moves.

    Raises MissingServerError where the program, or libfaketime, is missing.
    """

    def __init__(
        self,
        options: Mapping[str, Option] | None = None,
        *,
        clock: bool = False,
        still: bool = False,
        sentinel: bool = False,
    ) -> None:
        self._program = _program()
        self._library = _faketime() if clock or still else None
        super().__init__()
        self.patience = math.inf if self._library else PATIENCE
        self.lease = 30.0 if self._library else SHORT_LEASE
        self._sentinel = sentinel
        self._options = dict(options or {})
        self._socket = self.directory / "socket"
        self._configuration = self.directory / "redis.conf"
        self._stamp = self.directory / "clock"
        self._still_since = datetime.now(UTC) if still else None
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
        return _lines(options)

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
            "TZ": "UTC",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def answers(self) -> bool:
        """Whether it says anything to PING but that it is still loading its data."""
        return not self.ping().startswith((b"-LOADING", b"-BUSY", b"!"))

    def ping(self) -> bytes:
        """The line that it answers to PING, past the port; where none comes, one that begins with "!"."""
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(str(self._socket))
                line.sendall(b"PING\r\n")
                return line.recv(64) or b"!it closed the connection"
        except OSError as error:
            return f"!{error}".encode()

    # What tests do with it --------------------------------------------------------------------------------------------

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
        return _with_query(f"{scheme}://{login}127.0.0.1:{port or self.port}", query)

    def call(self, *parts: str | float | bytes) -> Any:
        """What it answers to a command, sent as an administrator, past the port. Raises redis.RedisError."""
        password = str(self._options.get("requirepass", ""))
        client: Any = redis.Redis(unix_socket_path=str(self._socket), password=password, retry=Retry(NoBackoff(), 0))
        with client:
            return client.execute_command(*parts)

    def configure(self, options: Mapping[str, Option]) -> None:
        """Add options that hold from its next start on. It has to have been started once."""
        with self._configuration.open("a") as lines:
            lines.writelines(f"{line}\n" for line in _lines(options))

    def advance(self, seconds: float) -> None:
        """Move its clock; every command sees it from now on. Raises ValueError for a clock that cannot be moved so."""
        if seconds < 0 or (seconds and self._library is None):
            raise ValueError(f"the clock of this server cannot be moved by {seconds:g} s")
        self._ahead += seconds
        new = self._stamp.with_suffix(".new")
        new.write_text(self._time() + "\n")
        new.rename(self._stamp)

    def _time(self) -> str:
        """What libfaketime is told: how far ahead the clock is, or where it stands."""
        if self._still_since is None:
            return f"+{self._ahead:.6f}"
        return f"{self._still_since + timedelta(seconds=self._ahead):%Y-%m-%d %H:%M:%S.%f}"

    async def let_pass(self, seconds: float) -> None:
        """Move its clock, or wait where it cannot be moved."""
        if self._library is None:
            await asyncio.sleep(seconds)
        else:
            self.advance(seconds)


class GivenRedis:
    """A server that somebody else runs. Time passes there as everywhere."""

    patience = PATIENCE
    """The longest time, in seconds, that may be let pass at once."""
    lease = SHORT_LEASE
    """How long the leases of workers of a conformance test should last, in seconds."""

    def __init__(self, url: str, *, stop: Callable[[], object] = lambda: None) -> None:
        self._url = url
        self._stop = stop

    def url(self, **query: str | float) -> str:
        """The URL that was given, with these options of the backend."""
        return _with_query(self._url, query)

    def call(self, *parts: str | float | bytes) -> Any:
        """What it answers to a command. Raises redis.RedisError."""
        with self._client() as client:
            return client.execute_command(*parts)

    async def let_pass(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Delete what was kept under this process's prefixes."""
        with self._client() as client:
            for key in client.scan_iter(match=f"*test-{_run}-*", count=1000):
                client.unlink(key)
        self._stop()

    def _client(self) -> Any:
        return redis.Redis.from_url(self._url)  # pyright: ignore[reportUnknownMemberType]


SharedRedis = RedisServer | GivenRedis
"""A server that many tests use, each under a `fresh_prefix()` of its own."""


def choose() -> SharedRedis:
    """A server for a test process: the one that is named, a private one, or a container's.

    Raises MissingServerError with how to get one, where there is none.
    """
    if given := os.environ.get(URL_VARIABLE):
        return GivenRedis(given)
    if shutil.which("redis-server"):
        server = RedisServer(clock=_find_faketime() is not None)
        server.start()
        return server
    if (container := _container()) is not None:
        return container
    raise MissingServerError(GET_REDIS)


shared = functools.cache(choose)
"""The server of this test process."""


def close_shared() -> None:
    """End it, if there is one. Raises AssertionError with its log if it has ended by itself."""
    if not shared.cache_info().currsize:
        return
    server = shared()
    shared.cache_clear()
    ended = server.tail() if isinstance(server, RedisServer) and not server.running else None
    server.close()
    assert ended is None, f"redis-server has ended by itself:\n{ended}"


def fresh_prefix() -> str:
    """A prefix that nobody has used."""
    return f"test-{_run}-{next(_numbers)}:"


def _with_query(url: str, query: Mapping[str, str | float]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url


def _lines(options: Mapping[str, Option]) -> list[str]:
    return [f"{name} {value}" for name, given in options.items() for value in _values(given)]


def _values(given: Option) -> list[str]:
    values = [str(given)] if isinstance(given, (str, int)) else list(given)
    return [value or '""' for value in values]


def _program() -> str:
    found = shutil.which("redis-server")
    if found is None:
        raise MissingServerError(GET_OWN)
    return found


def _faketime() -> str:
    found = _find_faketime()
    if found is None:
        raise MissingServerError(GET_FAKETIME)
    return found


def _find_faketime() -> str | None:
    return next((str(path) for path in Path("/usr").glob(FAKETIME)), None)


def _container() -> GivenRedis | None:
    made = contained("redis", "RedisContainer", IMAGE)
    if made is None:
        return None
    return GivenRedis(f"redis://{made.get_container_host_ip()}:{made.get_exposed_port(6379)}", stop=made.stop)
