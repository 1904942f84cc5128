"""The workers of the memory backend: leases, claims, the fence, and what becomes of the dead.

Everything here runs while the store's lock is held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from reinhardt_tasks.backends.memory.bell import Bell
from reinhardt_tasks.backends.memory.entries import Entry
from reinhardt_tasks.backends.memory.messages import Messages
from reinhardt_tasks.contract import MAX_BATCH, SUSPECT_PATIENCE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    Beat,
    ErrorRecord,
    Exchange,
    Orders,
    Outcome,
    OutcomeKind,
    Reason,
    Report,
    Settled,
    WorkerRecord,
)
from reinhardt_tasks.status import TaskStatus

_ENDS = {
    OutcomeKind.SUCCESS: TaskStatus.SUCCESS,
    OutcomeKind.FAILURE: TaskStatus.FAILURE,
    OutcomeKind.CANCELLED: TaskStatus.CANCELLED,
}


@dataclass(slots=True, eq=False)
class Member:
    """One registered worker: its last beat, what it holds, and what it is told."""

    beat: Beat
    beat_at: float
    suspected_at: float | None = None
    holds: dict[TaskId, Entry] = field(default_factory=dict)
    cancels: set[TaskId] = field(default_factory=set)
    draining: bool = False
    heard: int = 0
    """The bell's count at its last exchange."""

    def heard_at(self) -> float:
        """When its beat came, or was missed."""
        return self.beat_at if self.suspected_at is None else self.suspected_at

    @property
    def runs_suspect(self) -> bool:
        """Whether it holds a message that is run alone."""
        return len(self.holds) == 1 and next(iter(self.holds.values())).losses > 0

    def orders(self, *, registered: bool = True) -> Orders:
        """What it is told now."""
        return Orders(tuple(self.cancels), self.draining, registered)


