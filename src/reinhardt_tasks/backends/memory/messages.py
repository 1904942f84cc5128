"""The messages of the memory backend and their steps: put, stand in line, finish, come back, be forgotten.

Everything here runs while the store's lock is held.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from reinhardt_tasks.backends.memory.bell import Bell
from reinhardt_tasks.backends.memory.entries import Entry, Heap, Line
from reinhardt_tasks.backends.memory.keeper import Keeper
from reinhardt_tasks.contract import HELD_TTL, MAX_BATCH
from reinhardt_tasks.errors import BackendTaskNotFoundError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, ErrorRecord, Put, Reason
from reinhardt_tasks.status import FALLEN, TaskStatus, check_transition

Key = tuple[str, str]
"""A task's name and a unique key."""


class Messages:
    """All messages, the line of those that could start, the calendar of those due later.

    With `patient=False` nothing is due later: delays and moments are noted, and not waited for.
    """

    def __init__(self, bell: Bell, *, patient: bool) -> None:
        self.known: dict[TaskId, Entry] = {}
        self.ready = Line()
        self.suspects = Line()
        """Messages that lost a worker before; each is given out alone."""
        self.tally: dict[str, dict[TaskStatus, int]] = {}
        self._bell = bell
        self._patient = patient
        self._tickets = itertools.count(1)
        self._calendar = Heap("later")
        self._unopened = Heap("later")  # the same slot: what is held is not on the calendar
        self._held: dict[TaskId, dict[TaskId, Entry]] = {}
        self._keys: dict[Key, Entry] = {}
        self._keeper = Keeper()

    # Put ----------------------------------------------------------------------------------------------------------

    def plan(self, messages: Sequence[AnyMessage], now: float) -> list[Put]:
        """What `store` would do with each message. Raises QueueError when one waits for an unknown parent."""
        fresh: set[TaskId] = set()
        keys: dict[Key, TaskId] = {}
        puts = []
        for message in messages:
            standing = self._standing(message, fresh, keys, now)
            puts.append(Put(standing or message.id, created=standing is None))
            if standing is None:
                self._check_parents(message, fresh)
                fresh.add(message.id)
                if message.unique_key is not None:
                    keys[message.name, message.unique_key] = message.id
        return puts

    def store(self, messages: Sequence[AnyMessage], puts: Sequence[Put], now: float, connection: object) -> None:
        """Store the messages that the plan `puts` creates."""
        for message, put in zip(messages, puts, strict=True):
            if put.created:
                self._store_one(message, now, connection)

    def start_workflow(self, workflow: TaskId, now: float) -> bool:
        """See TaskBackend.start_workflow."""
        held = self._held.pop(workflow, {})
        for entry in held.values():
            entry.held = False
            entry.later = 0
            if not entry.status.finished:
                self.line_up(entry, now)
        return bool(held)

    def _standing(self, message: AnyMessage, fresh: set[TaskId], keys: dict[Key, TaskId], now: float) -> TaskId | None:
        """The id that already stands for `message`, in the store or earlier in the same call."""
        if message.id in self.known or message.id in fresh:
            return message.id
        if message.unique_key is None:
            return None
        key = message.name, message.unique_key
        holder = self.key_holder(key, now)
        return keys.get(key) if holder is None else holder.id

    def _check_parents(self, message: AnyMessage, fresh: set[TaskId]) -> None:
        for parent in message.waits_on:
            if parent not in self.known and parent not in fresh:
                raise QueueError(
                    f"message {message.id} waits for {parent}, which is not stored here; "
                    "put the parent first, or earlier in the same call",
                    queue=message.queue,
                )

    def _store_one(self, message: AnyMessage, now: float, connection: object) -> None:
        run_at = now + message.delay if message.run_at is None and message.delay > 0 else message.run_at
        entry = Entry(message, now, now, run_at, message.held, connection=connection)
        self.known[message.id] = entry
        self._count(entry, 1)
        if message.unique_key is not None:
            self._keys[message.name, message.unique_key] = entry
        self._hold(entry, now)
        fallen = self.join_parents(entry)
        if fallen is None:
            self.line_up(entry, now)
        else:
            self._orphan(entry, fallen, now)

    def _hold(self, entry: Entry, now: float) -> None:
        """Note a held message, to be started with its workflow, or dropped if that never happens."""
        if entry.held and entry.message.workflow is not None:
            self._held.setdefault(entry.message.workflow, {})[entry.id] = entry
            self._unopened.push(now + HELD_TTL, next(self._tickets), entry)

    def join_parents(self, entry: Entry) -> Entry | None:
        """Let `entry` wait for its unfinished parents; answers one that has failed, if that concerns it."""
        fallen = None
        for parent in self.parents(entry):
            if parent.status is not TaskStatus.SUCCESS:
                parent.add_child(entry)
            if not parent.status.finished:
                entry.wait_for(parent)
            elif parent.status in FALLEN and not entry.message.tolerant:
                fallen = parent
        return fallen

    def parents(self, entry: Entry) -> list[Entry]:
        """The messages it was put to wait for, as far as they are still known."""
        return [self.known[id] for id in dict.fromkeys(entry.message.waits_on) if id in self.known]

    def key_holder(self, key: Key, now: float) -> Entry | None:
        """The message that keeps others from this task name and unique key."""
        entry = self._keys.get(key)
        return entry if entry is not None and entry.holds_key(now) else None

    # Stand in line ------------------------------------------------------------------------------------------------

    def line_up(self, entry: Entry, now: float) -> None:
        """Put an unfinished message that nobody holds where it belongs: nowhere yet, on the calendar, or in line."""
        if entry.held or entry.waiting_on:
            return
        if self._patient and entry.run_at is not None and entry.run_at > now:
            self._calendar.push(entry.run_at, next(self._tickets), entry)
            self._bell.ring(("queue", entry.message.queue), "queues", remember=False)  # the next due may be sooner now
        else:
            self._join(entry, now)

    def promote(self, now: float) -> int:
        """Let what is due stand in line; how many."""
        due = self._calendar.take_until(now, MAX_BATCH)
        for entry in due:
            self._join(entry, now)
        return len(due)

    def next_due(self) -> float | None:
        """When the next message due later falls due."""
        head = self._calendar.head()
        return None if head is None else head[0]

    def _join(self, entry: Entry, now: float) -> None:
        entry.place = entry.place or next(self._tickets)
        entry.ready_at = now
        entry.emptier = None
        (self.suspects if entry.losses else self.ready).add(entry)
        self._bell.ring(("queue", entry.message.queue), "queues")

    def _leave_line(self, entry: Entry) -> None:
        if entry.queued:
            (self.suspects if entry.losses else self.ready).remove(entry)
        entry.later = 0

    def become(self, entry: Entry, status: TaskStatus, now: float) -> None:
        """Change the status. Raises TransitionError for a step that is not in the table."""
        check_transition(entry.status, status, task_id=str(entry.id))
        self._count(entry, -1)
        entry.status = status
        entry.updated_at = now
        self._count(entry, 1)

    def _count(self, entry: Entry, change: int) -> None:
        counts = self.tally.setdefault(entry.message.queue, {})
        counts[entry.status] = counts.get(entry.status, 0) + change

    # Finish -------------------------------------------------------------------------------------------------------

    def finish(self, entry: Entry, status: TaskStatus, payload: bytes, now: float) -> int:
        """End a message, and tell those that wait for it; answers how many of them were cancelled for it."""
        self._end(entry, status, payload, now)
        cancelled, ended = 0, [entry]
        while ended:
            parent = ended.pop()
            for child in parent.waiting_children():
                if parent.status in FALLEN and not child.message.tolerant:
                    self._orphan(child, parent, now)
                    ended.append(child)
                    cancelled += 1
                else:
                    child.wait_no_more_for(parent)
                    self.line_up(child, now)
        return cancelled

    def _orphan(self, entry: Entry, parent: Entry, now: float) -> None:
        """Cancel a message because `parent`, which it waits for, has failed."""
        text = f"message {parent.id} ({parent.message.name}), which it waits for, ended as {parent.status}"
        error = ErrorRecord("TaskCancelledError", text, reason=Reason.PARENT_FAILED)
        self._end(entry, TaskStatus.CANCELLED, error.encode(), now)
        entry.orphaned = True

    def _end(self, entry: Entry, status: TaskStatus, payload: bytes, now: float) -> None:
        self._leave_line(entry)
        self.become(entry, status, now)
        entry.finished_at = now
        entry.pending = None
        entry.cancelling = False
        if status is TaskStatus.SUCCESS:
            entry.result, entry.error = payload, None
        else:
            entry.error = payload or entry.error
        self._keeper.finished(entry, now)
        self._bell.ring(("message", entry.id), remember=False)

    # Come back, and go --------------------------------------------------------------------------------------------

    def find(self, id: TaskId) -> Entry:
        """The entry of a message. Raises BackendTaskNotFoundError."""
        entry = self.known.get(id)
        if entry is None:
            raise BackendTaskNotFoundError(task_id=str(id))
        return entry

    def revive(self, entry: Entry, now: float) -> None:
        """Make a failed or cancelled message PENDING and as good as new; it does not stand in line yet."""
        self.become(entry, TaskStatus.PENDING, now)
        entry.renew()
        if entry.message.unique_key is not None and entry.holds_key(now):
            self._keys[entry.message.name, entry.message.unique_key] = entry
        self._hold(entry, now)

    def forget(self, entry: Entry) -> None:
        """Delete a finished message."""
        self._keeper.forgotten(entry)
        for parent in self.parents(entry):
            parent.remove_child(entry)
        self._count(entry, -1)
        del self.known[entry.id]
        if entry.message.unique_key is not None:
            key = entry.message.name, entry.message.unique_key
            if self._keys.get(key) is entry:
                del self._keys[key]
        if entry.held and entry.message.workflow is not None:
            self._held.get(entry.message.workflow, {}).pop(entry.id, None)

    def drop_unopened(self, now: float) -> int:
        """Cancel what was held for too long, with what waits for it; how many."""
        error = ErrorRecord("TaskCancelledError", "its workflow was put, but never started", reason=Reason.CANCELLED)
        dropped = 0
        while dropped < MAX_BATCH and (found := self._unopened.take_until(now, 1)):
            dropped += 1 + self.finish(found[0], TaskStatus.CANCELLED, error.encode(), now)
        return dropped

    def expire(self, now: float) -> tuple[int, int]:
        """Drop results and records whose time is over; how many of each."""
        results = [entry for entry in self._keeper.results(now, MAX_BATCH) if not self._parked(entry)]
        for entry in results:
            entry.result, entry.expired = None, True
        records = [entry for entry in self._keeper.records(now, MAX_BATCH) if not self._parked(entry)]
        for entry in records:
            self.forget(entry)
        return len(results), len(records)

    def _parked(self, entry: Entry) -> bool:
        """Whether the entry's workflow still runs; then it is kept until that ends."""
        end = self.known.get(entry.message.workflow) if entry.message.workflow is not None else None
        if end is None or end.status.finished:
            return False
        self._keeper.park(entry, end.id)
        return True
