"""Things kept by id in memory until their time is over, and waiting for them: what both memory stores stand on."""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from reinhardt_tasks.backends.memory.bell import Bell
from reinhardt_tasks.identity import TaskId

T = TypeVar("T")
A = TypeVar("A")
_FORGOTTEN_AT_ONCE: Final = 100
"""The most things whose time is over that one step takes off the shelf."""

_SPARE: Final = 1024
"""How many more ends than things may be noted, for each thing two."""


class _Kept(NamedTuple, Generic[T]):
    thing: T
    until: float | None


class Shelf(Generic[T]):
    """Shared by all siblings of a store. Everything but `awaited` is used inside `step`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = 0.0
        """The time of the step under way."""
        self._clock = clock
        self._lock = threading.Lock()
        self._bell = Bell()
        self._things: dict[TaskId, _Kept[T]] = {}
        self._ends: list[tuple[float, TaskId]] = []

    @contextlib.contextmanager
    def step(self) -> Generator[None]:
        """One atomic step."""
        with self._lock:
            self.now = self._clock()
            self._forget()
            yield

    def __contains__(self, task_id: TaskId) -> bool:
        return self.find(task_id) is not None

    def find(self, task_id: TaskId) -> T | None:
        """What is kept under an id."""
        kept = self._things.get(task_id)
        return None if kept is None or self._is_over(kept) else kept.thing

    def all(self) -> Iterator[T]:
        """Everything, in no order."""
        return (kept.thing for kept in self._things.values() if not self._is_over(kept))

    def keep(self, task_id: TaskId, thing: T, ttl: float | None) -> None:
        """Keep `thing` for `ttl` seconds (None: until it is removed), in place of what is there."""
        until = None if ttl is None else self.now + ttl
        self._things[task_id] = _Kept(thing, until)
        if until is not None:
            heapq.heappush(self._ends, (until, task_id))
            if len(self._ends) > 2 * len(self._things) + _SPARE:
                self._tidy()

    def replace(self, task_id: TaskId, thing: T) -> None:
        """Keep `thing` in place of what is there, for as long as that."""
        self._things[task_id] = _Kept(thing, self._things[task_id].until)

    def remove(self, task_id: TaskId) -> bool:
        """Keep it no longer. False when nothing was there."""
        kept = self._things.pop(task_id, None)
        return kept is not None and not self._is_over(kept)

    def ring(self, task_id: TaskId) -> None:
        """Have those look who wait for an id."""
        self._bell.ring(task_id, remember=False)

    async def awaited(self, topic: Hashable, look: Callable[[], A | None], timeout: float | None) -> A | None:
        """What `look` answers, each time in a step of its own, once that is not None; None after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.step():
                seen = look()
                if seen is not None:
                    return seen
                sleeper = self._bell.listen(topic)
            try:
                left = None if deadline is None else deadline - time.monotonic()
                if (left is not None and left <= 0) or not await sleeper.woken(left):
                    return None
            finally:
                with self._lock:
                    self._bell.leave(sleeper)

    def _tidy(self) -> None:
        """Forget the ends that were put off; there are many where the same ids are kept anew again and again."""
        self._ends = [(kept.until, id) for id, kept in self._things.items() if kept.until is not None]
        heapq.heapify(self._ends)

    def _is_over(self, kept: _Kept[T]) -> bool:
        return kept.until is not None and kept.until <= self.now

    def _forget(self) -> None:
        """Take off what is over; an end that was put off since counts for nothing."""
        for _ in range(_FORGOTTEN_AT_ONCE):
            if not self._ends or self._ends[0][0] > self.now:
                return
            until, task_id = heapq.heappop(self._ends)
            kept = self._things.get(task_id)
            if kept is not None and kept.until == until:
                del self._things[task_id]
