"""Giving messages to workers: the exchange, what is due, whose turn it is, and suspects alone."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from reinhardt_tasks.backends.sqlite import members
from reinhardt_tasks.backends.sqlite.layout import stage_for
from reinhardt_tasks.backends.sqlite.members import Member
from reinhardt_tasks.backends.sqlite.settle import settle
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store, as_list
from reinhardt_tasks.contract import SUSPECT_PATIENCE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Exchange, Orders, Outcome, Report, Settled

_SQL = statements("claims")
_DUE: Final = _SQL["due"]
_LINE: Final = _SQL["line"]
_ANY_SUSPECT: Final = _SQL["any_suspect"]
_NEXT_QUEUE: Final = _SQL["next_ready_queue"]
_CLAIM: Final = _SQL["claim"]

Row = tuple[Any, ...]
"""A row with the columns of the statement `line`."""
Rank = tuple[int, int, int]
"""What decides who comes first: the lowest. No two messages have the same."""


class Turn(NamedTuple):
    """What one worker asks for and hears when it exchanges."""

    worker: str
    outcomes: Sequence[Outcome]
    want: int
    queues: Sequence[str] | None
    reports: Sequence[Report] = ()
    held: Collection[TaskId] | None = None


class Heard(NamedTuple):
    """Up to where a worker knows what happened: the store's mark, and the counter of its orders."""

    mark: int = -1
    orders: int = -1


def exchange(store: Store, turn: Turn) -> tuple[Exchange, Heard]:
    """See TaskBackend.exchange."""
    members.note(store, turn.worker, turn.reports)
    settled: list[Settled] = settle(store, turn.worker, turn.outcomes) if turn.outcomes else []
    promote(store)
    member = members.find(store, turn.worker)
    if member is None:
        return Exchange([], settled, Orders(registered=False)), Heard(store.mark)
    claims = [] if turn.held is None else _unknown_to_it(store, turn.worker, turn.held)
    if turn.want > 0 and not member.draining:
        claims += _claim(store, member, turn.want, turn.queues)
    return Exchange(claims, settled, members.orders(store, member)), Heard(store.mark, member.orders)


def promote(store: Store) -> int:
    """Let what is due stand in line; how many."""
    due = store.rows(_DUE, store.now)
    if due:
        store.run_many(_SQL["promote"], [_promoted(store, *row) for row in due])
        store.wake()
    return len(due)


def _promoted(store: Store, no: int, losses: int, seq: int) -> tuple[Any, ...]:
    return no, stage_for(None, store.now, losses=losses), seq or store.allot(1), store.now if losses else None


def _unknown_to_it(store: Store, worker: str, held: Collection[TaskId]) -> list[Claim]:
    """The claims of a worker that it does not know of: an answer must have been lost."""
    known = frozenset(held)
    return _as_claims([row for row in store.rows(_SQL["held"], worker) if row[3] not in known])


def _as_claims(rows: Sequence[Row]) -> list[Claim]:
    return [
        Claim(TaskId(id), number, body or b"", attempts, losses, unknowns, run_at, no)
        for _, _, no, id, number, body, attempts, losses, unknowns, run_at in rows
    ]


def _claim(store: Store, member: Member, want: int, queues: Sequence[str] | None) -> list[Claim]:
    if member.alone is not None and store.row(_SQL["holds"], member.name, member.alone):
        return []
    rows = _choose(store, member, Line(store, queues), want)
    if rows:
        store.run(_CLAIM, member.name, store.now, as_list([row[2] for row in rows]))
    return _as_claims(rows)


# Whose turn it is -----------------------------------------------------------------------------------------------------


class Line:
    """The messages that could start now, for a worker that serves `queues`."""

    def __init__(self, store: Store, queues: Sequence[str] | None) -> None:
        self._store = store
        self._paused = {queue for (queue,) in store.rows(_SQL["paused"])}
        self._ordered = queues is not None
        """Whether within a priority the order of the queues comes before the place in line."""
        names = _ready_queues(store) if queues is None else dict.fromkeys(queues)
        self._queues = [queue for queue in names if queue not in self._paused]

    def take(self, want: int) -> list[Row]:
        """The first `want` ready messages."""
        with contextlib.ExitStack() as reading:
            lines = [reading.enter_context(self._store.reading(_LINE, queue)) for queue in self._queues]
            if len(lines) == 1:
                return list(itertools.islice(lines[0], want))
            merged = heapq.merge(*map(self._ranked, itertools.count(), lines))
            return [row for _, row in itertools.islice(merged, want)]

    def _ranked(self, position: int, rows: Iterator[Row]) -> Iterator[tuple[Rank, Row]]:
        return ((self._rank(row[0], position, row[1]), row) for row in rows)

    def _rank(self, priority: int, position: int, seq: int) -> Rank:
        return -priority, position if self._ordered else 0, seq

    def first_rank(self) -> Rank | None:
        """The rank of the ready message that comes first."""
        heads = ((at, self._store.first(_LINE, queue)) for at, queue in enumerate(self._queues))
        return min((self._rank(row[0], at, row[1]) for at, row in heads if row), default=None)

    def first_suspect(self) -> tuple[Rank, int, float] | None:
        """The suspect that comes first: its rank, its row number, and since when it has been waiting."""
        if not self._store.row(_ANY_SUSPECT):
            return None
        suspects = self._store.rows(_SQL["suspects"])
        position = self._positions({queue for queue, *_ in suspects})
        ranked = [
            (self._rank(priority, position[queue], seq), no, since)
            for queue, priority, seq, no, since in suspects
            if queue in position
        ]
        return min(ranked, default=None)

    def _positions(self, queues: Collection[str]) -> dict[str, int]:
        """Where the queues stand in the order they are served in; without those that are not."""
        if not self._ordered:
            return dict.fromkeys(set(queues) - self._paused, 0)
        return {queue: position for position, queue in enumerate(self._queues)}


def _ready_queues(store: Store) -> Iterator[str]:
    """The queues with ready messages."""
    found = store.row(_NEXT_QUEUE, "")
    while found:
        yield found[0]
        found = store.row(_NEXT_QUEUE, found[0])


def _choose(store: Store, member: Member, line: Line, want: int) -> list[Row]:
    """What the worker is given: one suspect alone, or others, or nothing as it is being emptied for a suspect."""
    suspect = line.first_suspect()
    if suspect is None:
        return line.take(want)
    rank, no, since = suspect
    overdue = store.now - since >= SUSPECT_PATIENCE
    if store.row(_SQL["holds_any"], member.name):
        return [] if overdue and _is_emptied(store, member.name, no) else line.take(want)
    first = line.first_rank()
    if overdue or first is None or rank < first:
        return _take_suspect(store, member.name, no)
    return line.take(want)


def _is_emptied(store: Store, worker: str, suspect: int) -> bool:
    """Whether this worker is the one that takes nothing more until it can take `suspect`; the first to ask is."""
    emptier = store.row(_SQL["emptier"], suspect)
    if emptier is None:
        store.run(_SQL["empty"], worker, suspect)
    return emptier is None or emptier[0] == worker


def _take_suspect(store: Store, worker: str, suspect: int) -> list[Row]:
    store.run(_SQL["emptied"], suspect)
    store.run(_SQL["run_alone"], worker, suspect)
    return store.rows(_SQL["one"], suspect)
