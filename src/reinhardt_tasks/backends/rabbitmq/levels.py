"""Ten strict priorities: how queues are declared for them, and in which order deliveries are handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from reinhardt_tasks.backends.rabbitmq.frames import Delivery

LEVELS: Final = 10
"""Priorities are 9, the first, to 0."""
_TOO_OFTEN: Final = 100
"""Deliveries after which a quorum queue sets a message aside. Losses are counted, and limited, long before."""


def classic_arguments() -> Mapping[str, object]:
    """Of a queue that sorts by priority itself."""
    return {"x-max-priority": LEVELS - 1}


def quorum_arguments(refused: str | None) -> Mapping[str, object]:
    """Of a queue of one priority; what is delivered too often goes to the queue `refused`, and is not lost."""
    return {"x-queue-type": "quorum", **({} if refused is None else _set_aside(refused))}


def _set_aside(refused: str) -> Mapping[str, object]:
    return {
        "x-delivery-limit": _TOO_OFTEN,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": refused,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def level_of(priority: int | None) -> int:
    """Where a message of another client stands that has no priority, or one above 9: as the broker has it."""
    return min(priority or 0, LEVELS - 1)


class Shelf:
    """What was delivered and not yet claimed: highest priority first, then the order of `queues`, then of arrival."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._lines: list[dict[str, deque[Delivery]]] = [{queue: deque() for queue in queues} for _ in range(LEVELS)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, queue: str, delivery: Delivery) -> None:
        """Put what came from `queue` into its line."""
        self._lines[level_of(delivery.priority)][queue].append(delivery)
        self._count += 1

    def take(self, want: int) -> list[Delivery]:
        """The next ones, `want` at most."""
        taken: list[Delivery] = []
        for level in reversed(self._lines):
            for line in level.values():
                while line and len(taken) < want:
                    taken.append(line.popleft())
        self._count -= len(taken)
        return taken

    def clear(self) -> None:
        """Forget all: the broker hands it out again."""
        for level in self._lines:
            for line in level.values():
                line.clear()
        self._count = 0
