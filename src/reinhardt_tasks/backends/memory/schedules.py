"""Stored schedules and locks of the memory backend.

Everything here runs while the store's lock is held.
"""

from __future__ import annotations

import msgspec

from reinhardt_tasks.backends.memory.bell import Bell
from reinhardt_tasks.message import Guard, Lock, ScheduleRecord


class Schedules:
    """Schedules by name, and a counter that rises with every change of them."""

    def __init__(self, bell: Bell) -> None:
        self.changes = 0
        self._stored: dict[str, ScheduleRecord] = {}
        self._bell = bell

    def save(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """See TaskBackend.save_schedule."""
        old = self._stored.get(schedule.name)
        last_due = old.last_due if old is not None and schedule.last_due is None else schedule.last_due
        self._changed()
        saved = msgspec.structs.replace(schedule, last_due=last_due, version=self.changes)
        self._stored[schedule.name] = saved
        return saved

    def records(self) -> list[ScheduleRecord]:
        """See TaskBackend.load_schedules."""
        return [schedule for _, schedule in sorted(self._stored.items())]

    def remove(self, name: str) -> bool:
        """See TaskBackend.remove_schedule."""
        if self._stored.pop(name, None) is None:
            return False
        self._changed()
        return True

    def allows(self, guard: Guard) -> bool:
        """Whether the schedule stands where the guard expects it."""
        schedule = self._stored.get(guard.schedule)
        return schedule is not None and schedule.last_due == guard.expected

    def fire(self, guard: Guard) -> None:
        """Move the schedule on to the guard's new due."""
        self._stored[guard.schedule] = msgspec.structs.replace(self._stored[guard.schedule], last_due=guard.due)

    def _changed(self) -> None:
        self.changes += 1
        self._bell.ring("schedules", remember=False)


class Locks:
    """Locks by name; one that has run out is as good as none."""

    def __init__(self) -> None:
        self._held: dict[str, Lock] = {}

    def acquire(self, name: str, token: str, ttl: float, now: float) -> Lock | None:
        """See TaskBackend.acquire_lock."""
        holder = self._holder(name, now)
        return self._hold(name, token, now + ttl) if holder in {None, token} else None

    def extend(self, name: str, token: str, ttl: float, now: float) -> Lock | None:
        """See TaskBackend.extend_lock."""
        return self._hold(name, token, now + ttl) if self._holder(name, now) == token else None

    def release(self, name: str, token: str, now: float) -> bool:
        """See TaskBackend.release_lock."""
        holds = self._holder(name, now) == token
        if holds:
            del self._held[name]
        return holds

    def _hold(self, name: str, token: str, until: float) -> Lock:
        lock = self._held[name] = Lock(name, token, until)
        return lock

    def _holder(self, name: str, now: float) -> str | None:
        """Who holds the lock now."""
        lock = self._held.get(name)
        return lock.token if lock is not None and now < lock.until else None

    def expire(self, now: float) -> None:
        """Forget the locks that have run out."""
        for name in [name for name, lock in self._held.items() if lock.until <= now]:
            del self._held[name]
