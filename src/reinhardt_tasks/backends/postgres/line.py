"""Connections: a line asks one statement at a time, each its own transaction, and never waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

from reinhardt_tasks.backends.postgres import arrays, faults
from reinhardt_tasks.backends.postgres.place import Place

T = TypeVar("T")
Row = tuple[Any, ...]
_TRIES: Final = 6
_CONNECT: Final = 8.0
"""Seconds until a connection stands, all its addresses tried."""


def _binary_array(kind: type[arrays.Packed]) -> type[Dumper]:
    """How a packed array goes to the server: as it is."""

    class Packed(Dumper):
        format = Format.BINARY
        oid = kind.oid

        def dump(self, obj: Any) -> Buffer:
            return bytes(obj)

    return Packed


def register(adapters: AdaptersMap) -> None:
    """Let connections take packed arrays as parameters."""
    for kind in arrays.KINDS:
        adapters.register_dumper(kind, _binary_array(kind))


async def connect(parameters: dict[str, Any]) -> AsyncConnection[Row]:
    """A connection of its own, without prepared statements: a pooler between may give each one to another server."""
    async with asyncio.timeout(_CONNECT):
        connection = await AsyncConnection.connect(
            **parameters, autocommit=True, prepare_threshold=None, cursor_factory=AsyncRawCursor
        )
    register(connection.adapters)
    return connection


class Line:
    """One connection, made when it is first needed and anew when it broke. `made_at`: when, by the monotonic clock."""

    def __init__(self, place: Place, opened: Callable[[AsyncConnection[Row]], Awaitable[None]]) -> None:
        self._place = place
        self._opened = opened
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection[Row] | None = None
        self.restored_at: float | None = None
        """When it was made anew, by the monotonic clock; None while it is the first."""

    @property
    def busy(self) -> bool:
        """Whether a statement is under way."""
        return self._turn.locked()

    async def ask(self, sql: str, values: Sequence[Any], timeout: float) -> list[Row]:
        """The rows of one statement. It is not interrupted when the caller is; what came of it is then not heard.

        Raises the package's errors; BackendUnavailableError after `timeout` seconds, or when the line breaks.
        """
        asked = asyncio.ensure_future(self._in_turn(sql, values, timeout))
        asked.add_done_callback(_heard)
        return await asyncio.shield(asked)

    async def _in_turn(self, sql: str, values: Sequence[Any], timeout: float) -> list[Row]:
        async with self._turn:
            for attempt in range(_TRIES):
                try:
                    return await self._once(sql, values, timeout)
                except psycopg.Error as error:
                    if error.sqlstate not in faults.AGAIN or attempt == _TRIES - 1:
                        if faults.ends_connection(error):
                            await self._drop()
                        raise
                await asyncio.sleep(random.uniform(0.001, 0.01 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise AssertionError

    async def _once(self, sql: str, values: Sequence[Any], timeout: float) -> list[Row]:
        connection = await self._ready()
        working = asyncio.ensure_future(_rows(connection, sql, values))
        done, _ = await asyncio.wait((working,), timeout=timeout)
        if not done:
            _cut(connection)
            with contextlib.suppress(psycopg.Error):
                await working
            await self._drop()
            raise faults.unavailable(
                self._place, f"no answer came within {timeout:g} s; what was asked for may be done"
            )
        return working.result()

    async def _ready(self) -> AsyncConnection[Row]:
        """The connection; a new one where there is none, or where the server has hung up meanwhile."""
        if self._connection is not None and _is_over(self._connection):
            await self._drop()
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> AsyncConnection[Row]:
        try:
            connection = await connect(self._place.parameters())
        except Exception as error:
            raise faults.at_connect(error, self._place) from error
        try:
            await self._opened(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _drop(self) -> None:
        """Let go of a connection that is of no more use."""
        connection, self._connection = self._connection, None
        self.restored_at = time.monotonic()
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """Close it, after the statement that is under way."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()


async def _rows(connection: AsyncConnection[Row], sql: str, values: Sequence[Any]) -> list[Row]:
    cursor = connection.cursor(binary=True)
    await cursor.execute(sql.encode(), values)
    return await cursor.fetchall() if cursor.description else []


def _heard(asked: asyncio.Future[Any]) -> None:
    """Take the error of a statement whose caller has gone."""
    if not asked.cancelled():
        asked.exception()


def _is_over(connection: AsyncConnection[Row]) -> bool:
    """Whether the other side has ended an idle connection: what is there to be read ends with the end of it."""
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        while poll.poll(0):
            connection.pgconn.consume_input()
    except psycopg.Error:
        return True
    return connection.closed


def _cut(connection: AsyncConnection[Row]) -> None:
    """End a connection whose server does not answer: who waits for it learns that it is over."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as twin:
        twin.shutdown(socket.SHUT_RDWR)


class Lines:
    """Several lines to one place: the hot loop has one of its own, everything else shares a few."""

    def __init__(self, place: Place, opened: Callable[[AsyncConnection[Row]], Awaitable[None]], *, most: int) -> None:
        self._place = place
        self._opened = opened
        self._most = most
        self.hot = self._new()
        self._shared = [self._new()]

    def _new(self) -> Line:
        return Line(self._place, self._opened)

    @property
    def restored_at(self) -> float | None:
        """When a line was last made anew."""
        return max((line.restored_at for line in (self.hot, *self._shared) if line.restored_at), default=None)

    def shared(self) -> Line:
        """A line with nothing under way; one more where all are busy, as far as that goes."""
        for line in self._shared:
            if not line.busy:
                return line
        if len(self._shared) < self._most:
            self._shared.append(self._new())
            return self._shared[-1]
        return random.choice(self._shared)  # noqa: S311 - any will do

    async def close(self) -> None:
        """Close them all."""
        for line in (self.hot, *self._shared):
            await line.close()
