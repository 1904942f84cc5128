"""When each message ran: one 64-bit slot per message in a mapped file, so a stamp costs every system the same 0.1 µs.

The slot of message number n holds the CLOCK_MONOTONIC nanosecond at which its task ran, 0 until then. The driver maps
the same file and so sees progress without asking the worker; forked and several workers share it.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

SLOT = 8
Stamps = memoryview


def create_stamps(path: Path, count: int) -> Stamps:
    """A new file with `count` empty slots (at least 1), mapped."""
    with path.open("xb") as file:
        file.truncate(max(1, count) * SLOT)
    return open_stamps(path)


def open_stamps(path: Path) -> Stamps:
    """The slots of an existing file."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


def stamper(path: Path) -> Callable[[int], None]:
    """The function a task calls with its message's number, first thing."""
    slots = open_stamps(path)

    def stamp(number: int) -> None:
        slots[number] = monotonic_ns()

    return stamp


class Progress:
    """How many messages have run, counted in order of their numbers; each slot is read once."""

    def __init__(self, slots: Stamps, messages: int) -> None:
        self._slots = slots
        self._messages = messages
        self._seen = 0

    def seen(self) -> int:
        """Messages run without a gap before them."""
        while self._seen < self._messages and self._slots[self._seen]:
            self._seen += 1
        return self._seen

    def complete(self) -> bool:
        """True once every message has run."""
        return self.seen() == self._messages


def elapsed(slots: Stamps, messages: int) -> float:
    """Seconds from the first to the last of the first `messages` stamps. Raises ValueError if one is missing."""
    ran = slots[:messages].tolist()
    if 0 in ran:
        raise ValueError(f"{ran.count(0)} of {messages} messages have not run")
    return (max(ran) - min(ran)) / 1e9
