"""Keeps a forked child from using, or even closing wrongly, what its parent has open.

SQLite keeps a list of a process's locks in memory. A child inherits the list, but not the locks: what it opened itself
on the same file would believe in locks that nobody holds. So every connection is at rest while the process forks, and
the child closes all it inherited, without touching the file, before anything else. `open` then works as ever.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Collection, Iterable
from typing import Final, Protocol

import apsw

from reinhardt_tasks.errors import BackendError

_PATIENCE: Final = 2.0
"""Seconds a fork waits for a step that is under way."""


class Forkable(Protocol):
    """What has connections open."""

    @property
    def path(self) -> str:
        """The file."""

    @property
    def gates(self) -> Collection[threading.Lock]:
        """Held by the threads while they use their connections."""

    def connections(self) -> Iterable[apsw.Connection]:
        """All of them."""


_open: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()
_held: Final[list[threading.Lock]] = []
_unclean: Final[set[str]] = set()
_registered: Final[list[bool]] = []


def track(holder: Forkable) -> None:
    """Look after `holder` when the process forks. Raises BackendError in a child that cannot open its file safely."""
    if holder.path in _unclean:
        raise BackendError(
            f"this process was forked while {holder.path} was being written, and cannot use it. Fork before the "
            "backend is opened, or start processes with the `spawn` method.",
            backend="sqlite",
            place=holder.path,
        )
    if not _registered:
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
        _registered.append(True)
    _open.add(holder)


def release(holder: Forkable) -> None:
    """`holder` has nothing open any more."""
    _open.discard(holder)


def _before() -> None:
    for holder in list(_open):
        _held.extend(gate for gate in holder.gates if gate.acquire(timeout=_PATIENCE))


def _after_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_in_child() -> None:
    for holder in list(_open):
        if all(gate in _held for gate in holder.gates):
            _leave(holder)
        else:
            _unclean.add(holder.path)
            _kept.append(holder)  # to collect its connections would close them
    _open.clear()
    _after_in_parent()


_kept: Final[list[Forkable]] = []


def _leave(holder: Forkable) -> None:
    for connection in holder.connections():
        with contextlib.suppress(apsw.Error):
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close()
