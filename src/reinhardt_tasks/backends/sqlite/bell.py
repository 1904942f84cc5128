"""Wakes other threads and processes: a touched file rings at whoever listens to it by inotify.

Two bells hang at a database: its own file rings when something can be claimed or was ordered, its write-ahead log when
a message has finished. A touch changes the file's times and nothing else. It comes after the commit, so that whoever
is woken sees it; a watch on the log's contents would be woken before.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Final

_ATTRIB: Final = 0x4
_NONBLOCK: Final = 0o4000
_CLOEXEC: Final = 0o2000000


def log_of(path: str) -> str:
    """The write-ahead log of the database at `path`."""
    return f"{path}-wal"


def ring(path: str) -> None:
    """Touch a file. One that cannot be touched rings nowhere; who waits looks from time to time all the same."""
    with contextlib.suppress(OSError):
        os.utime(path)


class Ear:
    """Hears files being touched, where the system can (Linux). `fd` is readable when one was; None: hears nothing."""

    def __init__(self) -> None:
        self.fd: int | None = None
        self._watches: dict[str, int] = {}
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        if self._libc is not None:
            fd = int(self._libc.inotify_init1(_NONBLOCK | _CLOEXEC))
            self.fd = fd if fd >= 0 else None  # none left to give: `max_user_instances`

    def listen(self, path: str) -> None:
        """Hear `path` from now on."""
        if self._libc is None or self.fd is None or path in self._watches:
            return
        watch = int(self._libc.inotify_add_watch(self.fd, os.fsencode(path), _ATTRIB))
        if watch >= 0:
            self._watches[path] = watch

    def ignore(self, path: str) -> None:
        """Hear `path` no more."""
        watch = self._watches.pop(path, None)
        if watch is not None and self._libc is not None:
            self._libc.inotify_rm_watch(self.fd, watch)

    def hears(self, path: str) -> bool:
        """Whether a touch of `path` would be heard."""
        return path in self._watches

    def drain(self) -> None:
        """Forget what was heard so far."""
        if self.fd is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self.fd, 4096)

    def close(self) -> None:
        """Hear nothing more."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
