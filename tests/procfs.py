"""What /proc tells about processes."""

from __future__ import annotations

import contextlib
from pathlib import Path


def exists(pid: int) -> bool:
    """Whether there is such a process; one that has ended but was not reaped counts."""
    return Path(f"/proc/{pid}").exists()


def runs(pid: int) -> bool:
    """Whether that process goes on; an orphan that has ended may wait for long to be reaped."""
    return _stat(pid)[:1] not in ([], ["Z"])


def children_of(pid: int) -> set[int]:
    """The child processes of `pid`, zombies included."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {child for child in processes if _stat(child)[1:2] == [str(pid)]}


def open_files() -> int:
    """How many file descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _stat(pid: int) -> list[str]:
    """The state of a process, its parent, and what follows; empty when there is no such process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
