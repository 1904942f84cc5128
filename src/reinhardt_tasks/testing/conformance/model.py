"""A pure model of the contract: plain and slow. The state machine compares backends with it."""
# ruff: noqa: S101 - a failed assert is the finding

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from reinhardt_tasks.contract import SUSPECT_PATIENCE
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Claim, Outcome, OutcomeKind, Put, Settled
from reinhardt_tasks.status import TRANSITIONS, TaskStatus

FALLEN = frozenset({TaskStatus.FAILURE, TaskStatus.CANCELLED})
Token = tuple[str, int]


@dataclass(eq=False)
class Item:
    """A message of the model.

    `place` says when it got its place in line, as the earliest and the latest step at which a backend may have given
    it; None while it does not stand in line.
    """

    message: AnyMessage
    created_at: float
    run_at: float | None
    held: bool
    status: TaskStatus = TaskStatus.PENDING
    attempts: int = 0
    losses: int = 0
    unknowns: int = 0
    number: int = 0
    holder: str | None = None
    settled: list[Token] = field(default_factory=list)
    waiting: set[TaskId] = field(default_factory=set)
    orphaned: bool = False
    cancelling: bool = False
    place: tuple[int, int] | None = None
    kept: tuple[int, int] | None = None
    """The place it had when it was claimed."""
    due_since: int = 0
    ready_at: float = 0.0

    def holds_key(self, now: float) -> bool:
        """Whether its unique key keeps others out."""
        window = self.message.unique_for
        return not self.status.finished if window is None else now < self.created_at + window


@dataclass
class Worker:
    """A registered worker of the model."""

    lease: float
    beat_at: float
    suspected_at: float | None = None


