"""Vacuuming the line. Each claim leaves a dead entry at its front, and all claims pass those until a vacuum is over.

Autovacuum looks once a minute, in which a busy line leaves a million of them. So who claims much has it done at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg

AFTER: Final = 100_000
"""Claims after which it is worth it while more are to come."""
AT_REST: Final = 5_000
"""Claims after which it is worth it where nothing is ready any more."""
_REST: Final = 20.0
"""Times as long as it took that it is not repeated: with a large backlog, or beside a transaction that stays open."""


class Vacuum:
    """Has the table of unfinished messages vacuumed by `run`, in the background, according to what was given out."""

    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._given = 0
        self._resting_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def gave(self, claims: int, *, at_rest: bool) -> None:
        """So many claims were given out. `at_rest`: there were no more."""
        self._given += claims
        enough = self._given >= (AT_REST if at_rest else AFTER)
        if enough and self._task is None and time.monotonic() >= self._resting_until:
            self._given = 0
            self._task = asyncio.get_running_loop().create_task(self._once())

    async def _once(self) -> None:
        """Autovacuum is there for what fails here."""
        began = time.monotonic()
        with contextlib.suppress(psycopg.Error, OSError):
            await self._run()
        now = time.monotonic()
        self._resting_until = now + _REST * (now - began)
        self._task = None

    async def close(self) -> None:
        """Cut short what is under way."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
