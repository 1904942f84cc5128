"""Single connections to a Redis server, opened and greeted: redis-py's, with a door to what is written on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import hiredis
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError

from reinhardt_tasks.backends.redis import faults

CLIENT_NAME: Final = "reinhardt-tasks"
Part: TypeAlias = bytes | str | float
"""A word of a command."""
packed: Final = cast("Callable[[tuple[Part, ...]], bytes]", hiredis.pack_command)
"""A command as it travels."""


class Address(NamedTuple):
    """Where a server listens: a host and a port, or, where the port is 0, the path of a socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Hello(NamedTuple):
    """What a server says of itself."""

    version: tuple[int, ...]
    role: str
    mode: str


class _Door:
    """What redis-py keeps to itself and one pipelined connection needs."""

    _writer: asyncio.StreamWriter | None

    @property
    def writer(self) -> asyncio.StreamWriter:
        """Where to write without waiting. Only while it is connected."""
        if self._writer is None:
            raise ConnectionError("not connected")
        return self._writer

    def socket_number(self) -> int | None:
        """The file descriptor; None while nothing is open."""
        socket = self._writer.get_extra_info("socket") if self._writer is not None else None
        return None if socket is None else int(socket.fileno())


class TcpWire(_Door, Connection):
    """A connection over TCP."""


class TlsWire(_Door, SSLConnection):
    """A connection over TLS."""


class UnixWire(_Door, UnixDomainSocketConnection):
    """A connection over a socket in the file system."""


Wire: TypeAlias = TcpWire | TlsWire | UnixWire


class Credentials(NamedTuple):
    """Who asks, for which database, over TLS with which options (None: without)."""

    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, database={self.database})"


async def opened(address: Address, credentials: Credentials, *, timeout: float) -> tuple[Wire, Hello]:
    """A connection to the server at `address`, and what it says of itself.

    Raises redis-py's errors, OSError, and TimeoutError after `timeout` seconds.
    """
    wire = _made(address, credentials, timeout)
    try:
        async with asyncio.timeout(timeout):
            await wire.connect()  # type: ignore[no-untyped-call]
            return wire, await _greeted(wire)
    except BaseException:
        await shut(wire)
        raise


async def ask(wire: Wire, *parts: bytes | str | int) -> Any:
    """The reply to one command on a connection that nobody else uses."""
    await wire.send_command(*parts, check_health=False)
    return await wire.read_response()


async def shut(wire: Wire) -> None:
    """Close a connection without a word to the other side."""
    with contextlib.suppress(RedisError, OSError):
        await wire.disconnect(nowait=True)


def _made(address: Address, credentials: Credentials, timeout: float) -> Wire:
    options: dict[str, Any] = {
        "db": credentials.database,
        "username": credentials.username,
        "password": credentials.password,
        "protocol": 2,
        "socket_timeout": None,  # whoever reads has a clock of its own
        "socket_connect_timeout": timeout,
    }
    if not address.port:
        return UnixWire(path=address.host, **options)
    options.update(host=address.host, port=address.port, socket_keepalive=True)
    return TcpWire(**options) if credentials.tls is None else TlsWire(**credentials.tls, **options)


async def _greeted(wire: Wire) -> Hello:
    """Name this client for CLIENT LIST, where its user may, and learn who is there."""
    with contextlib.suppress(ResponseError):
        await ask(wire, "CLIENT", "SETNAME", CLIENT_NAME)
    try:
        said = await ask(wire, "HELLO")
    except ResponseError as error:
        if faults.code_of(error) not in {"ERR", ""}:
            raise
        return Hello((0,), "master", "standalone")  # it has no HELLO: older than 6.0
    words = dict(zip(said[::2], said[1::2], strict=False))
    version = tuple(int(part) for part in words[b"version"].split(b".") if part.isdigit())
    return Hello(version, words[b"role"].decode(), words[b"mode"].decode())
