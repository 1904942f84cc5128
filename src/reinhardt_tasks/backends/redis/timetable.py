"""Stored schedules, and locks: `save`, `load`, `remove`, `watch`; `acquire`, `extend`, `release`."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.message import Lock, ScheduleRecord

_CHANGED = b"s"
"""What the scripts publish to those who watch the schedules."""


async def save(link: Link, schedule: ScheduleRecord) -> ScheduleRecord:
    """See TaskBackend.save_schedule."""
    due = "" if schedule.last_due is None else schedule.last_due
    version, stored = await link.call(
        "save_schedule", schedule.name, schedule.spec, int(schedule.paused), due, replicate=True
    )
    return msgspec.structs.replace(schedule, last_due=_moment(stored), version=version)


async def load(link: Link) -> list[ScheduleRecord]:
    """See TaskBackend.load_schedules."""
    found: dict[str, ScheduleRecord] = {}
    cursor: bytes | int = 0
    while True:
        cursor, *fields = await link.call("load_schedules", cursor)
        rows = zip(*[iter(fields)] * 5, strict=True)
        found.update((record.name, record) for record in map(_record, rows))
        if cursor == b"0":
            return [found[name] for name in sorted(found)]


async def remove(link: Link, name: str) -> bool:
    """See TaskBackend.remove_schedule."""
    return bool(await link.call("remove_schedule", name, replicate=True))


async def watch(link: Link, seen: int, timeout: float) -> int:
    """See TaskBackend.watch_schedules."""
    deadline = time.monotonic() + timeout
    listener = await link.heard()
    while True:
        with listener.sleeper(_CHANGED) as sleeper:
            left = max(0.0, deadline - time.monotonic())
            changes: int = await link.call("watch_schedules", seen, listener.channel, left)
            if changes != seen or not left:
                return changes
            await sleeper.woken(left)


async def acquire(link: Link, name: str, token: str, ttl: float) -> Lock | None:
    """See TaskBackend.acquire_lock."""
    return _lock(name, token, await link.call("acquire_lock", name, token, ttl, replicate=True))


async def extend(link: Link, name: str, token: str, ttl: float) -> Lock | None:
    """See TaskBackend.extend_lock."""
    return _lock(name, token, await link.call("extend_lock", name, token, ttl, replicate=True))


async def release(link: Link, name: str, token: str) -> bool:
    """See TaskBackend.release_lock."""
    return bool(await link.call("release_lock", name, token, replicate=True))


def _record(row: tuple[Any, ...]) -> ScheduleRecord:
    name, spec, paused, version, due = row
    return ScheduleRecord(name=name.decode(), spec=spec, last_due=_moment(due), paused=bool(paused), version=version)


def _moment(raw: bytes) -> float | None:
    """An instant as scripts answer it: empty where there is none."""
    return float(raw) if raw else None


def _lock(name: str, token: str, until: bytes | None) -> Lock | None:
    return None if until is None else Lock(name, token, float(until))
