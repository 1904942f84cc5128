"""Processor time and memory of a process and all its descendants, read from /proc (Linux)."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _REAPED_SYSTEM = 1, 11, 14  # fields of /proc/<pid>/stat after the name


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of a tree: resident pages counted in each process, and shared pages counted in proportion."""

    rss: float
    pss: float


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def runs(pid: int) -> bool:
    """Whether that process goes on; one that has ended may wait for its parent to take note."""
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def tree(root: int) -> list[int]:
    """`root` and its living descendants."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[_PARENT])].append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time spent by the tree since it started, reaped children included; in steps of 10 ms."""
    ticks = 0
    for pid in tree(root):
        if fields := _stat(pid):
            ticks += sum(map(int, fields[_USER : _REAPED_SYSTEM + 1]))
    return ticks / _TICK


def memory(root: int) -> Memory:
    """Memory of the tree at this moment."""
    totals = {"Rss": 0, "Pss": 0}
    for pid in tree(root):
        for name, kib in _rollup(pid):
            if name in totals:
                totals[name] += kib
    return Memory(totals["Rss"] / 1024, totals["Pss"] / 1024)


def _rollup(pid: int) -> list[tuple[str, int]]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [(line.partition(":")[0], int(line.split()[1])) for line in lines]
