"""What the memory backend keeps of a message, and the order in which messages are given out."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Claim, Record
from reinhardt_tasks.status import TaskStatus

_LEAST = 1024


@dataclass(slots=True, eq=False)
class Entry:
    """One message and where it stands. Changed only while the store's lock is held.

    `queued`, `later`, `fading` and `forgetting` hold the ticket of the entry's item in the heap of that name, 0 when it
    has none. `place` is its place in line, 0 before the first.
    """

    message: AnyMessage
    created_at: float
    updated_at: float
    run_at: float | None = None
    held: bool = False
    status: TaskStatus = TaskStatus.PENDING
    attempts: int = 0
    losses: int = 0
    unknowns: int = 0
    number: int = 0
    worker: str | None = None
    settled: tuple[str, int] | None = None
    place: int = 0
    ready_at: float = 0.0
    emptier: str | None = None
    """The worker that is given nothing more until it can take this message alone."""
    queued: int = 0
    later: int = 0
    fading: int = 0
    forgetting: int = 0
    pending: set[TaskId] | None = None
    """The parents it still waits for."""
    children: dict[TaskId, Entry] | None = None
    """The messages that were put to wait for this one."""
    orphaned: bool = False
    """Whether it was cancelled because a parent failed."""
    cancelling: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    result: bytes | None = None
    error: bytes | None = None
    progress: bytes | None = None
    expired: bool = False
    connection: object = None

    @property
    def id(self) -> TaskId:
        """The message's id."""
        return self.message.id

    def holds_key(self, now: float) -> bool:
        """Whether its unique key keeps others out."""
        if self.message.unique_for is not None:
            return now < self.created_at + self.message.unique_for
        return not self.status.finished

    def held_by(self, worker: str, number: int) -> bool:
        """Whether this token is the one it runs under."""
        return self.status is TaskStatus.RUNNING and self.number == number and self.worker == worker

    @property
    def waiting_on(self) -> int:
        """How many parents it still waits for."""
        return len(self.pending) if self.pending else 0

    def wait_for(self, parent: Entry) -> None:
        """Do not start before `parent` has finished."""
        self.pending = self.pending or set()
        self.pending.add(parent.id)

    def wait_no_more_for(self, parent: Entry) -> None:
        """`parent` has finished."""
        if self.pending is not None:
            self.pending.discard(parent.id)

    def add_child(self, child: Entry) -> None:
        """`child` is to be told how this message ends."""
        self.children = self.children or {}
        self.children[child.id] = child

    def remove_child(self, child: Entry) -> None:
        """`child` is no longer stored."""
        if self.children is not None:
            self.children.pop(child.id, None)

    def waiting_children(self) -> list[Entry]:
        """The messages that wait for this one now."""
        return [child for child in (self.children or {}).values() if child.pending and self.id in child.pending]

    def renew(self) -> None:
        """Forget every run: counters at zero, no error, due now, no place in line."""
        self.attempts = self.losses = self.unknowns = self.place = self.fading = self.forgetting = 0
        self.run_at = self.started_at = self.finished_at = None
        self.error = self.progress = self.worker = None
        self.orphaned = False

    def claim(self) -> Claim:
        """The claim a worker is given."""
        return Claim(
            self.id, self.number, self.message.body, self.attempts, self.losses, self.unknowns, self.run_at, locator=0
        )

    def record(self, *, body: bool) -> Record:
        """What is read back."""
        return Record(
            id=self.id,
            name=self.message.name,
            queue=self.message.queue,
            priority=self.message.priority,
            status=self.status,
            created_at=self.created_at,
            updated_at=self.updated_at,
            attempts=self.attempts,
            losses=self.losses,
            run_at=self.run_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            waiting_on=self.waiting_on,
            worker=self.worker,
            unique_key=self.message.unique_key,
            workflow=self.message.workflow,
            cancelling=self.cancelling,
            expired=self.expired,
            result=self.result,
            error=self.error,
            progress=self.progress,
            body=self.message.body if body else None,
        )


