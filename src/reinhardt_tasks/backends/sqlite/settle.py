"""Settling: what the fence says to each outcome, and what becomes of the messages, in few statements for many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from reinhardt_tasks.backends.sqlite import endings
from reinhardt_tasks.backends.sqlite.endings import Fall, Success
from reinhardt_tasks.backends.sqlite.faults import DATA_ERRORS
from reinhardt_tasks.backends.sqlite.layout import CANCELLING, CODES, KEEPER, PARENT, Stage, stage_for
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store, as_list
from reinhardt_tasks.errors import BackendExecutionFailedError
from reinhardt_tasks.message import ErrorRecord, Outcome, OutcomeKind, Reason, Settled
from reinhardt_tasks.status import TaskStatus

_SQL = statements("settle")
_SUCCEED_ALIKE: Final = _SQL["succeed_alike"]
_SUCCEED_ONE: Final = _SQL["succeed_one"]
_ALIKE: Final = 8
"""From so many same results on, one statement for all is quicker than one for each."""
_CLAIMED: Final = Stage.CLAIMED.value
_TOLD: Final = PARENT | KEEPER
_SUCCESS: Final = OutcomeKind.SUCCESS
_FALLS: Final = {
    OutcomeKind.FAILURE: CODES[TaskStatus.FAILURE],
    OutcomeKind.CANCELLED: CODES[TaskStatus.CANCELLED],
}


def settle(store: Store, worker: str, outcomes: Sequence[Outcome]) -> list[Settled]:
    """What the fence says to each outcome, which is carried out. One that cannot be stored becomes a failure."""
    try:
        with store.savepoint():
            return _settle(store, worker, outcomes)
    except DATA_ERRORS as error:
        if len(outcomes) == 1:
            return _settle_each(store, worker, (_refused(outcomes[0], error),))
    middle = len(outcomes) // 2
    return settle(store, worker, outcomes[:middle]) + settle(store, worker, outcomes[middle:])


def _refused(outcome: Outcome, error: Exception) -> Outcome:
    """The failure that stands for an outcome the database refuses."""
    text = f"the outcome cannot be stored: {type(error).__name__}: {error}"
    record = ErrorRecord(BackendExecutionFailedError.__name__, text, reason=Reason.BAD_RESULT)
    return msgspec.structs.replace(outcome, kind=OutcomeKind.FAILURE, payload=record.encode(), delay=0.0)


def _settle(store: Store, worker: str, outcomes: Sequence[Outcome]) -> list[Settled]:
    """The successes at once, if the fence has nothing to say against any of them; the others each by itself."""
    successes = [outcome for outcome in outcomes if outcome.kind is _SUCCESS]
    if not successes or not _succeed(store, worker, successes):
        return _settle_each(store, worker, outcomes)
    others = [outcome for outcome in outcomes if outcome.kind is not _SUCCESS]
    if not others:
        return [Settled.SETTLED] * len(outcomes)
    answers = iter(_settle_each(store, worker, others))
    return [Settled.SETTLED if outcome.kind is _SUCCESS else next(answers) for outcome in outcomes]


# Successes at once ----------------------------------------------------------------------------------------------------


class _NotAtOnceError(Exception):
    """The fence refuses one of them."""


def _succeed(store: Store, worker: str, successes: Sequence[Outcome]) -> bool:
    """Finish the messages of all these claims; False, with nothing done, when one of them no longer stands."""
    before = store.connection.total_changes()
    try:
        with store.savepoint():
            _write_successes(store, worker, successes)
            if store.connection.total_changes() - before != len(successes):
                raise _NotAtOnceError
    except _NotAtOnceError:
        return False
    store.ends = True
    if store.row(_SQL["any_workflow"]):
        told = [no for (no,) in store.rows(_SQL["told"], as_list([outcome.locator for outcome in successes]))]
        endings.tell_successes(store, told)
    return True


def _write_successes(store: Store, worker: str, successes: Sequence[Outcome]) -> None:
    """Results that are the same, such as that of tasks without one, go by one statement."""
    alike: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for outcome in successes:
        alike[outcome.number, outcome.payload].append(outcome.locator)
    single = []
    for (number, payload), numbers in alike.items():
        if len(numbers) >= _ALIKE:
            store.run(_SUCCEED_ALIKE, worker, number, payload, store.now, as_list(numbers))
        else:
            single += [(worker, number, payload, store.now, no) for no in numbers]
    if single:
        store.run_many(_SUCCEED_ONE, single)


# Each by itself -------------------------------------------------------------------------------------------------------


def _settle_each(store: Store, worker: str, outcomes: Sequence[Outcome]) -> list[Settled]:
    numbers = [outcome.locator for outcome in outcomes]
    if 0 in numbers:
        known = dict(store.each(_SQL["number_of"], [(outcome.id,) for outcome in outcomes]))
        numbers = [outcome.locator or known.get(outcome.id, 0) for outcome in outcomes]
    rows = {row[0]: row for row in store.rows(_SQL["offered"], as_list(numbers))}
    verdicts = Verdicts(store, worker)
    settled = [verdicts.pass_on(outcome, rows.get(no)) for no, outcome in zip(numbers, outcomes, strict=True)]
    verdicts.carry_out()
    return settled


class Verdicts:
    """Sorts the outcomes of one worker by what has to be done, then does it."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._now = store.now
        self._worker = worker
        self._taken: set[int] = set()
        self._successes: list[Success] = []
        self._falls: dict[int, list[Fall]] = {code: [] for code in _FALLS.values()}
        self._again: list[tuple[Outcome, tuple[Any, ...]]] = []
        self._told: list[int] = []

    def pass_on(self, outcome: Outcome, row: tuple[Any, ...] | None) -> Settled:
        """The fence's word on `outcome`, whose message stands as `row` says; noted down if it is to be carried out."""
        if row is None or row[1] != outcome.id:
            return Settled.LOST
        no, _, stage, claims, holder, settled, settler, flags, *_ = row
        if stage != _CLAIMED or claims != outcome.number or holder != self._worker:
            repeated = settled == outcome.number and settler == self._worker
            return Settled.ALREADY if repeated else Settled.LOST
        if no in self._taken:
            return Settled.ALREADY
        self._taken.add(no)
        if flags & _TOLD:
            self._told.append(no)
        if outcome.kind is _SUCCESS:
            self._successes.append((no, claims, outcome.payload, self._now))
        else:
            self._note(outcome, row)
        return Settled.SETTLED

    def _note(self, outcome: Outcome, row: tuple[Any, ...]) -> None:
        no, claims, flags = row[0], row[3], row[7]
        raised = outcome.kind is OutcomeKind.FAILURE or outcome.kind is OutcomeKind.RETRY
        if outcome.kind in _FALLS:
            fall = (no, _FALLS[outcome.kind], claims, raised, outcome.payload or None, self._now, 0)
            self._falls[_FALLS[outcome.kind]].append(fall)
        elif flags & CANCELLING:
            cancelled = CODES[TaskStatus.CANCELLED]
            self._falls[cancelled].append((no, cancelled, claims, raised, None, self._now, 0))
        else:
            self._again.append((outcome, row))

    def _run_again(self, outcome: Outcome, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of `run_again`: a retry or a delayed release gets a new place in line, another release its own."""
        no, losses, seq, run_at = row[0], *row[8:]
        retry = outcome.kind is OutcomeKind.RETRY
        if retry or outcome.delay > 0:
            run_at, seq = self._now + outcome.delay, 0
        stage = stage_for(run_at, self._now, losses=losses)
        if stage is Stage.LATER:
            self._store.rings = True
        else:
            self._store.wake()
            seq = seq or self._store.allot(1)
        status = CODES[TaskStatus.RETRY if retry else TaskStatus.PENDING]
        error = outcome.payload if retry else None
        return no, stage, status, retry, outcome.unknown, run_at, seq, error, self._now

    def carry_out(self) -> None:
        """Write what was noted down."""
        told = set(self._told)
        if self._successes:
            endings.succeed(self._store, self._successes, [row[0] for row in self._successes if row[0] in told])
        for falls in self._falls.values():
            if falls:
                endings.fall(self._store, falls, [row[0] for row in falls if row[0] in told])
        if self._again:
            self._store.run_many(_SQL["run_again"], [self._run_again(*note) for note in self._again])
