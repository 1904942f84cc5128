"""When a worker process is replaced by a fresh one."""

from __future__ import annotations

from pathlib import Path

import pytest

from reinhardt_tasks.worker import recycle
from reinhardt_tasks.worker.recycle import RecycleLimits, resident_mb


@pytest.mark.parametrize(
    ("limits", "tasks", "memory", "why"),
    [
        (RecycleLimits(), 10**9, 10**9, None),
        (RecycleLimits(max_tasks=100), 99, 10**9, None),
        (RecycleLimits(max_tasks=100), 100, 0, "it has run 100 tasks (limit 100)"),
        (RecycleLimits(max_memory_mb=512), 10**9, 511.9, None),
        (RecycleLimits(max_memory_mb=512), 0, 512.0, "it holds 512 MiB of memory (limit 512)"),
        (RecycleLimits(max_tasks=1, max_memory_mb=1), 5, 5, "it has run 5 tasks (limit 1)"),
    ],
)
def test_a_process_leaves_when_it_reaches_a_limit(limits, tasks, memory, why):
    """At the limit, not one after it; and the reason can be logged."""
    assert limits.reached(tasks=tasks, memory_mb=memory) == why


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
@pytest.mark.parametrize("name", ["max_tasks", "max_memory_mb"])
def test_a_limit_that_can_never_be_kept_is_refused(name, limit):
    """0 would mean a worker that leaves before its first task."""
    with pytest.raises(ValueError, match=f"{name} is a number above 0"):
        RecycleLimits(**{name: limit})


def test_memory_that_is_taken_shows():
    """64 MiB that are written to are seen as such."""
    before = resident_mb()
    taken = bytearray(b"x") * (64 << 20)
    assert 60 <= resident_mb() - before <= 100
    assert taken[-1] == ord("x")


def test_memory_is_known_where_there_is_no_proc(monkeypatch):
    """Then it is the peak, which is never less than what is held now."""
    now = resident_mb()
    monkeypatch.setattr(recycle, "_STATM", Path("/nowhere/statm"))
    assert now * 0.9 <= resident_mb() < now * 100
