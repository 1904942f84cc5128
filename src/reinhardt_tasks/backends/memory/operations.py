"""What operators do to messages of the memory backend: cancel, requeue, move, purge, delete.

Everything here runs while the store's lock is held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reinhardt_tasks.backends.memory.entries import Entry
from reinhardt_tasks.backends.memory.messages import Messages
from reinhardt_tasks.backends.memory.workers import Workers
from reinhardt_tasks.errors import DuplicateTaskError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.status import FALLEN, TaskStatus, check_transition


class Operations:
    """The operators' guarded steps."""

    def __init__(self, messages: Messages, workers: Workers) -> None:
        self._messages = messages
        self._workers = workers

    def cancel(self, ids: Sequence[TaskId], error: bytes, now: float) -> list[TaskStatus | None]:
        """See TaskBackend.cancel."""
        return [self._cancel(self._messages.known.get(id), error, now) for id in ids]

    def _cancel(self, entry: Entry | None, error: bytes, now: float) -> TaskStatus | None:
        if entry is None:
            return None
        if entry.status is TaskStatus.RUNNING:
            entry.error = error or entry.error
            self._workers.order_cancel(entry)
        elif not entry.status.finished:
            self._messages.finish(entry, TaskStatus.CANCELLED, error, now)
        return entry.status

    def requeue(self, ids: Sequence[TaskId], now: float) -> list[bool]:
        """See TaskBackend.requeue."""
        known = self._messages.known
        asked = [known[id] for id in dict.fromkeys(ids) if id in known]
        for entry in asked:
            if entry.status not in FALLEN:
                raise TransitionError(
                    f"message {entry.id} is {entry.status}; only what failed or was cancelled can be requeued",
                    task_id=str(entry.id),
                    from_status=entry.status.value,
                    to_status=TaskStatus.PENDING.value,
                )
        back = self._with_dependents(asked)
        self._check_parents(asked, back)
        self._check_keys(back, now)
        for entry in back.values():
            self._messages.revive(entry, now)
        for entry in back.values():
            self._messages.join_parents(entry)
            self._messages.line_up(entry, now)
        return [id in known for id in ids]

    def _with_dependents(self, asked: Sequence[Entry]) -> dict[TaskId, Entry]:
        """Those asked for, and what was cancelled for their sake and waits for nothing else that has fallen."""
        back = {entry.id: entry for entry in asked}
        unseen = list(asked)
        while unseen:
            for child in (unseen.pop().children or {}).values():
                if child.orphaned and child.id not in back and self._fallen_parent(child, back) is None:
                    back[child.id] = child
                    unseen.append(child)
        return back

    def _fallen_parent(self, entry: Entry, back: Collection[TaskId]) -> Entry | None:
        """A parent for whose sake `entry` cannot run, unless it is among those that come back."""
        if entry.message.tolerant:
            return None
        parents = self._messages.parents(entry)
        return next((parent for parent in parents if parent.status in FALLEN and parent.id not in back), None)

    def _check_parents(self, asked: Sequence[Entry], back: Collection[TaskId]) -> None:
        for entry in asked:
            parent = self._fallen_parent(entry, back)
            if parent is not None:
                raise TransitionError(
                    f"message {entry.id} waits for {parent.id}, which is {parent.status}; requeue that one",
                    task_id=str(entry.id),
                    from_status=entry.status.value,
                    to_status=TaskStatus.PENDING.value,
                )

    def _check_keys(self, back: dict[TaskId, Entry], now: float) -> None:
        taken: dict[tuple[str, str], TaskId] = {}
        for entry in back.values():
            if entry.message.unique_key is None:
                continue
            key = entry.message.name, entry.message.unique_key
            holder = self._messages.key_holder(key, now)
            other = taken.get(key) if holder is None or holder is entry else holder.id
            if other is not None:
                raise DuplicateTaskError(existing_id=str(other), unique_key=entry.message.unique_key)
            taken[key] = entry.id

    def move(self, task_id: TaskId, status: TaskStatus, payload: bytes, now: float) -> None:
        """See TaskBackend.move."""
        entry = self._messages.find(task_id)
        if status is TaskStatus.RUNNING:
            raise TransitionError(
                f"message {task_id} cannot be moved to running: a worker takes it by a claim",
                task_id=str(task_id),
                from_status=entry.status.value,
                to_status=status.value,
            )
        check_transition(entry.status, status, task_id=str(task_id))
        if entry.status.finished:
            self.requeue((task_id,), now)
            return
        self._workers.let_go(entry)
        if status.finished:
            self._messages.finish(entry, status, payload, now)
        else:
            self._give_back(entry, status, payload, now)

    def _give_back(self, entry: Entry, status: TaskStatus, payload: bytes, now: float) -> None:
        """Let a running message run again, in its old place (PENDING) or in a new one (RETRY)."""
        entry.worker = None
        entry.cancelling = False
        if status is TaskStatus.RETRY:
            entry.error = payload or entry.error
            entry.place = 0
        self._messages.become(entry, status, now)
        self._messages.line_up(entry, now)

    def purge(self, queue: str, statuses: Collection[TaskStatus], now: float) -> int:
        """See TaskBackend.purge."""
        doomed = [
            entry
            for entry in self._messages.known.values()
            if entry.message.queue == queue and entry.status in statuses and entry.status is not TaskStatus.RUNNING
        ]
        error = ErrorRecord("TaskCancelledError", f"queue {queue} was purged", reason=Reason.CANCELLED).encode()
        for entry in doomed:
            if not entry.status.finished:
                self._messages.finish(entry, TaskStatus.CANCELLED, error, now)
        for entry in doomed:
            self._messages.forget(entry)
        return len(doomed)

    def delete(self, ids: Sequence[TaskId]) -> int:
        """See TaskBackend.delete."""
        known = self._messages.known
        doomed = [known[id] for id in dict.fromkeys(ids) if id in known and known[id].status.finished]
        for entry in doomed:
            self._messages.forget(entry)
        return len(doomed)
