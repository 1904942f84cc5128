"""The tables under one transaction at a time: what every writing step is given."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import apsw
import msgspec

from reinhardt_tasks.backends.sqlite.connection import busy_milliseconds, jitter
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.clocks import steadied

_SQL = statements("store")
_BEGIN: Final = "BEGIN IMMEDIATE"
_LOAD: Final = _SQL["load_counters"]
_SAVE: Final = _SQL["save_counters"]
_LONG: Final = 0.001
"""Seconds of a commit from which on it does not matter how long it takes."""
_NEWEST: Final = 0.2
"""How much the newest commit counts in the average of what commits take."""
_encode = msgspec.json.Encoder().encode


def as_list(numbers: Sequence[int]) -> str:
    """Row numbers as the parameter of a `json_each(?)`."""
    return _encode(numbers).decode()


class Store:
    """A connection that writes, and what one transaction notes down. Used by one thread.

    `now` is the time of the transaction, `steady` the same by a clock that nobody sets, for leases. `seq`, `wakes` and
    `schedules` are the counters as they will be after it.
    `rings` and `ends` say what it did that others wait for: something to claim, or an end.
    """

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float], *, patience: float) -> None:
        self.connection = connection
        self.clock = clock
        self._steady_clock = steadied(clock)
        self.now = self.steady = 0.0
        self.seq = self.wakes = self.schedules = 0
        self.rings = self.ends = False
        self._loaded = [0, 0]
        self._keeps = False
        self.commit_seconds = 1.0
        """What a commit takes, averaged over the last few; supposed to be long until there were some."""
        self._patience = patience
        self._busy_timeout = busy_milliseconds(patience)
        self._execute = connection.execute
        self._executemany = connection.executemany

    # Statements ---------------------------------------------------------------------------------------------------

    def run(self, sql: str, *values: Any) -> None:
        """Run a statement that answers nothing."""
        self._execute(sql, values)

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once for each row of values."""
        self._executemany(sql, rows)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of an answer; nothing stays open."""
        return self._execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of an answer, if it has any."""
        found = self._execute(sql, values).fetchall()
        return found[0] if found else None

    @contextlib.contextmanager
    def reading(self, sql: str, *values: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The rows of an answer, one after the other as far as they are wanted. Ends before anything is written."""
        cursor = self._execute(sql, values)
        try:
            yield cursor
        finally:
            cursor.close(force=True)

    def first(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a long answer, if it has any."""
        with self.reading(sql, *values) as rows:
            return next(rows, None)

    def each(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """All rows of the answers to a question asked once for each row of values."""
        return self._executemany(sql, rows).fetchall()

    def changed(self) -> int:
        """How many rows the last statement changed."""
        return self.connection.changes()

    # Notes --------------------------------------------------------------------------------------------------------

    def allot(self, count: int) -> int:
        """The first of `count` fresh numbers, for places in line."""
        self.keep_numbers()
        return self.allot_rows(count)

    def allot_rows(self, count: int) -> int:
        """The same, for row numbers of messages about to be inserted, which are their places in line as well.

        The rows remember them, so that storing a message does not have to write the counters too.
        """
        first = self.seq + 1
        self.seq += count
        return first

    def keep_numbers(self) -> None:
        """Write down the last number given: no row may remember it after this transaction."""
        self._keeps = True

    @property
    def mark(self) -> int:
        """A number that rises when something may have become claimable or an order was given."""
        return self.wakes + self.seq

    def wake(self) -> None:
        """Something can be claimed that could not before, or a worker has an order."""
        self.wakes += 1
        self.rings = True

    # Transactions -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction, waiting for other writers. Raises apsw.BusyError when they keep it for too long."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._execute(_BEGIN)
                break
            except apsw.BusyError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(jitter())
        self._look()

    def begin_at_once(self) -> bool:
        """Start a transaction unless another writer is in the way; nothing is waited for."""
        self.connection.set_busy_timeout(0)
        try:
            self._execute(_BEGIN)
        except apsw.BusyError:
            return False
        finally:
            self.connection.set_busy_timeout(self._busy_timeout)
        self._look()
        return True

    def _look(self) -> None:
        """What stands at the start of a transaction, which is undone when that cannot be read."""
        try:
            self.seq, *self._loaded = self.rows(_LOAD)[0]
        except BaseException:
            self.rollback()
            raise
        self.wakes, self.schedules = self._loaded
        self._keeps = False
        self.now = self.clock()
        self.steady = self._steady_clock()
        self.rings = self.ends = False

    def commit(self) -> None:
        """End the transaction; what it did stands."""
        if self._keeps or [self.wakes, self.schedules] != self._loaded:
            self._execute(_SAVE, (self.seq, self.wakes, self.schedules))
        began = time.perf_counter()
        self._execute("COMMIT")
        took = min(time.perf_counter() - began, _LONG)  # one that is slow for once says little about the next
        self.commit_seconds += _NEWEST * (took - self.commit_seconds)

    def rollback(self) -> None:
        """End the transaction, if one is open; nothing of it stands."""
        if self.connection.in_transaction:
            self._execute("ROLLBACK")

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside when it raises; `connection.in_transaction`: whether the transaction survived."""
        seq = self.seq
        self._execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self._execute("ROLLBACK TO step")
                self._execute("RELEASE step")
                self.seq = seq  # no row has the numbers given since
            raise
        self._execute("RELEASE step")
