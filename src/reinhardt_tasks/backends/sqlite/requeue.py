"""Bringing failed and cancelled messages back, with the dependents that were cancelled for their sake."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from reinhardt_tasks.backends.sqlite import endings, puts
from reinhardt_tasks.backends.sqlite.layout import FALLEN, HELD, STATUSES, TOLERANT, WINDOWED, Stage, stage_for
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.errors import DuplicateTaskError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TaskStatus

_SQL = statements("requeue")


class Standing(NamedTuple):
    """A message as an operator finds it."""

    no: int
    id: bytes
    name: str
    status: int
    flags: int
    worker: str | None
    seq: int
    run_at: float | None
    losses: int
    unique_key: str | None


def find(store: Store, task_id: TaskId) -> Standing | None:
    """A stored message."""
    row = store.row(_SQL["standing"], task_id)
    return None if row is None else Standing(*row)


def requeue(store: Store, ids: Sequence[TaskId]) -> list[bool]:
    """See TaskBackend.requeue."""
    found = {id: find(store, id) for id in ids}
    asked = [message for message in found.values() if message is not None]
    for message in asked:
        if message.status not in FALLEN:
            raise _refusal(message, f"is {STATUSES[message.status]}; only what failed or was cancelled can be requeued")
    back = _with_dependents(store, asked)
    _check_parents(store, asked, back)
    _check_keys(store, back.values())
    _bring_back(store, list(back.values()))
    return [found[id] is not None for id in ids]


def _refusal(message: Standing, why: str) -> TransitionError:
    task_id = str(TaskId(message.id))
    old, new = STATUSES[message.status].value, TaskStatus.PENDING.value
    return TransitionError(f"message {task_id} {why}", task_id=task_id, from_status=old, to_status=new)


def _with_dependents(store: Store, asked: Sequence[Standing]) -> dict[int, Standing]:
    """Those asked for, and what was cancelled for their sake and waits for nothing else that has fallen."""
    back = {message.no: message for message in asked}
    unseen = list(asked)
    while unseen:
        for row in store.rows(_SQL["orphans"], unseen.pop().no):
            child = Standing(*row)
            if child.no not in back and _fallen_parent(store, child, back) is None:
                back[child.no] = child
                unseen.append(child)
    return back


def _fallen_parent(store: Store, message: Standing, back: Collection[int]) -> tuple[bytes, int] | None:
    """The id and status of a parent for whose sake it cannot run, unless that is among those that come back."""
    if message.flags & TOLERANT:
        return None
    parents = store.rows(_SQL["fallen_parents"], message.no)
    return next(((id, status) for no, id, status in parents if no not in back), None)


def _check_parents(store: Store, asked: Sequence[Standing], back: Collection[int]) -> None:
    for message in asked:
        parent = _fallen_parent(store, message, back)
        if parent is not None:
            raise _refusal(message, f"waits for {TaskId(parent[0])}, which is {STATUSES[parent[1]]}; requeue that one")


def _check_keys(store: Store, back: Collection[Standing]) -> None:
    """Raise DuplicateTaskError when another message holds one of the unique keys, or two of these would."""
    taken: dict[tuple[str, str], TaskId] = {}
    for message in back:
        if message.unique_key is None:
            continue
        key = message.name, message.unique_key
        holder = puts.key_holder(store, *key)
        other = taken.get(key) if holder is None or holder[1] == message.no else holder[0]
        if other is not None:
            raise DuplicateTaskError(existing_id=str(other), unique_key=message.unique_key)
        taken[key] = TaskId(message.id)


def _bring_back(store: Store, back: Sequence[Standing]) -> None:
    numbers = [message.no for message in back]
    store.run_many(_SQL["revive"], [(no, store.now) for no in numbers])
    endings.keep_waiting(store, numbers)
    for message in back:
        if message.unique_key is not None and not message.flags & WINDOWED:
            puts.take_key(store, message.name, message.unique_key, message.no)
    for message in back:
        _line_up(store, message)


def _line_up(store: Store, message: Standing) -> None:
    store.run(_SQL["wait_again"], message.no)
    ((waiting_on,),) = store.rows(_SQL["open_edges"], message.no)
    stage = stage_for(None, store.now, blocked=waiting_on > 0 or bool(message.flags & HELD))
    seq = store.allot(1) if stage is Stage.READY else 0
    store.run(_SQL["line_up"], message.no, waiting_on, stage, seq)
    if stage is Stage.READY:
        store.wake()
