"""What an instance remembers of its workers' sleep: who still waits, who may stand among the sleepers, who was woken.

The server takes a worker off its list of sleepers when it wakes it, and counts on it to look. So a worker that has
stopped waiting without being woken has to be taken off, and one that was woken has to pass on what it cannot take.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Sequence

Queues = Sequence[str] | None
"""The queues that a worker serves; None for all."""


class Sleepers:
    """The workers of one instance."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._listed: set[str] = set()
        self._woken: dict[str, Queues] = {}

    @contextlib.contextmanager
    def asleep(self, worker: str) -> Generator[bool]:
        """While `worker` waits. Gives whether it waits already, for other queues."""
        also = self._waiting[worker] > 0
        self._waiting[worker] += 1
        self._listed.add(worker)
        try:
            yield also
        finally:
            self._waiting[worker] -= 1
            if not self._waiting[worker]:
                del self._waiting[worker]

    def woke(self, worker: str, queues: Queues) -> None:
        """`worker` was woken when it waited for `queues`."""
        before = self._woken.get(worker, ())
        self._woken[worker] = None if queues is None or before is None else tuple({*before, *queues})

    @contextlib.contextmanager
    def awake(self, worker: str) -> Generator[tuple[bool, Queues]]:
        """While `worker` asks for messages: whether it is to be taken off the list, and what it was woken for."""
        off = worker in self._listed and worker not in self._waiting
        woken = self._woken.pop(worker, ())
        try:
            yield off, woken
        except BaseException:
            self.woke(worker, woken)
            raise
        if off and worker not in self._waiting:
            self._listed.discard(worker)
