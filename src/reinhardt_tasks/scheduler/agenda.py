"""What a scheduler has to do and when: the stored schedules as it knows them, the next due first. In memory alone."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from reinhardt_tasks.catalogue import Scheduled
from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import ScheduleError
from reinhardt_tasks.message import ScheduleRecord
from reinhardt_tasks.schedule import Policy, Schedule, upcoming
from reinhardt_tasks.scheduler.spec import Plan, head_of, plan_in, policy_of, schedule_of

log = logging.getLogger("reinhardt_tasks.scheduler")

_PAUSE_EVERY: Final = 50
"""Records read between two turns of the loop, which has other work to do."""


def instant(seconds: float) -> datetime:
    """Unix seconds as a datetime. Raises ScheduleError for what is no moment."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ScheduleError(f"{seconds!r} is no moment: {error}") from error


class Entry:
    """One schedule that is fired here. `last_due` is what the store is believed to say, `due` when it is next due."""

    __slots__ = ("anchor", "due", "last_due", "listed", "name", "plan", "policy", "version", "when")

    def __init__(self, record: ScheduleRecord, plan: Plan, when: Schedule, policy: Policy, since: float) -> None:
        self.name = record.name
        self.version = record.version
        self.plan = plan
        self.when = when
        self.policy = policy
        self.last_due = record.last_due
        self.listed = False
        self.anchor = instant(since if record.last_due is None else max(since, record.last_due))
        self.due = upcoming(when, policy, self.anchor)

    def move_on(self, due: datetime) -> None:
        """What was due then is fired, by whomever."""
        self.last_due, self.anchor = due.timestamp(), due

    def move_past(self, now: datetime) -> None:
        """Leave out what is due up to now, after an error; one that cannot even say what comes next is never due."""
        try:
            self.due = upcoming(self.when, self.policy, max(now, self.anchor))
        except Exception:  # noqa: BLE001 - a schedule of the application's own may raise anything
            self.due = None

    def look_ahead(self, after: datetime) -> None:
        """Find what is due next."""
        self.due = upcoming(self.when, self.policy, max(after, self.anchor))


class Agenda:
    """The entries by name, and by when they are due. `code` are the schedules of the application's code, by `plans`."""

    def __init__(self, code: Mapping[str, Scheduled], plans: Mapping[str, Plan], seal: Seal) -> None:
        self._code = code
        self._plans = plans
        self._seal = seal
        self._entries: dict[str, Entry] = {}
        self._idle: dict[str, int] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._tickets = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    async def update(self, records: Sequence[ScheduleRecord]) -> None:
        """Take over what is stored now."""
        for gone in (self._entries.keys() | self._idle.keys()) - {record.name for record in records}:
            self._drop(gone)
        for number, record in enumerate(records, 1):
            self._take(record)
            if not number % _PAUSE_EVERY:
                await asyncio.sleep(0)

    def _take(self, record: ScheduleRecord) -> None:
        known = self._entries.get(record.name)
        if known is not None and known.listed and known.version == record.version and known.last_due == record.last_due:
            return
        if self._idle.get(record.name) == record.version:
            return
        self._drop(record.name)
        try:
            entry = self._entry(record)
        except Exception as error:  # noqa: BLE001 - a schedule of the application's own may raise anything
            log.warning("schedule_unusable schedule=%s error=%s", record.name, error)
            entry = None
        if entry is None:
            self._idle[record.name] = record.version
        else:
            self._entries[record.name] = entry
            self.line_up(entry)

    def _entry(self, record: ScheduleRecord) -> Entry | None:
        """The entry for a record, None for one that is not fired here."""
        head = head_of(record)
        if record.paused:
            return None
        if head.origin != "code":
            plan = plan_in(head, record.name, self._seal)
            return Entry(record, plan, schedule_of(plan), policy_of(plan), head.since)
        own, plan_here = self._code.get(record.name), self._plans.get(record.name)
        if own is None or plan_here is None:
            return None
        return Entry(record, plan_here, own.when, own.policy, head.since)

    def line_up(self, entry: Entry) -> None:
        """Put an entry in line by when it is due; one that never is again waits for a change."""
        entry.listed = True
        if entry.due is not None:
            heapq.heappush(self._heap, (entry.due.timestamp(), next(self._tickets), entry))

    def _drop(self, name: str) -> None:
        self._idle.pop(name, None)
        entry = self._entries.pop(name, None)
        if entry is not None:
            entry.listed = False  # what is left of it in the heap counts for nothing

    def next_due(self) -> float | None:
        """When something is due, in Unix seconds."""
        while self._heap and not self._heap[0][2].listed:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, limit: int) -> list[Entry]:
        """Up to `limit` entries that are due, taken out of line."""
        found: list[Entry] = []
        while len(found) < limit and (due := self.next_due()) is not None and due <= now:
            entry = heapq.heappop(self._heap)[2]
            entry.listed = False
            found.append(entry)
        return found
