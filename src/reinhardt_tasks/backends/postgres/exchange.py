"""Packing and unpacking an exchange: outcomes and reports there, the fence's word and claims back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from reinhardt_tasks.backends.postgres.arrays import Blobs, Booleans, Floats, Integers, Texts, Uuids
from reinhardt_tasks.errors import BackendExecutionFailedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, ErrorRecord, Exchange, Orders, Outcome, OutcomeKind, Reason, Report, Settled

_SUCCESS: Final = OutcomeKind.SUCCESS
_MOST: Final = 1 << 31
"""No claim has a number as high as this."""


class Turn(NamedTuple):
    """What one worker asks for and hears when it exchanges."""

    worker: str
    outcomes: Sequence[Outcome]
    want: int
    queues: Sequence[str] | None
    sequence: int
    reports: Sequence[Report] = ()
    held: Collection[TaskId] | None = None


class Heard(NamedTuple):
    """What a worker knew after its last exchange. `withheld`: not all that was ready was on offer to it."""

    registered: bool | None = None
    draining: bool = False
    cancel: frozenset[TaskId] = frozenset()
    withheld: bool = False
    mark: int = -1


class Answer(NamedTuple):
    """A row of the function `exchange`."""

    overtaken: bool
    settled: list[bytes] | None
    before: list[bytes] | None
    registered: bool
    draining: bool | None
    cancel: list[bytes] | None
    withheld: bool
    mark: int | None
    rings: list[str] | None
    ids: list[bytes] | None
    numbers: list[int]
    bodies: list[bytes]
    attempts: list[int]
    losses: list[int]
    unknowns: list[int]
    run_ats: list[float | None]

    def claims(self) -> list[Claim]:
        """What the worker is given."""
        if self.ids is None:
            return []
        columns = (self.numbers, self.bodies, self.attempts, self.losses, self.unknowns, self.run_ats)
        return list(map(Claim, map(TaskId, self.ids), *columns))

    def orders(self) -> Orders:
        """What the worker is told."""
        return Orders(tuple(map(TaskId, self.cancel or ())), bool(self.draining), self.registered)

    def heard(self) -> Heard:
        """What the worker knows now."""
        return Heard(
            self.registered,
            bool(self.draining),
            frozenset(map(TaskId, self.cancel or ())),
            self.withheld,
            self.mark or -1,
        )


def pack(turn: Turn) -> list[Any]:
    """The values of the function `exchange`."""
    first = list(_firsts(turn.outcomes))
    successes = [outcome for outcome in first if outcome.kind is _SUCCESS]
    others = [outcome for outcome in first if outcome.kind is not _SUCCESS]
    reports = [report for report in turn.reports if 0 < report.number < _MOST]
    return [
        turn.worker,
        turn.sequence,
        Uuids.of([outcome.id for outcome in successes]),
        Integers.of([outcome.number for outcome in successes]),
        Blobs.of([outcome.payload for outcome in successes]),
        Uuids.of([outcome.id for outcome in others]),
        Integers.of([outcome.number for outcome in others]),
        Integers.of([outcome.kind.value for outcome in others]),
        Blobs.of([outcome.payload for outcome in others]),
        Floats.of([outcome.delay for outcome in others]),
        Booleans.of([outcome.unknown for outcome in others]),
        Uuids.of([report.id for report in reports]),
        Integers.of([report.number for report in reports]),
        Blobs.of([report.progress for report in reports]),
        max(0, turn.want),
        None if turn.queues is None else Texts.of(dict.fromkeys(turn.queues)),
        None if turn.held is None else Uuids.of(turn.held),
    ]


def _firsts(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """The outcomes without those of a token that has one before it, and without numbers that were never given."""
    seen: set[tuple[TaskId, int]] = set()
    for outcome in outcomes:
        token = outcome.id, outcome.number
        if token not in seen and 0 < outcome.number < _MOST:
            seen.add(token)
            yield outcome


def verdicts(outcomes: Sequence[Outcome], answer: Answer) -> list[Settled]:
    """The fence's word on each outcome. A repeat within the call is told as one after it."""
    settled = None if answer.settled is None else frozenset(answer.settled)
    before = frozenset(answer.before or ())
    if settled is None and len({(outcome.id, outcome.number) for outcome in outcomes}) == len(outcomes):
        return [Settled.SETTLED if 0 < outcome.number < _MOST else Settled.LOST for outcome in outcomes]
    return list(_verdicts(outcomes, settled, before))


def _verdicts(
    outcomes: Sequence[Outcome], settled: frozenset[bytes] | None, before: frozenset[bytes]
) -> Iterator[Settled]:
    said: set[tuple[TaskId, int]] = set()
    for outcome in outcomes:
        token = outcome.id, outcome.number
        if not 0 < outcome.number < _MOST:
            yield Settled.LOST
        elif settled is None or outcome.id in settled:
            yield Settled.ALREADY if token in said else Settled.SETTLED
        else:
            yield Settled.ALREADY if outcome.id in before else Settled.LOST
        said.add(token)


def unpack(turn: Turn, answer: Answer) -> Exchange:
    """The answer to the worker."""
    if answer.overtaken:
        return Exchange([], [Settled.LOST] * len(turn.outcomes), Orders())
    return Exchange(answer.claims(), verdicts(turn.outcomes, answer), answer.orders())


def refused(outcome: Outcome, error: BaseException) -> Outcome:
    """The failure that stands for an outcome the database refuses."""
    text = f"the outcome cannot be stored: {type(error).__name__}: {error}"
    record = ErrorRecord(BackendExecutionFailedError.__name__, text, reason=Reason.BAD_RESULT)
    return msgspec.structs.replace(outcome, kind=OutcomeKind.FAILURE, payload=record.encode(), delay=0.0)
