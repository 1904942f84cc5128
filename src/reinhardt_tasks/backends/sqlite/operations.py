"""What operators do to messages: cancel, move, pause, purge, delete, and start a workflow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from reinhardt_tasks.backends.sqlite import endings, members
from reinhardt_tasks.backends.sqlite.forget import forget
from reinhardt_tasks.backends.sqlite.layout import CODES, KEEPER, PARENT, STATUSES, Stage, stage_for
from reinhardt_tasks.backends.sqlite.requeue import Standing, find, requeue
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.contract import HELD_TTL, MAX_BATCH
from reinhardt_tasks.errors import BackendTaskNotFoundError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.status import TaskStatus, check_transition

PURGED_AT_ONCE: Final = 10 * MAX_BATCH
"""The most messages one step of `purge` deletes."""
_SQL = statements("operations")
_CANCELLED: Final = CODES[TaskStatus.CANCELLED]
_TOLD: Final = PARENT | KEEPER


def cancel(store: Store, ids: Sequence[TaskId], error: bytes) -> list[TaskStatus | None]:
    """See TaskBackend.cancel."""
    return [_cancel(store, find(store, id), error or None) for id in ids]


def _cancel(store: Store, message: Standing | None, error: bytes | None) -> TaskStatus | None:
    if message is None:
        return None
    status = STATUSES[message.status]
    if status is TaskStatus.RUNNING:
        store.run(_SQL["order_cancel"], message.no, error)
        members.order_cancel(store, message.worker or "")
    elif not status.finished:
        _finish(store, message, TaskStatus.CANCELLED, error)
        return TaskStatus.CANCELLED
    return status


def _finish(store: Store, message: Standing, status: TaskStatus, payload: bytes | None) -> None:
    """End a message by an operator's hand: no claim is settled by it."""
    told = [message.no] if message.flags & _TOLD else []
    if status is TaskStatus.SUCCESS:
        endings.succeed(store, [(message.no, None, payload or b"", store.now)], told)
    else:
        endings.fall(store, [(message.no, CODES[status], None, False, payload, store.now, 0)], told)


def move(store: Store, task_id: TaskId, status: TaskStatus, payload: bytes) -> None:
    """See TaskBackend.move."""
    message = find(store, task_id)
    if message is None:
        raise BackendTaskNotFoundError(task_id=str(task_id))
    old = STATUSES[message.status]
    if status is TaskStatus.RUNNING:
        raise TransitionError(
            f"message {task_id} cannot be moved to running: a worker takes it by a claim",
            task_id=str(task_id),
            from_status=old.value,
            to_status=status.value,
        )
    check_transition(old, status, task_id=str(task_id))
    if old.finished:
        requeue(store, (task_id,))
    elif status.finished:
        _finish(store, message, status, payload or None)
    else:
        _move_back(store, message, status, payload or None)


def _move_back(store: Store, message: Standing, status: TaskStatus, error: bytes | None) -> None:
    """Let a running message run again, in its old place (PENDING) or in a new one (RETRY)."""
    retry = status is TaskStatus.RETRY
    stage = stage_for(message.run_at, store.now, losses=message.losses)
    seq = store.allot(1) if retry or not message.seq else message.seq
    store.run(_SQL["move_back"], message.no, stage, CODES[status], seq, error if retry else None, store.now)
    store.wake()


# Queues and workflows -------------------------------------------------------------------------------------------------


def pause(store: Store, queue: str) -> None:
    """See TaskBackend.pause."""
    store.run(_SQL["pause"], queue)


def resume(store: Store, queue: str) -> None:
    """See TaskBackend.resume."""
    store.run(_SQL["resume"], queue)
    store.wake()


def start_workflow(store: Store, workflow: TaskId) -> bool:
    """See TaskBackend.start_workflow."""
    held = store.rows(_SQL["held_of"], workflow)
    store.run_many(_SQL["unhold"], [_unheld(store, row) for row in held])
    return bool(held)


def _unheld(store: Store, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of the statement `unhold` for a row of `held_of`; one that was cancelled meanwhile stays so."""
    no, stage, waiting_on, run_at, seq = row
    if stage == Stage.BLOCKED:
        stage = stage_for(run_at, store.now, blocked=waiting_on > 0)
        if stage is Stage.READY:
            seq = seq or store.allot(1)
            store.wake()
        store.rings = True
    return no, stage, seq


def drop_unopened(store: Store) -> int:
    """Cancel what was held for too long, with what waits for it; how many."""
    held = store.rows(_SQL["held_too_long"], store.now - HELD_TTL, MAX_BATCH)
    if not held:
        return 0
    text = "its workflow was put, but never started"
    error = ErrorRecord("TaskCancelledError", text, reason=Reason.CANCELLED).encode()
    falls = [(no, _CANCELLED, None, False, error, store.now, 0) for no, _ in held]
    return len(held) + endings.fall(store, falls, [no for no, flags in held if flags & _TOLD])


# Deleting -------------------------------------------------------------------------------------------------------------


def purge_some(store: Store, queue: str, statuses: Collection[TaskStatus]) -> int:
    """Delete at most PURGED_AT_ONCE messages of a queue, cancelling what waits for them; how many."""
    bits = sum(1 << CODES[status] for status in set(statuses) - {TaskStatus.RUNNING})
    doomed = store.rows(_SQL["of_queue"], queue, bits, PURGED_AT_ONCE)
    text = f"queue {queue} was purged"
    error = ErrorRecord("TaskCancelledError", text, reason=Reason.CANCELLED).encode()
    told = [no for no, flags, stage in doomed if flags & _TOLD and stage != Stage.ENDED]
    if told:
        endings.fall(store, [(no, _CANCELLED, None, False, error, store.now, 0) for no in told], told)
    forget(store, [no for no, _, _ in doomed])
    return len(doomed)


def delete(store: Store, ids: Sequence[TaskId]) -> int:
    """See TaskBackend.delete."""
    doomed = [no for (no,) in store.each(_SQL["ended"], [(id,) for id in dict.fromkeys(ids)])]
    forget(store, doomed)
    return len(doomed)