class Model:
    """What a backend should know, and what it should answer."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.items: dict[TaskId, Item] = {}
        self.workers: dict[str, Worker] = {}
        self.paused: set[str] = set()
        self._step = 0

    # Producers ----------------------------------------------------------------------------------------------------

    def put(self, messages: Sequence[AnyMessage]) -> list[Put]:
        """Store messages whose parents are known."""
        return [self._put(message) for message in messages]

    def _put(self, message: AnyMessage) -> Put:
        if message.id in self.items:
            return Put(message.id, created=False)
        for item in self.items.values():
            if self._same_key(item.message, message) and item.holds_key(self.now):
                return Put(item.message.id, created=False)
        run_at = self.now + message.delay if message.delay else message.run_at
        item = self.items[message.id] = Item(message, self.now, run_at, message.held)
        self._join_parents(item)
        return Put(message.id, created=True)

    @staticmethod
    def _same_key(one: AnyMessage, other: AnyMessage) -> bool:
        return one.unique_key is not None and (one.name, one.unique_key) == (other.name, other.unique_key)

    def _join_parents(self, item: Item) -> None:
        parents = self._parents(item)
        item.waiting = {parent.message.id for parent in parents if not parent.status.finished}
        if not item.message.tolerant and any(parent.status in FALLEN for parent in parents):
            self._end(item, TaskStatus.CANCELLED)
            item.orphaned = True
        else:
            self._line_up(item, self.tick())

    def _parents(self, item: Item) -> list[Item]:
        return [self.items[id] for id in item.message.waits_on if id in self.items]

    def start_workflow(self, workflow: TaskId) -> bool:
        """Release what is held."""
        held = [item for item in self.items.values() if item.held and item.message.workflow == workflow]
        step = self.tick()
        for item in held:
            item.held = False
            if not item.status.finished:
                self._line_up(item, step)
        return bool(held)

    # Standing in line ---------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """The next step."""
        self._step += 1
        return self._step

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due may be given a place from now on."""
        self.now += seconds
        step = self.tick()
        for item in self.items.values():
            if not item.due_since and item.run_at is not None and item.run_at <= self.now:
                item.due_since = step

    def promote(self) -> None:
        """An exchange or a sweep: what is due has a place by now."""
        step = self.tick()
        for item in self._unplaced():
            if item.run_at is not None and item.run_at <= self.now:
                item.place = (item.due_since or step, step)
                item.ready_at = self.now

    def _unplaced(self) -> Iterator[Item]:
        for item in self.items.values():
            waits = item.place is not None or item.held or item.waiting
            if item.status in {TaskStatus.PENDING, TaskStatus.RETRY} and not waits:
                yield item

    def _line_up(self, item: Item, step: int) -> None:
        if item.held or item.waiting or (item.run_at is not None and item.run_at > self.now):
            item.place = None
            return
        item.place = item.kept or (step, step)
        item.kept = None
        item.ready_at = self.now

    # Workers ------------------------------------------------------------------------------------------------------

    def beat(self, name: str, number: int, lease: float) -> bool:
        """Register or renew; whether the worker is told that it is registered."""
        known = name in self.workers
        self.workers[name] = Worker(lease, self.now)
        return known or number == 1

    def leave(self, name: str) -> None:
        """A worker that takes its leave."""
        self.workers.pop(name, None)
        for item in self.held_by(name):
            self._give_back(item, lost=False)

    def held_by(self, name: str) -> list[Item]:
        """What a worker holds."""
        return [item for item in self.items.values() if item.holder == name]

    def sweep(self) -> None:
        """Suspect, give up, rescue, promote."""
        for name, worker in list(self.workers.items()):
            age = self.now - worker.beat_at
            if age < worker.lease * 2 / 3:
                continue
            if worker.suspected_at is None:
                worker.suspected_at = self.now
            elif self.now - worker.suspected_at >= 1.1 * worker.lease / 3 and age >= worker.lease:
                del self.workers[name]
                for item in self.held_by(name):
                    self._give_back(item, lost=True)
        self.promote()

    def _give_back(self, item: Item, *, lost: bool) -> None:
        item.holder = None
        item.losses += lost
        if item.cancelling:
            self._finish(item, TaskStatus.CANCELLED)
        elif lost and item.losses >= item.message.max_losses:
            self._finish(item, TaskStatus.FAILURE)
        else:
            self._become(item, TaskStatus.PENDING)
            self._line_up(item, self.tick())

    # Outcomes -----------------------------------------------------------------------------------------------------

    def settle(self, name: str, outcome: Outcome) -> set[Settled]:
        """End a claim; the answers that are right."""
        item = self.items.get(outcome.id)
        token = (name, outcome.number)
        if item is None:
            return {Settled.LOST}
        if item.holder != name or item.number != outcome.number:
            if token not in item.settled:
                return {Settled.LOST}
            return {Settled.ALREADY} if item.settled[-1] == token else {Settled.ALREADY, Settled.LOST}
        item.holder = None
        item.settled.append(token)
        self._apply(item, outcome)
        return {Settled.SETTLED}

    def _apply(self, item: Item, outcome: Outcome) -> None:
        item.attempts += outcome.kind in {OutcomeKind.RETRY, OutcomeKind.FAILURE}
        item.unknowns += outcome.unknown
        if outcome.kind is OutcomeKind.SUCCESS:
            self._finish(item, TaskStatus.SUCCESS)
        elif outcome.kind is OutcomeKind.FAILURE:
            self._finish(item, TaskStatus.FAILURE)
        elif outcome.kind is OutcomeKind.CANCELLED or item.cancelling:
            self._finish(item, TaskStatus.CANCELLED)
        else:
            self._again(item, outcome)

    def _again(self, item: Item, outcome: Outcome) -> None:
        retry = outcome.kind is OutcomeKind.RETRY
        if retry or outcome.delay:
            item.run_at, item.kept, item.due_since = self.now + outcome.delay, None, 0
        self._become(item, TaskStatus.RETRY if retry else TaskStatus.PENDING)
        self._line_up(item, self.tick())

    def _become(self, item: Item, status: TaskStatus) -> None:
        assert status in TRANSITIONS[item.status]
        item.status = status

    def _end(self, item: Item, status: TaskStatus) -> None:
        self._become(item, status)
        item.place = item.kept = item.holder = None
        item.cancelling = False
        item.waiting = set()

    def _finish(self, item: Item, status: TaskStatus) -> None:
        self._end(item, status)
        id, step = item.message.id, self.tick()
        for child in self.items.values():
            if id not in child.waiting:
                continue
            if status in FALLEN and not child.message.tolerant:
                self._finish(child, TaskStatus.CANCELLED)
                child.orphaned = True
            else:
                child.waiting.discard(id)
                self._line_up(child, step)

    # Claims -------------------------------------------------------------------------------------------------------

    def claim(self, name: str, claims: Sequence[Claim], want: int, queues: Sequence[str] | None) -> None:
        """Check that these claims may be given to this worker, and give them."""
        able = [item for item in self.items.values() if self._claimable(item, queues)]
        given = [self._checked(claim, able) for claim in claims]
        assert len({claim.id for claim in claims}) == len(claims) <= max(want, 0)
        holding = self.held_by(name)
        assert given or holding or want <= 0 or not able, "an idle worker was given nothing"
        normal = [item for item in able if not item.losses]
        if any(item.losses for item in given):
            assert not holding, "a suspect was given to a worker that holds something"
            assert len(given) == 1, "a suspect was given beside others"
        elif any(item.losses for item in holding):
            assert not given, "something was given beside a suspect"
        elif not self._may_be_emptied(name, [item for item in able if item.losses], holding):
            assert len(given) == min(max(want, 0), len(normal)), "something claimable was not given"
            self._check_order(given, normal, queues)
        for item, claim in zip(given, claims, strict=True):
            self._give(item, claim, name)

    def _claimable(self, item: Item, queues: Sequence[str] | None) -> bool:
        queue = item.message.queue
        served = queues is None or queue in queues
        return item.place is not None and item.holder is None and served and queue not in self.paused

    def _checked(self, claim: Claim, able: Iterable[Item]) -> Item:
        (item,) = [item for item in able if item.message.id == claim.id]
        assert claim.number > item.number
        assert (claim.attempts, claim.losses, claim.unknowns) == (item.attempts, item.losses, item.unknowns)
        assert claim.body == item.message.body
        return item

    def _may_be_emptied(self, name: str, suspects: list[Item], holding: list[Item]) -> bool:
        """Whether a suspect that waits is a reason to give this worker nothing."""
        waits = any(self.now - suspect.ready_at >= SUSPECT_PATIENCE - 0.5 for suspect in suspects)
        return waits and bool(holding)

    def _check_order(self, given: list[Item], normal: list[Item], queues: Sequence[str] | None) -> None:
        left = [item for item in normal if item not in given]
        for number, item in enumerate(given):
            for other in [*given[number + 1 :], *left]:
                assert not self._before(other, item, queues), "something came before what should have come first"

    @staticmethod
    def _before(one: Item, other: Item, queues: Sequence[str] | None) -> bool:
        """Whether `one` must be given before `other`."""

        def rank(item: Item) -> tuple[int, int]:
            return -item.message.priority, 0 if queues is None else list(queues).index(item.message.queue)

        assert one.place is not None
        assert other.place is not None
        return rank(one) < rank(other) or (rank(one) == rank(other) and one.place[1] < other.place[0])

    def _give(self, item: Item, claim: Claim, name: str) -> None:
        self._become(item, TaskStatus.RUNNING)
        item.number, item.holder = claim.number, name
        item.kept, item.place = item.place, None

    # Operators ----------------------------------------------------------------------------------------------------

    def cancel(self, id: TaskId) -> TaskStatus | None:
        """Cancel, or order it."""
        item = self.items.get(id)
        if item is None:
            return None
        if item.status is TaskStatus.RUNNING:
            item.cancelling = True
        elif not item.status.finished:
            self._finish(item, TaskStatus.CANCELLED)
        return item.status

    def requeue(self, id: TaskId) -> str:
        """Put back in line; "done", or why not: "unknown", "transition", "duplicate"."""
        item = self.items.get(id)
        if item is None:
            return "unknown"
        if item.status not in FALLEN or self._blocked(item, set()):
            return "transition"
        back = [item]
        for one in back:
            for child in self.items.values():
                depends = child.orphaned and one.message.id in child.message.waits_on
                if depends and child not in back and not self._blocked(child, {other.message.id for other in back}):
                    back.append(child)
        if self._keys_taken(back):
            return "duplicate"
        self._revive(back)
        return "done"

    def _blocked(self, item: Item, back: set[TaskId]) -> bool:
        fallen = [parent for parent in self._parents(item) if parent.status in FALLEN and parent.message.id not in back]
        return bool(fallen) and not item.message.tolerant

    def _keys_taken(self, back: list[Item]) -> bool:
        for number, item in enumerate(back):
            rivals = [other for other in self.items.values() if other not in back and other.holds_key(self.now)]
            if any(self._same_key(item.message, other.message) for other in [*rivals, *back[:number]]):
                return True
        return False

    def _revive(self, back: list[Item]) -> None:
        step = self.tick()
        for item in back:
            self._become(item, TaskStatus.PENDING)
            item.attempts = item.losses = item.unknowns = item.due_since = 0
            item.run_at, item.orphaned = None, False
        for item in back:
            item.waiting = {parent.message.id for parent in self._parents(item) if not parent.status.finished}
            self._line_up(item, step)

    def purge(self, queue: str) -> int:
        """Delete what waits in a queue."""
        waiting = {TaskStatus.PENDING, TaskStatus.RETRY}
        doomed = [item for item in self.items.values() if item.message.queue == queue and item.status in waiting]
        for item in doomed:
            if not item.status.finished:
                self._finish(item, TaskStatus.CANCELLED)
        for item in doomed:
            del self.items[item.message.id]
        return len(doomed)

    def delete(self, id: TaskId) -> int:
        """Forget a finished message."""
        item = self.items.get(id)
        if item is None or not item.status.finished:
            return 0
        del self.items[id]
        return 1
