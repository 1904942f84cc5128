"""Single connections to a Redis server, opened and greeted: redis-py's, with a door to what is written on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import hiredis
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import DefaultParser
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from reinhardt_tasks.backends.redis import faults

CLIENT_NAME: Final = "reinhardt-tasks"
"""What CLIENT LIST shows."""
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


class Credentials(NamedTuple):
    """Who asks, for which database, over TLS with which options (None: without)."""

    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, database={self.database})"


class Hello(NamedTuple):
    """What a server says of itself."""

    version: tuple[int, ...]
    role: str
    mode: str


class Replies(asyncio.Protocol):
    """Hands on what comes as soon as it comes: no coroutine waits for it, and no turn of the loop lies in between.

    `on_reply` is called with each reply, redis-py's error where it is one; `on_end` with what ends that, an error that
    `on_reply` raises too. Where the connection ends, `before`, whose it was, is told as well.
    """

    def __init__(
        self, before: asyncio.BaseProtocol, on_reply: Callable[[Any], None], on_end: Callable[[Exception], None]
    ) -> None:
        self._before = before
        self._on_reply = on_reply
        self._on_end = on_end
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_INCOMPLETE
        )

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._on_reply(reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing that follows could be understood
            self._on_end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._before.connection_lost(exc)
        self._on_end(exc or ConnectionError("Connection closed by server."))


_INCOMPLETE: Final = object()


class _Door:
    """What redis-py keeps to itself and a connection that many share needs."""

    _writer: asyncio.StreamWriter | None

    def write(self, request: bytes) -> None:
        """Write without waiting. On a connection that was just lost it goes nowhere: whoever reads is told."""
        if self._writer is None:
            raise ConnectionError("not connected")
        if not self._writer.is_closing():  # uvloop refuses to write on what it has closed
            self._writer.write(request)

    def deliver(self, on_reply: Callable[[Any], None], on_end: Callable[[Exception], None]) -> None:
        """From now on hand on what the server says; see Replies. There must be no reply that is still to come.

        Raises ConnectionError on a connection that is not open.
        """
        if self._writer is None or self._writer.is_closing():
            raise ConnectionError("not connected")
        transport = self._writer.transport
        transport.set_protocol(Replies(transport.get_protocol(), on_reply, on_end))

    def abort(self) -> None:
        """Close it without waiting. Whoever reads is told."""
        if self._writer is not None:
            self._writer.transport.abort()

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


async def opened(address: Address, credentials: Credentials, *, timeout: float) -> Wire:
    """A connection to the server at `address`, logged in, named for CLIENT LIST where its user may.

    Raises redis-py's errors, OSError, and TimeoutError after `timeout` seconds.
    """
    wire = _made(address, credentials, timeout)
    try:
        async with asyncio.timeout(timeout):
            await _connect(wire)
            with contextlib.suppress(ResponseError):
                await ask(wire, "CLIENT", "SETNAME", CLIENT_NAME)
    except BaseException:
        await shut(wire)
        raise
    return wire


async def _connect(wire: Wire) -> None:
    try:
        await wire.connect()  # type: ignore[no-untyped-call]
    except RuntimeError as error:  # uvloop's, for a write of redis-py's on what was just lost
        raise ConnectionError(str(error)) from error


async def greeted(wire: Wire) -> Hello:
    """What the server says of itself; version 0 where it is too old to say anything."""
    try:
        said = await ask(wire, "HELLO")
    except ResponseError as error:
        if faults.code_of(error):
            raise
        return Hello((0,), "master", "standalone")
    words = dict(zip(said[::2], said[1::2], strict=False))
    version = tuple(int(part) for part in words[b"version"].split(b".") if part.isdigit())
    return Hello(version, words[b"role"].decode(), words[b"mode"].decode())


async def ask(wire: Wire, *parts: Part) -> Any:
    """The reply to one command on a connection that nobody else uses."""
    wire.write(packed(parts))
    return await wire.read_response()


async def shut(wire: Wire) -> None:
    """Close a connection without a word to the other side, and return when it is closed."""
    wire.abort()
    with contextlib.suppress(RedisError, OSError):
        await wire.disconnect()


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
