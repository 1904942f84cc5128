"""Finishing messages, and telling those that wait for them: counted down by a success, cancelled by a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from reinhardt_tasks.backends.sqlite.layout import CODES, HELD, ORPHANED, PARENT, STATUSES, Stage, stage_for
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store, as_list
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.status import TaskStatus

_SQL = statements("endings")
_CANCELLED: Final = CODES[TaskStatus.CANCELLED]

Success = tuple[int, int | None, bytes, float]
"""The values of the statement `succeed`."""
Fall = tuple[int, int, int | None, bool, bytes | None, float, int]
"""The values of the statement `fall`."""


class Parent(NamedTuple):
    """A message that others wait for."""

    no: int
    id: bytes
    name: str
    status: int


def succeed(store: Store, successes: Sequence[Success], told: Sequence[int]) -> None:
    """Finish messages; those in `told` (row numbers) have others that wait for them or are kept for them."""
    store.run_many(_SQL["succeed"], successes)
    store.ends = True
    tell_successes(store, told)


def tell_successes(store: Store, told: Sequence[int]) -> None:
    """Those that wait for these messages, which have just succeeded, or are kept for them, do so no more."""
    if told:
        count_down(store, told)
        store.run(_SQL["release_kept"], as_list(told))


def fall(store: Store, falls: Sequence[Fall], told: Sequence[int]) -> int:
    """As `succeed`, for messages that fail or are cancelled; how many others are cancelled for their sake, so far."""
    store.run_many(_SQL["fall"], falls)
    store.run(_SQL["close_edges_of_children"], as_list([row[0] for row in falls]))
    store.ends = True
    if not told:
        return 0
    parents = [Parent(*row) for row in store.rows(_SQL["parents"], as_list(told))]
    store.run(_SQL["release_kept"], as_list(told))
    count_down(store, told, tolerant=True)
    cancelled, rest = _cancel_dependents(store, parents, MAX_BATCH)
    store.run_many(_SQL["note_fallen"], rest)
    return cancelled


def cancel_rest(store: Store) -> int:
    """Go on where `fall` stopped; how many messages were cancelled."""
    parents = [Parent(*row) for row in store.rows(_SQL["some_fallen"], MAX_BATCH)]
    if not parents:
        return 0
    cancelled, rest = _cancel_dependents(store, parents, MAX_BATCH)
    done = as_list([parent.no for parent in parents if parent not in rest])
    store.run(_SQL["forget_fallen"], done)
    store.run(_SQL["forget_edges"], done)
    store.run_many(_SQL["note_fallen"], rest)
    return cancelled


def keep_waiting(store: Store, numbers: Sequence[int]) -> None:
    """The messages come back: whoever still waits for them is not to be cancelled."""
    store.run(_SQL["forget_fallen"], as_list(numbers))


def forget_edges(store: Store, numbers: Sequence[int]) -> None:
    """Drop what is known of who waited for messages that are gone."""
    store.run(_SQL["forget_edges"], as_list(numbers))


def orphan_new(store: Store, no: int, parent: Parent) -> None:
    """Cancel the message `no`, just stored, because a parent had failed already."""
    _orphan(store, [no], parent)


def count_down(store: Store, parents: Sequence[int], *, tolerant: bool = False) -> None:
    """Those that wait for `parents` do so no more (`tolerant`: only those that would bear a failure)."""
    children = store.rows(_SQL["waiting_children"], as_list(parents), tolerant)
    if not children:
        return
    store.run(_SQL["close_edges"], as_list(parents), as_list([child[0] for child in children]))
    store.run_many(_SQL["count_down"], [_counted_down(store, child) for child in children])


def _counted_down(store: Store, child: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of the statement `count_down` for a row of `waiting_children`."""
    no, ended, flags, waiting_on, run_at, seq = child
    left = waiting_on - ended
    stage = stage_for(run_at, store.now, blocked=left > 0 or bool(flags & HELD))
    if stage is Stage.READY:
        store.wake()
        seq = seq or store.allot(1)
    elif stage is Stage.LATER:
        store.rings = True
    return no, left, stage, seq


def _cancel_dependents(store: Store, parents: Sequence[Parent], budget: int) -> tuple[int, list[Parent]]:
    """Cancel at most `budget` of what waits for `parents`, and for that in turn; how many, and whose are left."""
    waiting, cancelled = list(parents), 0
    while waiting and cancelled < budget:
        parent = waiting.pop()
        room = budget - cancelled
        children = store.rows(_SQL["dependents"], parent.no, room)
        if len(children) == room:
            waiting.append(parent)
        cancelled += len(children)
        if children:
            _orphan(store, [child[0] for child in children], parent)
            waiting += _tell_next(store, children)
    return cancelled, waiting


def _tell_next(store: Store, children: Sequence[tuple[Any, ...]]) -> list[Parent]:
    """Of messages just cancelled, those that others wait for; the tolerant among these are counted down."""
    store.run(_SQL["release_kept"], as_list([child[0] for child in children]))
    told = [Parent(no, id, name, _CANCELLED) for no, id, name, flags in children if flags & PARENT]
    if told:
        count_down(store, [parent.no for parent in told], tolerant=True)
    return told


def _orphan(store: Store, numbers: Sequence[int], parent: Parent) -> None:
    ended = f"message {TaskId(parent.id)} ({parent.name}), which it waits for, ended as {STATUSES[parent.status]}"
    error = ErrorRecord("TaskCancelledError", ended, reason=Reason.PARENT_FAILED).encode()
    store.run_many(_SQL["fall"], [(no, _CANCELLED, None, False, error, store.now, ORPHANED) for no in numbers])
    store.run(_SQL["close_edges_of_children"], as_list(numbers))
    store.ends = True
