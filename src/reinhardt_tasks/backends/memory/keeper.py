"""How long the memory backend keeps results, records and ids of finished messages."""

from __future__ import annotations

import itertools

from reinhardt_tasks.backends.memory.entries import Entry, Heap
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL, TOMBSTONE_TTL
from reinhardt_tasks.status import TaskStatus


class Keeper:
    """Knows when what may go; what belongs to a workflow that still runs waits for its end."""

    def __init__(self) -> None:
        self._tickets = itertools.count(1)
        self._fading = Heap("fading")
        self._forgetting = Heap("forgetting")
        self._parked: dict[TaskId, set[Entry]] = {}

    def finished(self, entry: Entry, now: float) -> None:
        """Start the clocks of a message that has just finished, and of what was parked until then."""
        self._start(entry, now)
        self._unpark(entry.id)

    def results(self, now: float, limit: int) -> list[Entry]:
        """At most `limit` messages whose result is over."""
        return self._fading.take_until(now, limit)

    def records(self, now: float, limit: int) -> list[Entry]:
        """At most `limit` messages to be forgotten wholly."""
        return self._forgetting.take_until(now, limit)

    def park(self, entry: Entry, workflow: TaskId) -> None:
        """Keep `entry` until the message `workflow` has finished."""
        entry.fading = entry.forgetting = 0
        self._parked.setdefault(workflow, set()).add(entry)

    def forgotten(self, entry: Entry) -> None:
        """Stop the clocks of a message that is no longer stored, and keep nothing for its sake."""
        entry.fading = entry.forgetting = 0
        if entry.message.workflow is not None:
            self._parked.get(entry.message.workflow, set()).discard(entry)
        self._unpark(entry.id)

    def _unpark(self, workflow: TaskId) -> None:
        for entry in self._parked.pop(workflow, ()):
            if entry.finished_at is not None:
                self._start(entry, entry.finished_at)

    def _start(self, entry: Entry, now: float) -> None:
        message = entry.message
        kept = DEAD_LETTER_TTL
        if entry.status is TaskStatus.SUCCESS:
            kept = max(TOMBSTONE_TTL, message.result_ttl)
            self._fading.push(now + message.result_ttl, next(self._tickets), entry)
        window = entry.created_at + (message.unique_for or 0.0)
        self._forgetting.push(max(now + kept, window), next(self._tickets), entry)
