"""Keeps the write-ahead log short: when to copy it into the database file, and how much others must wait for that."""

from __future__ import annotations

import contextlib
from typing import Final

import apsw

SOON: Final = 2_000
"""Pages (8 MB) at which the log is copied while others go on reading and writing."""
AGAIN: Final = 1_000
"""Pages by which the log grows before the next try."""
URGENT: Final = 16_000
"""Pages (64 MB) at which other writers are kept out meanwhile, so that the log can start anew."""


PATIENCE: Final = 50
"""Milliseconds that the urgent kind waits for who still reads or writes; an old reader is not worth more."""


class Checkpoints:
    """Decides after each commit of one connection. SQLite's own `wal_autocheckpoint` is off.

    `busy_timeout` is what the connection waits for locks otherwise, in milliseconds.
    """

    def __init__(self, connection: apsw.Connection, *, busy_timeout: int) -> None:
        self._connection = connection
        self._busy_timeout = busy_timeout
        self._pages = 0
        self._next = SOON
        connection.set_wal_hook(self._note)

    def _note(self, connection: apsw.Connection, database: str, pages: int) -> int:
        self._pages = pages
        if pages < SOON:  # it has started anew
            self._next = SOON
        return apsw.SQLITE_OK

    @property
    def due(self) -> bool:
        """Whether the log has grown long enough to be copied, which takes a while."""
        return self._pages >= self._next

    def after_commit(self) -> None:
        """Copy the log if it has grown long. A failure is no harm: the log is whole, and a later commit tries again.

        While somebody keeps reading an old state, tries are in vain; they get rarer the longer the log is.
        """
        if self.due:
            self._next = self._pages + max(AGAIN, self._pages // 4)
            self._copy(apsw.SQLITE_CHECKPOINT_RESTART if self._pages >= URGENT else apsw.SQLITE_CHECKPOINT_PASSIVE)

    def make_room(self) -> None:
        """Let the log start anew, so that a full disk may still take what replaces something."""
        self._copy(apsw.SQLITE_CHECKPOINT_RESTART)

    def _copy(self, mode: int) -> None:
        self._connection.set_busy_timeout(PATIENCE)
        with contextlib.suppress(apsw.Error):
            self._connection.wal_checkpoint(mode=mode)
        self._connection.set_busy_timeout(self._busy_timeout)
