"""What gathering messages stand for, kept for a while: where many take from many, they all take the same."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from reinhardt_tasks.definition import MAX_FILLED
from reinhardt_tasks.handle import Place
from reinhardt_tasks.workflow.expression import is_gathered, is_tolerant
from reinhardt_tasks.workflow.fetching import Fetched, fetch

_MOST: Final = 8
_LARGEST: Final = 4 << 20
"""Bytes of encoded results that are kept for one gathering message."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills one parameter: the results and their encoded form."""

    fetched: Fetched
    encoded: bytes


class Shelf:
    """Reads what fills parameters, once for all who ask for the same gathering message. For one event loop.

    What such a message stands for does not change: it succeeded after the others had ended. Only errors among it may,
    where what failed is requeued.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, asyncio.Task[Filling]] = OrderedDict()

    async def filling(self, place: Place, expression: bytes) -> Filling:
        """What a gathering message stands for. Raises what `fetch` raises."""
        reading = self._kept.get(expression)
        if reading is None:
            reading = self._kept[expression] = asyncio.create_task(_read(place, expression))
            reading.add_done_callback(lambda done: self._look_at(expression, done))
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return await asyncio.shield(reading)

    def _look_at(self, expression: bytes, reading: asyncio.Task[Filling]) -> None:
        """Keep neither what failed, nor what is large or has errors in it."""
        failed = reading.cancelled() or reading.exception() is not None
        if (failed or _is_passing(reading.result())) and self._kept.get(expression) is reading:
            del self._kept[expression]


async def _read(place: Place, expression: bytes) -> Filling:
    fetched = await fetch(place, expression, limit=MAX_FILLED)
    return Filling(fetched, fetched.encoded(fetched.expression))


def _is_passing(filling: Filling) -> bool:
    """Whether it is too large to be kept, or may be another one soon."""
    return len(filling.encoded) > _LARGEST or bool(filling.fetched.errors)


def is_shared(expression: object) -> bool:
    """Whether an expression is what a gathering message stands for, which others may take as well."""
    return isinstance(expression, bytes) and is_gathered(expression) and not is_tolerant(expression)