class Workers:
    """All registered workers."""

    def __init__(self, messages: Messages, bell: Bell) -> None:
        self.members: dict[str, Member] = {}
        self.paused: set[str] = set()
        """The queues from which nothing is given out."""
        self._messages = messages
        self._bell = bell

    # Leases -------------------------------------------------------------------------------------------------------

    def beat(self, beat: Beat, now: float) -> Orders:
        """See TaskBackend.beat."""
        member = self.members.get(beat.worker)
        known = member is not None or beat.number <= 1
        if member is None:
            member = self.members[beat.worker] = Member(beat, now)
        member.beat, member.beat_at, member.suspected_at = beat, now, None
        for report in beat.reports:
            self._note(beat.worker, report, now)
        if beat.leaving:
            self._dismiss(member, now, lost=False)
        return member.orders(registered=known)

    def records(self) -> list[WorkerRecord]:
        """See TaskBackend.workers."""
        return [
            WorkerRecord(
                beat=member.beat,
                beat_at=member.beat_at,
                claims=len(member.holds),
                suspected=member.suspected_at is not None,
            )
            for _, member in sorted(self.members.items())
        ]

    def rescue(self, now: float) -> tuple[int, int, int]:
        """Suspect the silent, give up the dead; how many workers were suspected, messages rescued, and poisoned."""
        suspected = rescued = poisoned = 0
        for member in list(self.members.values()):
            if member.heard_at() > now:  # the clock was set back: a beat that lies ahead would never grow old
                member.beat_at, member.suspected_at = now, None
            lease, age = member.beat.lease, now - member.beat_at
            if age < lease * 2 / 3:
                continue
            if member.suspected_at is None:
                member.suspected_at = now
                suspected += 1
            elif now - member.suspected_at >= lease / 3 * 1.1 and age >= lease and rescued < MAX_BATCH:
                held = len(member.holds)
                poison = self._dismiss(member, now, lost=True)
                rescued += held - poison
                poisoned += poison
        return suspected, rescued, poisoned

    def _dismiss(self, member: Member, now: float, *, lost: bool) -> int:
        """Take a worker off the list and give back what it holds; how many of that became poison."""
        del self.members[member.beat.worker]
        self._bell.forget(("worker", member.beat.worker))
        return sum(self._give_back(entry, now, lost=lost) for entry in list(member.holds.values()))

    def _give_back(self, entry: Entry, now: float, *, lost: bool) -> bool:
        """Put a message back in its place in line; True if it lost too many workers and is a dead letter instead."""
        entry.losses += lost
        if entry.cancelling:
            self._messages.finish(entry, TaskStatus.CANCELLED, b"", now)
        elif lost and entry.losses >= entry.message.max_losses:
            text = f"{entry.losses} workers died while they ran it, the last one was {entry.worker}"
            error = ErrorRecord("WorkerLostError", text, reason=Reason.POISON)
            self._messages.finish(entry, TaskStatus.FAILURE, error.encode(), now)
            return True
        else:
            entry.worker = None
            self._messages.become(entry, TaskStatus.PENDING, now)
            self._messages.line_up(entry, now)
        return False

    # The exchange -------------------------------------------------------------------------------------------------

    def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        *,
        want: int,
        queues: Sequence[str] | None,
        reports: Sequence[Report],
        held: Collection[TaskId] | None,
        now: float,
    ) -> Exchange:
        """See TaskBackend.exchange."""
        for report in reports:
            self._note(worker, report, now)
        settled = [self._settle(worker, outcome, now) for outcome in outcomes]
        self._messages.promote(now)
        member = self.members.get(worker)
        if member is None:
            return Exchange([], settled, Orders(registered=False))
        claims = [] if held is None else [entry for id, entry in member.holds.items() if id not in held]
        claims += self._claim(member, 0 if member.draining else want, queues, now)
        member.heard = self._bell.rings
        return Exchange([entry.claim() for entry in claims], settled, member.orders())

    def _note(self, worker: str, report: Report, now: float) -> None:
        entry = self._messages.known.get(report.id)
        if entry is not None and entry.held_by(worker, report.number):
            entry.progress = report.progress
            entry.updated_at = now

    def _settle(self, worker: str, outcome: Outcome, now: float) -> Settled:
        entry = self._messages.known.get(outcome.id)
        if entry is None:
            return Settled.LOST
        if not entry.held_by(worker, outcome.number):
            return Settled.ALREADY if entry.settled == (worker, outcome.number) else Settled.LOST
        self.let_go(entry)
        entry.settled = (worker, outcome.number)
        entry.attempts += outcome.kind in (OutcomeKind.RETRY, OutcomeKind.FAILURE)
        entry.unknowns += outcome.unknown
        if outcome.kind in _ENDS:
            self._messages.finish(entry, _ENDS[outcome.kind], outcome.payload, now)
        elif entry.cancelling:
            self._messages.finish(entry, TaskStatus.CANCELLED, b"", now)
        else:
            self._run_again(entry, outcome, now)
        return Settled.SETTLED

    def let_go(self, entry: Entry) -> None:
        """End the claim on a running message."""
        member = self.members.get(entry.worker or "")
        if member is not None:
            member.holds.pop(entry.id, None)
            member.cancels.discard(entry.id)

    def _run_again(self, entry: Entry, outcome: Outcome, now: float) -> None:
        entry.worker = None
        retry = outcome.kind is OutcomeKind.RETRY
        if retry:
            entry.error = outcome.payload
        if retry or outcome.delay > 0:
            entry.run_at = now + outcome.delay
            entry.place = 0
        self._messages.become(entry, TaskStatus.RETRY if retry else TaskStatus.PENDING, now)
        self._messages.line_up(entry, now)

    # Claims -------------------------------------------------------------------------------------------------------

    def _claim(self, member: Member, want: int, queues: Sequence[str] | None, now: float) -> list[Entry]:
        entries = [] if want <= 0 or member.runs_suspect else self._choose(member, want, queues, now)
        for entry in entries:
            self._messages.become(entry, TaskStatus.RUNNING, now)
            entry.number += 1
            entry.worker = member.beat.worker
            entry.started_at = now
            entry.progress = None
            member.holds[entry.id] = entry
        return entries

    def _choose(self, member: Member, want: int, queues: Sequence[str] | None, now: float) -> list[Entry]:
        """Take from the line what this worker is given: one suspect alone, or others."""
        line, suspects = self._messages.ready, self._messages.suspects
        suspect = suspects.first(queues, self.paused)
        if suspect is None:
            return line.take(want, queues, self.paused)
        overdue = now - suspect[1].ready_at >= SUSPECT_PATIENCE
        if member.holds:
            wanted = overdue and self._is_emptied(member, suspect[1])
            return [] if wanted else line.take(want, queues, self.paused)
        first = line.first(queues, self.paused)
        if overdue or first is None or suspect[0] < first[0]:
            return suspects.take(1, queues, self.paused)
        return line.take(want, queues, self.paused)

    def _is_emptied(self, member: Member, suspect: Entry) -> bool:
        """Whether this worker is the one that takes nothing more until it can take `suspect`; the first to ask is."""
        if suspect.emptier not in self.members:
            suspect.emptier = member.beat.worker
        return suspect.emptier == member.beat.worker

    # Orders -------------------------------------------------------------------------------------------------------

    def order_cancel(self, entry: Entry) -> None:
        """Tell the worker that runs `entry` to cancel it."""
        entry.cancelling = True
        member = self.members.get(entry.worker or "")
        if member is not None:
            member.cancels.add(entry.id)
            self._bell.ring(("worker", member.beat.worker))

    def order_drain(self, worker: str) -> bool:
        """See TaskBackend.drain."""
        member = self.members.get(worker)
        if member is None:
            return False
        member.draining = True
        self._bell.ring(("worker", worker))
        return True

    # Waiting ------------------------------------------------------------------------------------------------------

    def missed(self, worker: str, queues: Sequence[str] | None) -> bool:
        """Whether something happened for this worker since its last exchange."""
        member = self.members.get(worker)
        return self._bell.rang(self.topics(worker, queues), 0 if member is None else member.heard)

    def topics(self, worker: str, queues: Sequence[str] | None) -> list[object]:
        """What rings when this worker may have something to do."""
        served: list[object] = ["queues"] if queues is None else [("queue", queue) for queue in queues]
        return [("worker", worker), *served]

    def next_moment(self, now: float) -> float | None:
        """When the next message falls due, or a waiting suspect becomes a reason to empty a worker."""
        moments = [self._messages.next_due()]
        suspect = self._messages.suspects.first(None, self.paused)
        if suspect is not None and suspect[1].ready_at + SUSPECT_PATIENCE > now:
            moments.append(suspect[1].ready_at + SUSPECT_PATIENCE)
        return min((moment for moment in moments if moment is not None), default=None)
