"""Opens connections to the file: pragmas, the first creation of the tables, and the check that they are ours."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import apsw

from reinhardt_tasks.backends.sqlite import statements
from reinhardt_tasks.backends.sqlite.faults import unwritable
from reinhardt_tasks.backends.sqlite.layout import APPLICATION_ID, SCHEMA_VERSION
from reinhardt_tasks.backends.sqlite.place import Durability
from reinhardt_tasks.errors import ConfigurationError, NotADatabaseError, SchemaError

OLDEST: Final = (3, 38, 0)
"""The first SQLite with STRICT tables and JSON built in."""
SOUND: Final = (3, 51, 3)
"""The first SQLite without the bug by which two checkpoints at once could damage a file."""
BUSY_TIMEOUT: Final = 5.0
"""Seconds SQLite itself waits for a lock before we look at the clock and ask again."""
_STAMP: Final = (
    "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema) "
    "FROM pragma_application_id a, pragma_user_version v"
)
_WAL_KEPT: Final = 32 * 1024 * 1024
"""Bytes to which the write-ahead log is cut once it has been larger."""
_CACHE_KIB: Final = 16_000


def jitter() -> float:
    """Seconds to wait before the next try for a lock, different each time, so that two who wait do not keep step."""
    return 0.001 + 0.02 * secrets.randbelow(1000) / 1000


class Settings(NamedTuple):
    """How to open a file. `patience` is how long to wait for other writers, in seconds."""

    path: str
    durability: Durability
    clock: Callable[[], float]
    patience: float


def busy_milliseconds(patience: float) -> int:
    """How long SQLite itself waits for a lock, for a connection with so many seconds of patience."""
    return int(min(BUSY_TIMEOUT, patience) * 1000)


def library_version() -> tuple[int, ...]:
    """The version of the SQLite in use."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def check_library() -> None:
    """Raise ConfigurationError when the SQLite in use is too old."""
    if library_version() < OLDEST:
        raise ConfigurationError(
            f"SQLite {apsw.sqlite_lib_version()} is too old; 3.38 is needed. Install the apsw package from PyPI, "
            "which brings its own.",
            setting="apsw",
        )


def open_writer(path: str, durability: Durability, patience: float) -> apsw.Connection:
    """A connection that writes; it creates the file and the tables where there are none."""
    connection = _connect(path, patience)
    try:
        _check_ours(connection, path)
        if connection.readonly("main"):
            raise unwritable(path, "it is read-only")
        _patiently(lambda: connection.execute("PRAGMA journal_mode = wal"), patience)
        connection.execute(f"PRAGMA synchronous = {durability}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # checkpoint.py decides
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
        _patiently(lambda: _create(connection, path), patience)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> apsw.Connection:
    """A connection that only reads."""
    connection = _connect(path, BUSY_TIMEOUT)
    connection.execute("PRAGMA query_only = 1")
    return connection


def _connect(path: str, patience: float) -> apsw.Connection:
    connection = apsw.Connection(path)
    # A forked child closes what it inherited; that must not checkpoint or delete its parent's log.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    connection.set_busy_timeout(busy_milliseconds(patience))
    for pragma in (f"cache_size = -{_CACHE_KIB}", "mmap_size = 0", "temp_store = memory", "trusted_schema = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _patiently(step: Callable[[], Any], patience: float) -> None:
    """Run `step` again while others hold the file; some locks are refused at once, whatever the busy timeout."""
    deadline = time.monotonic() + patience
    while True:
        try:
            step()
            return
        except (apsw.BusyError, apsw.LockedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(jitter())


def _check_ours(connection: apsw.Connection, path: str) -> bool:
    """Whether the tables are there already. Raises NotADatabaseError for other people's, SchemaError for newer ones."""
    rows: list[tuple[Any, ...]] = connection.execute(_STAMP).fetchall()
    mark, version, tables = rows[0]
    if mark != APPLICATION_ID:
        if mark or tables:
            raise NotADatabaseError(
                f"{path} is the database of another application. It was left as it is: name another file in the URL.",
                backend="sqlite",
                place=path,
            )
        return False
    if version != SCHEMA_VERSION:
        raise SchemaError(place=path, found=version, known=SCHEMA_VERSION)
    return True


def _create(connection: apsw.Connection, path: str) -> None:
    """Create the tables unless they are there, by this process or by another that was quicker."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _check_ours(connection, path):
            connection.execute(statements.text("schema"))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(statements.text("stores"))  # a file may have been made before there were any
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
