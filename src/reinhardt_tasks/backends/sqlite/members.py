"""Workers: their leases, what they are told, and what becomes of what the dead and the leaving hold."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from reinhardt_tasks.backends.sqlite import endings
from reinhardt_tasks.backends.sqlite.endings import Fall
from reinhardt_tasks.backends.sqlite.layout import CANCELLING, CODES, stage_for
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, ErrorRecord, Orders, Reason, Report
from reinhardt_tasks.status import TaskStatus

_SQL = statements("members")
_FAILURE: Final = CODES[TaskStatus.FAILURE]
_CANCELLED: Final = CODES[TaskStatus.CANCELLED]
_encode_beat = msgspec.msgpack.Encoder().encode


class Member(NamedTuple):
    """A registered worker. `alone` is the row number of the suspect it was given last."""

    name: str
    draining: int
    cancels: int
    orders: int
    alone: int | None


class Rescued(NamedTuple):
    """What one look at the workers came to."""

    suspected: int
    rescued: int
    poisoned: int


class Verdict(Enum):
    """What a look at one worker's last beat says."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    WATCHED = "watched"
    """Suspected before, not yet given up."""
    DEAD = "dead"


def judge(lease: float, age: float, watched: float | None) -> Verdict:
    """What to think of a worker whose last beat is `age` seconds old and which is suspected since `watched` seconds."""
    if age < lease * 2 / 3:
        return Verdict.ALIVE
    if watched is None:
        return Verdict.SUSPECT
    return Verdict.DEAD if age >= lease and watched >= lease / 3 * 1.1 else Verdict.WATCHED


# Signs of life and orders ---------------------------------------------------------------------------------------------


def beat(store: Store, sign: Beat) -> Orders:
    """See TaskBackend.beat."""
    member = find(store, sign.worker)
    known = member is not None or sign.number <= 1
    stored = msgspec.structs.replace(sign, reports=())
    store.run(_SQL["enlist"], sign.worker, _encode_beat(stored), sign.lease, store.steady)
    note(store, sign.worker, sign.reports)
    told = orders(store, member, registered=known)
    if sign.leaving:
        _dismiss(store, sign.worker, lost=False)
    return told


def find(store: Store, worker: str) -> Member | None:
    """A registered worker."""
    row = store.row(_SQL["member"], worker)
    return None if row is None else Member(*row)


def note(store: Store, worker: str, reports: Sequence[Report]) -> None:
    """Store the progress of what the worker holds."""
    rows = [(it.locator, it.id, worker, it.number, it.progress, store.now) for it in reports]
    if rows:
        store.run_many(_SQL["note_progress"], rows)
        store.run_many(_SQL["note_progress_by_id"], [row for row in rows if not row[0]])


def orders(store: Store, member: Member | None, *, registered: bool = True) -> Orders:
    """What the worker is told."""
    if member is None:
        return Orders(registered=registered)
    cancel: tuple[TaskId, ...] = ()
    if member.cancels:
        cancel = tuple(TaskId(id) for (id,) in store.rows(_SQL["cancelling"], member.name))
        if not cancel:
            store.run(_SQL["cancelled_all"], member.name)
    return Orders(cancel, bool(member.draining), registered)


def order_cancel(store: Store, worker: str) -> None:
    """Tell a worker that something it holds is to be cancelled."""
    store.run(_SQL["order_cancel"], worker)
    store.wake()


def order_drain(store: Store, worker: str) -> bool:
    """See TaskBackend.drain."""
    store.run(_SQL["order_drain"], worker)
    known = store.changed() > 0
    if known:
        store.wake()
    return known


# The dead and the leaving ---------------------------------------------------------------------------------------------


def rescue(store: Store) -> Rescued:
    """Suspect the silent and give up the dead, until MAX_BATCH messages are rescued."""
    suspected = rescued = poisoned = 0
    for worker, lease, beat_at, suspected_at in store.rows(_SQL["all_workers"]):
        if max(beat_at, suspected_at or 0.0) > store.steady:
            store.run(_SQL["correct_clock"], worker, store.steady)
            continue
        watched = None if suspected_at is None else store.steady - suspected_at
        verdict = judge(lease, store.steady - beat_at, watched)
        if verdict is Verdict.SUSPECT:
            store.run(_SQL["suspect"], worker, store.steady)
            suspected += 1
        elif verdict is Verdict.DEAD and rescued + poisoned < MAX_BATCH:
            back, poison = _dismiss(store, worker, lost=True)
            rescued += back
            poisoned += poison
    return Rescued(suspected, rescued, poisoned)


def _dismiss(store: Store, worker: str, *, lost: bool) -> tuple[int, int]:
    """Take a worker off the list; how many messages it held go back, and how many are poison instead."""
    store.run(_SQL["dismiss"], worker)
    store.wake()
    back: list[tuple[Any, ...]] = []
    falls: list[Fall] = []
    poison = 0
    for no, flags, losses, max_losses, seq, run_at in store.rows(_SQL["holdings"], worker):
        seen = losses + lost
        if flags & CANCELLING:
            falls.append((no, _CANCELLED, None, False, None, store.now, 0))
        elif lost and seen >= max_losses:
            falls.append((no, _FAILURE, None, False, _poison(seen, worker), store.now, 0))
            poison += 1
        else:
            stage = stage_for(run_at, store.now, losses=seen)
            back.append((no, stage, seq or store.allot(1), lost, store.now))
    store.run_many(_SQL["give_back"], back)
    if falls:
        if lost:
            store.run_many(_SQL["count_loss"], [(row[0],) for row in falls])
        endings.fall(store, falls, [row[0] for row in falls])
    return len(back) + len(falls) - poison, poison


def _poison(losses: int, worker: str) -> bytes:
    text = f"{losses} workers died while they ran it, the last one was {worker}"
    return ErrorRecord("WorkerLostError", text, reason=Reason.POISON).encode()
