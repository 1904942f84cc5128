"""Where a database file may be: what a URL names, and which directories and file systems will do."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from reinhardt_tasks.errors import BackendError, ConfigurationError, DirectoryMissingError

Durability = Literal["full", "normal", "off"]
"""How far a commit has come when a call returns.

`full`: on the disk, it outlives a power cut. `normal`: it outlives every crash of a program; the last commits before
a power cut may be missing. `off`: as normal, and a power cut may damage the file.
"""

# fmt: off
_SHARED_BY_HOSTS: Final = frozenset(
    {
        "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse.ceph-fuse",
        "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.rclone", "fuse.s3fs",
        "fuse.smbnetfs", "fuse.sshfs", "fuse.vmhgfs-fuse", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
        "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs",
    }
)
# fmt: on
LOOKS_APART: Final = 1.0
"""Seconds between two looks at whether a file is still where it was."""
_MOUNTS: Final = Path("/proc/self/mounts")


def parse_url(url: str) -> tuple[str, Durability]:
    """The path and the durability in `sqlite:///relative.db`, `sqlite:////absolute.db` and `…?durability=normal`.

    Raises ConfigurationError for anything else.
    """
    parts = urlsplit(url)
    if parts.netloc:
        host = parts.netloc.rpartition("@")[2]  # what stands before it may be a password
        raise ConfigurationError(
            f"the URL names a host where SQLite has none: {host!r}. Write sqlite:///{host}{parts.path} for a file "
            "relative to the current directory, sqlite://// and the rest of its path for an absolute one.",
            setting="url",
        )
    path = unquote(parts.path)[1:]
    if not path:
        raise ConfigurationError(f"{url!r} names no file. Write for example sqlite:///tasks.db.", setting="url")
    return path, _options(url, parts.query)


def _options(url: str, query: str) -> Durability:
    durability: Durability = "full"
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key != "durability":
            raise ConfigurationError(
                f"{url!r} has the unknown option {key!r}; the only one is durability (full, normal or off).",
                setting=key,
            )
        durability = as_durability(value)
    return durability


def as_durability(value: str) -> Durability:
    """`value` as one of the three words. Raises ConfigurationError."""
    for known in get_args(Durability):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError(f"durability is full, normal or off, not {value!r}.", setting="durability")


def absolute(path: str | os.PathLike[str]) -> str:
    """The file's whole path, links followed. Raises ConfigurationError for a database in memory: each has its own."""
    text = os.fspath(path)
    if text in {"", ":memory:"}:
        raise ConfigurationError(
            f"{text!r} is no file. For messages in memory use the memory backend (memory://).", setting="path"
        )
    return str(Path(text).resolve())  # SQLite follows links, and keeps its log beside the file itself


def check_place(path: str, *, mounts: str | None = None) -> None:
    """Raise unless a database can live at `path`: in a directory that exists, on a file system of this machine.

    `mounts` are the lines of /proc/mounts, by default this system's.
    """
    if not Path(path).parent.is_dir():
        raise DirectoryMissingError(backend="sqlite", place=path)
    if Path(path).is_dir():
        raise BackendError(f"{path} is a directory. Name a file in the URL.", backend="sqlite", place=path)
    kind = file_system(path, _mounts() if mounts is None else mounts)
    if kind in _SHARED_BY_HOSTS:
        raise ConfigurationError(
            f"{path} is on a {kind} file system, which may be shared by several machines; SQLite's locks and shared "
            "memory do not work there. Put the file on a local disk, or use a server such as PostgreSQL or Redis.",
            setting="path",
        )


class FileIdentity:
    """Notices when the file at a path is no longer the one that was opened: removed, or replaced by another."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _device_and_number(path)
        self._looked_at = time.monotonic()

    def has_changed(self) -> bool:
        """Whether another file is there now, or none. Looks at most once a second; in between it says no."""
        now = time.monotonic()
        if now - self._looked_at < LOOKS_APART:
            return False
        self._looked_at = now
        return _device_and_number(self._path) != self._file


def _device_and_number(path: str) -> tuple[int, int] | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _mounts() -> str:
    try:
        return _MOUNTS.read_text("utf-8", "replace")
    except OSError:  # not Linux
        return ""


def file_system(path: str, mounts: str) -> str | None:
    """The type of the file system that `path` is on, by the lines of /proc/mounts; None where they do not say."""
    best, kind = "", None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind
