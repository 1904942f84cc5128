"""What SQLite's errors mean to a caller: each becomes one of the package's errors, with the file and a remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    InvalidTextError,
    NotADatabaseError,
    PayloadTooLargeError,
    SerializationError,
)

DATA_ERRORS: Final = (
    TypeError,
    ValueError,
    OverflowError,
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
)
"""What a value that cannot be stored raises; the next value may be fine."""

_NAME: Final = "sqlite"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_CODES: Final = frozenset({apsw.SQLITE_IOERR_SHMSIZE})


def translated(error: BaseException, place: str, *, system_errno: int = 0) -> BaseException:
    """What to raise instead of `error`, which came from the database at `place`; itself where it says enough.

    What replaces it has it as its cause. `system_errno` is the operating system's error number behind the last I/O
    error of the connection.
    """
    fault = _ours(error, place, system_errno)
    if fault is not None:
        fault.__cause__ = error
    return fault or error


def _ours(error: BaseException, place: str, system_errno: int) -> Exception | None:
    """The package's error for it; None where it says enough."""
    if isinstance(error, apsw.Error):
        return _from_database(error, place, system_errno)
    if isinstance(error, UnicodeError):
        return InvalidTextError(f"a text to be stored is not valid Unicode: {error}")
    if isinstance(error, OverflowError):
        return SerializationError(f"a number to be stored does not fit into 64 bits: {error}")
    return None


def _from_database(error: apsw.Error, place: str, system_errno: int) -> Exception:
    if isinstance(error, apsw.IOError) and _is_full(error, place, system_errno):
        return full(place)
    for kinds, make in _MEANINGS:
        if isinstance(error, kinds):
            return make(error, place)
    return BackendError(f"SQLite refused a step on {place}: {error}", backend=_NAME, place=place)


def _locked(_: apsw.Error, place: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{place} is locked: another program has been writing to it for too long. "
        "Find the program that keeps a transaction open (a shell, a backup), and end it.",
        backend=_NAME,
        place=place,
    )


def full(place: str) -> BackendFullError:
    """The disk of `place` is full."""
    return BackendFullError(
        f"there is no room left for {place}. Free space on its disk or raise the quota; nothing stored is lost.",
        backend=_NAME,
        place=place,
    )


def unwritable(place: str, why: str) -> BackendError:
    """The file at `place` cannot be written by this user."""
    return BackendError(
        f"{place} cannot be written ({why}). The file, its -wal and -shm beside it, and their directory must be "
        "readable and writable by the user who runs this program.",
        backend=_NAME,
        place=place,
    )


def _damaged(error: apsw.Error, place: str) -> BackendError:
    return BackendError(
        f"{place} is damaged: {error}. Stop every program that uses it, keep a copy, and restore a backup or let "
        "`sqlite3 FILE .recover` save what can be read.",
        backend=_NAME,
        place=place,
    )


def _is_full(error: apsw.Error, place: str, system_errno: int) -> bool:
    """Whether an I/O error means that there was no room; SQLite says so itself only for some."""
    return system_errno in _NO_ROOM or getattr(error, "extendedresult", 0) in _FULL_CODES or _free_bytes(place) == 0


def _free_bytes(place: str) -> int:
    try:
        disk = os.statvfs(Path(place).parent)
    except OSError:
        return -1
    return disk.f_bavail * disk.f_frsize


def _unreadable(error: apsw.Error, place: str) -> BackendUnavailableError:
    text = f"{place} cannot be read or written: {error}. See whether its disk is there and sound."
    return BackendUnavailableError(text, backend=_NAME, place=place)


_Kinds = type[apsw.Error] | tuple[type[apsw.Error], ...]
_MEANINGS: Final[tuple[tuple[_Kinds, Callable[[apsw.Error, str], Exception]], ...]] = (
    ((apsw.BusyError, apsw.LockedError), _locked),
    (apsw.FullError, lambda _, place: full(place)),
    (apsw.NotADBError, lambda _, place: NotADatabaseError(backend=_NAME, place=place)),
    (apsw.CorruptError, _damaged),
    (
        (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError),
        lambda error, place: unwritable(place, str(error)),
    ),
    (apsw.TooBigError, lambda error, _: PayloadTooLargeError(f"a value is larger than SQLite stores: {error}")),
    (
        (apsw.ConstraintError, apsw.MismatchError),
        lambda error, _: SerializationError(f"the database refuses a value: {error}"),
    ),
    (apsw.IOError, _unreadable),
)
