"""Stored schedules, and locks."""

from __future__ import annotations

import msgspec

from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.message import Guard, Lock, ScheduleRecord

_SQL = statements("timetable")


def fire(store: Store, guard: Guard) -> bool:
    """Move a schedule on, if it stands where the guard expects it."""
    store.run(_SQL["fire"], guard.schedule, guard.expected, guard.due)
    return store.changed() > 0


def save(store: Store, schedule: ScheduleRecord) -> ScheduleRecord:
    """See TaskBackend.save_schedule."""
    _changed(store)
    stored = store.rows(_SQL["save"], schedule.name, schedule.spec, schedule.last_due, schedule.paused, store.schedules)
    return msgspec.structs.replace(schedule, last_due=stored[0][0], version=store.schedules)


def remove(store: Store, name: str) -> bool:
    """See TaskBackend.remove_schedule."""
    store.run(_SQL["remove"], name)
    known = store.changed() > 0
    if known:
        _changed(store)
    return known


def _changed(store: Store) -> None:
    store.schedules += 1
    store.rings = True


def acquire(store: Store, name: str, token: str, ttl: float) -> Lock | None:
    """See TaskBackend.acquire_lock."""
    store.run(_SQL["acquire"], name, token, store.steady + ttl, store.steady)
    return Lock(name, token, store.now + ttl) if store.changed() else None


def extend(store: Store, name: str, token: str, ttl: float) -> Lock | None:
    """See TaskBackend.extend_lock."""
    store.run(_SQL["extend"], name, token, store.steady + ttl, store.steady)
    return Lock(name, token, store.now + ttl) if store.changed() else None


def release(store: Store, name: str, token: str) -> bool:
    """See TaskBackend.release_lock."""
    store.run(_SQL["release"], name, token, store.steady)
    return store.changed() > 0


def forget_locks(store: Store) -> None:
    """Drop the locks that have run out."""
    store.run(_SQL["forget_locks"], store.steady)