class Heap:
    """Entries by a key, lowest first. An item lives as long as its entry's attribute `slot` holds the item's ticket.

    Dead items are dropped when they come up, or when the heap has doubled since it was last cleaned.
    """

    __slots__ = ("_items", "_limit", "_slot")

    def __init__(self, slot: str) -> None:
        self._items: list[tuple[float, int, Entry]] = []
        self._slot = slot
        self._limit = _LEAST

    def push(self, key: float, ticket: int, entry: Entry) -> None:
        """Add `entry`; an item it already has here dies."""
        setattr(entry, self._slot, ticket)
        heapq.heappush(self._items, (key, ticket, entry))
        if len(self._items) > self._limit:
            self._items = [item for item in self._items if self._lives(item)]
            heapq.heapify(self._items)
            self._limit = max(_LEAST, 2 * len(self._items))

    def head(self) -> tuple[float, Entry] | None:
        """The lowest key and its entry."""
        while self._items:
            if self._lives(self._items[0]):
                return self._items[0][0], self._items[0][2]
            heapq.heappop(self._items)
        return None

    def take_until(self, key: float, limit: int) -> list[Entry]:
        """Remove and return at most `limit` entries whose keys are at most `key`, in order."""
        taken: list[Entry] = []
        while len(taken) < limit and (head := self.head()) is not None and head[0] <= key:
            taken.append(self.take())
        return taken

    def take(self) -> Entry:
        """Remove and return the entry that `head` has just shown."""
        entry = heapq.heappop(self._items)[2]
        setattr(entry, self._slot, 0)
        return entry

    def _lives(self, item: tuple[float, int, Entry]) -> bool:
        return bool(getattr(item[2], self._slot) == item[1])


class Line:
    """The messages that could start now: by priority (9 first), then queue, then place."""

    def __init__(self) -> None:
        self._levels: list[dict[str, Heap]] = [{} for _ in range(10)]
        self.sizes: dict[str, int] = {}
        """How many stand in line, per queue."""

    def add(self, entry: Entry) -> None:
        """Let `entry` stand at its `place`."""
        queue = entry.message.queue
        heaps = self._levels[entry.message.priority]
        if queue not in heaps:
            heaps[queue] = Heap("queued")
        heaps[queue].push(entry.place, entry.place, entry)
        self.sizes[queue] = self.sizes.get(queue, 0) + 1

    def remove(self, entry: Entry) -> None:
        """Take `entry` out, wherever in line it stands."""
        entry.queued = 0
        self._count_out(entry)

    def first(
        self, queues: Sequence[str] | None, closed: Collection[str]
    ) -> tuple[tuple[int, int, float], Entry] | None:
        """The message that comes next for a worker that serves `queues`, and its rank (lower comes first)."""
        for priority in range(9, -1, -1):
            for order, group in enumerate(self._groups(priority, queues, closed)):
                heads = [head for queue in group if (head := self._head(priority, queue)) is not None]
                if heads:
                    place, entry = min(heads, key=lambda head: head[0])
                    return (-priority, order, place), entry
        return None

    def take(self, want: int, queues: Sequence[str] | None, closed: Collection[str]) -> list[Entry]:
        """Remove and return the next `want` messages for a worker that serves `queues`."""
        taken: list[Entry] = []
        for priority in range(9, -1, -1):
            for group in self._groups(priority, queues, closed):
                self._merge(priority, group, taken, want)
                if len(taken) >= want:
                    return taken
        return taken

    def _groups(self, priority: int, queues: Sequence[str] | None, closed: Collection[str]) -> list[list[str]]:
        """The queues to look through, one group after the other; within a group the places count."""
        heaps = self._levels[priority]
        if queues is None:
            return [[queue for queue in heaps if queue not in closed]]
        return [[queue] for queue in dict.fromkeys(queues) if queue in heaps and queue not in closed]

    def _merge(self, priority: int, group: list[str], taken: list[Entry], want: int) -> None:
        heads = [(head[0], queue) for queue in group if (head := self._head(priority, queue)) is not None]
        heapq.heapify(heads)
        while heads and len(taken) < want:
            queue = heads[0][1]
            entry = self._levels[priority][queue].take()
            self._count_out(entry)
            taken.append(entry)
            if (head := self._head(priority, queue)) is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (head[0], queue))

    def _head(self, priority: int, queue: str) -> tuple[float, Entry] | None:
        """The first of one queue at one priority; an empty heap is thrown away."""
        heaps = self._levels[priority]
        head = heaps[queue].head()
        if head is None:
            del heaps[queue]
        return head

    def _count_out(self, entry: Entry) -> None:
        queue = entry.message.queue
        self.sizes[queue] -= 1
        if not self.sizes[queue]:
            del self.sizes[queue]
