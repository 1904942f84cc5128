"""What an open instance consists of: lines to the database, and the bell with who hears and who tells."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from reinhardt_tasks.backends.postgres import faults, schema, transaction
from reinhardt_tasks.backends.postgres.arrays import Texts
from reinhardt_tasks.backends.postgres.bell import Bell, Listener, Ringer
from reinhardt_tasks.backends.postgres.line import Line, Lines, Row, connect
from reinhardt_tasks.backends.postgres.place import Place
from reinhardt_tasks.backends.postgres.statements import Names, statements
from reinhardt_tasks.backends.postgres.vacuum import Vacuum
from reinhardt_tasks.backends.postgres.watch import Hint
from reinhardt_tasks.errors import BackendError, TaskError
from reinhardt_tasks.message import AnyMessage, Guard

LONG: Final = 4.0
"""How many times as long as others a statement may take that goes through many rows."""
_MOST_LINES: Final = 4
_CALM: Final = 3600.0


class Engine:
    """The connections of one open instance. Belongs to one process and one event loop."""

    def __init__(self, place: Place) -> None:
        self.pid = os.getpid()
        self.bell = Bell()
        self.vacuum = Vacuum(self._vacuum)
        self._place = place
        self._names: Names | None = None
        self._lines = Lines(place, self._check, most=_MOST_LINES)
        self._ringer: Ringer | None = None
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Connect, and make the tables where they are missing. Raises what TaskBackend.open raises."""
        try:
            await self.ask(self._lines.shared(), "SELECT 1", [])
        except BaseException:
            await self.close()
            raise

    async def _check(self, connection: AsyncConnection[Row]) -> None:
        """See, on every new connection, that it leads to a server that will do and to tables of this version."""
        names = await schema.look_up(connection, self._place)
        if self._names is None:
            await schema.prepare(connection, self._place, names)
        self._names = names

    @property
    def names(self) -> Names:
        """Where the tables are."""
        if self._names is None:
            raise BackendError(f"{self._place} is not open", backend=faults.NAME, place=str(self._place))
        return self._names

    # Statements ---------------------------------------------------------------------------------------------------

    async def ask(self, line: Line, sql: str, values: Sequence[Any], *, timeout: float = 1.0) -> list[Row]:
        """The rows of a statement; `timeout` is in shares of what statements may take."""
        try:
            return await line.ask(sql, values, timeout * self._place.timeout)
        except Exception as error:
            fault = faults.translated(error, self._place, self._names)
            if fault is error:
                raise
            raise fault from error

    async def hot(self, function: str, values: Sequence[Any]) -> list[Row]:
        """Call a function on the line of the hot loop."""
        return await self.ask(self._lines.hot, self._calling(function, len(values)), values)

    async def call(self, function: str, values: Sequence[Any], *, timeout: float = 1.0) -> list[Row]:
        """Call a function on a line that is free."""
        return await self.ask(self._lines.shared(), self._calling(function, len(values)), values, timeout=timeout)

    async def read(self, name: str, values: Sequence[Any]) -> list[Row]:
        """The rows of a statement of read.sql."""
        return await self.ask(self._lines.shared(), statements(self.names)[name], values)

    async def query(self, sql: str) -> list[Row]:
        """The rows of a statement without values."""
        return await self.ask(self._lines.shared(), sql, [])

    def _calling(self, function: str, count: int) -> str:
        places = ", ".join(f"${number}" for number in range(1, count + 1))
        return f"SELECT * FROM {self.names.tables}{function}({places})"  # noqa: S608 - names of ours

    async def put_within(
        self, connection: object, messages: Sequence[AnyMessage], guard: Guard | None
    ) -> list[bytes | None] | None:
        """`put` inside the transaction of `connection`: it, and the wake-up, happen if and when that commits."""
        step = transaction.Step(self.names, messages, guard, wake=self._place.notify)
        try:
            return transaction.known(await transaction.run(connection, step))
        except Exception as error:
            fault = faults.translated(transaction.cause(error), self._place, self._names)
            if not isinstance(fault, TaskError):
                raise
            raise fault from error

    def packed(self, pack: Callable[[], list[Any]]) -> list[Any]:
        """The values `pack` gives, or the package's error for one that cannot travel."""
        try:
            return pack()
        except Exception as error:
            fault = faults.translated(error, self._place)
            if fault is error:
                raise
            raise fault from error

    @property
    def calm(self) -> float:
        """For how many seconds no line had to be restored."""
        restored = self._lines.restored_at
        return _CALM if restored is None else time.monotonic() - restored

    # Waking -------------------------------------------------------------------------------------------------------

    @property
    def ringer(self) -> Ringer:
        """Who tells others of what happened here."""
        if self._ringer is None:
            self._ringer = Ringer(self.bell, self._notify if self._place.notify else None)
        return self._ringer

    @property
    def listener(self) -> Listener:
        """Who hears what others tell."""
        if self._listener is None:
            self._listener = Listener(self._place, self.names.channel, self.bell)
        return self._listener

    def hint(self, topics: Iterable[str]) -> Hint:
        """How what happens elsewhere to `topics` comes to be known here."""
        if not self.listener.hears:
            return Hint.NEVER
        return Hint.HELD_BACK if self.bell.holds_back(topics) else Hint.AT_ONCE

    async def _notify(self, topics: list[str]) -> None:
        """A hint, so that it may fail; its transaction waits for no disk."""
        with contextlib.suppress(BackendError):
            await self.call("notify", [Texts.of(topics)])

    async def _vacuum(self) -> None:
        """On a connection of its own. In vain where another is under way, or where the user does not own the table."""
        connection = await connect(self._place.parameters())
        try:
            statement = f"VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF) {self.names.tables}messages"
            await connection.execute(statement.encode())
        finally:
            await connection.close()

    async def close(self) -> None:
        """Finish what is under way and let go of every connection."""
        await self.vacuum.close()
        if self._listener is not None:
            await self._listener.close()
        if self._ringer is not None:
            await self._ringer.close()
        await self._lines.close()
