"""What an operator should know about a database file."""

from __future__ import annotations

from pathlib import Path

import apsw

from reinhardt_tasks.backends.sqlite.bell import log_of
from reinhardt_tasks.backends.sqlite.checkpoint import URGENT
from reinhardt_tasks.backends.sqlite.connection import SOUND, library_version
from reinhardt_tasks.backends.sqlite.place import Durability

_MEANING: dict[Durability, str] = {
    "full": "full: each commit is on the disk before its call returns",
    "normal": "normal: a power cut may take back the last commits, a crash of a program takes none",
    "off": "off: a power cut may damage the file",
}


def facts(connection: apsw.Connection, path: str, durability: Durability) -> dict[str, str]:
    """Versions, settings, sizes, and warnings; reads the whole file to see that it is sound."""
    log = _size(log_of(path))
    found = {
        "backend": "sqlite",
        "path": path,
        "sqlite": apsw.sqlite_lib_version(),
        "apsw": apsw.apsw_version(),
        "schema": str(connection.pragma("user_version")),
        "journal": str(connection.pragma("journal_mode")),
        "durability": _MEANING[durability],
        "size": f"{_size(path)} bytes",
        "log size": f"{log} bytes",
        "integrity": str(connection.pragma("quick_check", 1)),
    }
    return {**found, **_warnings(found["integrity"], log, connection.pragma("page_size"), durability)}


def _warnings(integrity: str, log: int, page_size: int, durability: Durability) -> dict[str, str]:
    warnings = {}
    if library_version() < SOUND:
        warnings["warning sqlite"] = (
            f"SQLite {apsw.sqlite_lib_version()} can, rarely, damage a file when two programs copy its log at once; "
            "3.51.3 cannot. Upgrade the apsw package."
        )
    if log > 2 * URGENT * page_size:
        warnings["warning log size"] = (
            f"the write-ahead log has grown to {log} bytes: some program keeps an old transaction open for reading."
        )
    if integrity != "ok":
        warnings["warning integrity"] = f"the file is damaged ({integrity}). Restore a backup."
    if durability == "off":
        warnings["warning durability"] = "with durability=off a power cut may damage the file; use normal or full."
    return warnings


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
