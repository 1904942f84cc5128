"""Keeps a forked child from talking on its parent's connections.

In the child each inherited socket is replaced by /dev/null, so that the server sees the connection end with the parent,
and nothing of the child's can reach it. `open` then works as ever.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """What has a connection open."""

    def leave(self) -> int | None:
        """In a child: belong to nobody from now on. The number of the inherited socket, None where none is open."""


_open: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()
_kept: Final[list[Forkable]] = []
_registered: Final[list[bool]] = []


def track(holder: Forkable) -> None:
    """Look after `holder` when the process forks, until it is collected."""
    if not _registered:
        os.register_at_fork(after_in_child=_after_in_child)
        _registered.append(True)
    _open.add(holder)


def _after_in_child() -> None:
    holders = list(_open)
    _open.clear()
    _kept.extend(holders)  # to collect their transports would speak to the parent's event loop
    null = os.open(os.devnull, os.O_RDWR)
    for holder in holders:
        socket = holder.leave()
        if socket is not None and socket >= 0:
            with contextlib.suppress(OSError):
                os.dup2(null, socket, inheritable=False)
    os.close(null)
