"""Delays without plugins: a ladder of queues in which messages wait 1, 2, 4, … seconds, each step or none.

A delay in whole seconds is a sum of powers of two. A message enters at the rung of its highest power, under a key that
has one word for each rung, 1 to wait there and 0 to go past, and then the words of the queue that it is for. A rung is
a topic exchange with a queue behind it, whose messages all wait equally long, so that none waits for another; when one
has, the queue hands it on to the exchange of the next lower rung. Below the last is the exchange that leads to queues.

Rungs are quorum queues: only those hand on a message that has expired with a confirm, so that a crash of the broker
between two rungs loses nothing.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, Protocol

from reinhardt_tasks.backends.rabbitmq.names import Names
from reinhardt_tasks.errors import UnsupportedError

RUNGS: Final = 25
LONGEST: Final = 2**RUNGS - 1
"""Seconds: 388 days."""
_PASSES: Final = "*."


class Entry(NamedTuple):
    """Where a message begins to wait."""

    exchange: str
    key: str


class Declares(Protocol):
    """What a ladder needs to be declared; see topology.Declarer."""

    def queue(self, queue: Any, /) -> None:
        """See that a queue is there."""

    def exchange(self, name: str, kind: str) -> None:
        """See that an exchange is there."""

    def bind(self, queue: str, exchange: str, key: str) -> None:
        """Bind a queue."""

    def chain(self, exchange: str, source: str, key: str) -> None:
        """Bind an exchange to another."""


class Rung(NamedTuple):
    """A queue on the server in which messages wait."""

    name: str
    arguments: dict[str, Any]


class Ladder:
    """The ladder whose queues and exchanges have `names`."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def height(self, delay: float) -> int:
        """How many rungs a delay of so many seconds needs. Raises UnsupportedError beyond `LONGEST`."""
        return whole_seconds(delay).bit_length()

    def entry(self, delay: float, destination: str) -> Entry:
        """Where a message for the queue `destination` on the server begins to wait `delay` seconds, at least 1."""
        seconds = max(1, whole_seconds(delay))
        steps = ".".join("1" if seconds >> power & 1 else "0" for power in reversed(range(RUNGS)))
        return Entry(self._names.rung(seconds.bit_length() - 1), f"{steps}.{destination}")

    def declare(self, declarer: Declares, height: int) -> None:
        """See that the lowest `height` rungs are there, from below."""
        declarer.exchange(self._names.due, "topic")
        below = self._names.due
        for power in range(height):
            name = self._names.rung(power)
            declarer.exchange(name, "topic")
            declarer.queue(Rung(name, _waiting(power, below)))
            before = _PASSES * (RUNGS - 1 - power)
            declarer.bind(name, name, f"{before}1.#")
            declarer.chain(below, name, f"{before}0.#")
            below = name

    def end_at(self, declarer: Declares, destination: str) -> None:
        """Have what has waited for the queue `destination` on the server come there, and nothing else."""
        declarer.exchange(self._names.due, "topic")
        declarer.bind(destination, self._names.due, f"{_PASSES * RUNGS}{destination}")


def whole_seconds(delay: float) -> int:
    """`delay` in seconds, rounded up. Raises UnsupportedError beyond `LONGEST`."""
    seconds = max(0, math.ceil(delay))
    if seconds > LONGEST:
        raise UnsupportedError(
            option=f"a delay of {seconds} s",
            backend="rabbitmq",
            instead=f"one of {LONGEST} s (388 days) at most, or a schedule",
        )
    return seconds


def _waiting(power: int, below: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": 1_000 * 2**power,
        "x-dead-letter-exchange": below,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
