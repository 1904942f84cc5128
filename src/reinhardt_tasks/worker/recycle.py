"""When a worker process has done or grown enough to be replaced by a fresh one: the decision, and its own size."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleLimits:
    """A worker process leaves after `max_tasks` tasks, or once it holds `max_memory_mb` MiB. None: no limit."""

    max_tasks: int | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_tasks", "max_memory_mb"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} is a number above 0, or None for no limit, not {limit!r}")

    def reached(self, *, tasks: int, memory_mb: float) -> str | None:
        """Why a process that has run `tasks` tasks and holds `memory_mb` MiB leaves now; None when it stays."""
        if self.max_tasks is not None and tasks >= self.max_tasks:
            return f"it has run {tasks} tasks (limit {self.max_tasks})"
        if self.max_memory_mb is not None and memory_mb >= self.max_memory_mb:
            return f"it holds {memory_mb:.0f} MiB of memory (limit {self.max_memory_mb:g})"
        return None


def resident_mb() -> float:
    """MiB of memory this process holds now. Where the system does not tell that: the most it has ever held."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MIB if sys.platform == "darwin" else peak / 1024
    return pages * resource.getpagesize() / _MIB
