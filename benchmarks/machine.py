"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from time import perf_counter_ns

_MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


def describe(stores: Path) -> Mapping[str, str]:
    """Processor, kernel, Python and the disk under `stores`, by name."""
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": str(cores()),
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1024**2:.1f} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "kernel": platform.release(),
        "driver's Python": f"{platform.python_implementation()} {platform.python_version()}",
        "file system of the stores": file_system(stores),
        "fdatasync of 4 KiB": f"{_sync_cost(stores):.0f} us (median of 200)",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
    }


def warnings(stores: Path) -> list[str]:
    """What makes figures of this run doubtful."""
    found = []
    if file_system(stores) in _MEMORY_FILE_SYSTEMS:
        found.append(
            "the stores are in memory, where durability costs nothing; pass --store with a directory on a disk"
        )
    if os.getloadavg()[0] > cores() / 2:
        found.append("something else keeps this machine busy")
    return found


def file_system(path: Path) -> str:
    """Type of the file system `path` is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(point), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(above, default=(0, "unknown"))[1]


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _sync_cost(stores: Path) -> float:
    """Microseconds to append 4 KiB and have it on the disk: the floor under every durable commit."""
    took = []
    with NamedTemporaryFile(dir=stores) as file:
        for _ in range(200):
            started = perf_counter_ns()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            took.append(perf_counter_ns() - started)
    return median(took) / 1000


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def idle_seconds() -> float:
    """Time all cores of the machine have been idle since it started, waits for a disk included."""
    idle, waiting = Path("/proc/stat").read_text().split(maxsplit=6)[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")
