"""Which deliveries of a channel are done with, and how few acknowledgements say so."""

from __future__ import annotations

from typing import NamedTuple


class Acks(NamedTuple):
    """What to acknowledge: everything up to `up_to` (0: nothing), and each of `others`."""

    up_to: int
    others: list[int]


class Tags:
    """The numbers of one channel's deliveries, which count from 1. Each is acknowledged or given back once, no more."""

    def __init__(self) -> None:
        self._below = 0
        """All up to here are done with."""
        self._done: set[int] = set()
        """Those above that the broker knows no longer."""
        self._acked: set[int] = set()
        """Those that it is still to be told of."""

    def acknowledge(self, tag: int) -> bool:
        """Whether `tag` was still open; the next `flush` has it."""
        if not self._is_open(tag):
            return False
        self._acked.add(tag)
        return True

    def give_back(self, tag: int) -> bool:
        """Whether `tag` was still open; the caller gives it back now."""
        if not self._is_open(tag):
            return False
        self._done.add(tag)
        return True

    def _is_open(self, tag: int) -> bool:
        return tag > self._below and tag not in self._acked and tag not in self._done

    def flush(self) -> Acks:
        """What the broker is to be told now.

        The last of those that are acknowledged together is one that is acknowledged: the broker knows no longer what
        was given back, and closes a channel over it.
        """
        up_to, tag = 0, self._below + 1
        while tag in self._acked or tag in self._done:
            if tag in self._acked:
                up_to = tag
            self._acked.discard(tag)
            self._done.discard(tag)
            tag += 1
        self._below = tag - 1
        others = sorted(self._acked)
        self._done.update(others)
        self._acked.clear()
        return Acks(up_to, others)
