"""Waiting for what another process or thread does: look again and again until it is so, or fail with what was seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.005


class NeverError(AssertionError):
    """What was waited for did not come about in time."""


def eventually(look: Callable[[], T], *, timeout: float = 20.0) -> T:
    """The first true answer of `look()`. Raises NeverError, telling the last one, if none came in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        _check(look, seen, deadline, timeout)
        time.sleep(_PAUSE)
    return seen


async def eventually_async(look: Callable[[], T], *, timeout: float = 20.0) -> T:
    """As `eventually`, letting the running loop go on between the looks."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        _check(look, seen, deadline, timeout)
        await asyncio.sleep(_PAUSE)
    return seen


def _check(look: Callable[[], object], seen: object, deadline: float, timeout: float) -> None:
    if time.monotonic() > deadline:
        raise NeverError(f"{getattr(look, '__qualname__', look)} was still {seen!r} after {timeout:g} s")
