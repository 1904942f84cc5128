"""Transactions that stay open: until they end no dead rows are removed, and every claim has to step over those."""

from __future__ import annotations

import logging
import time
from typing import Final, NamedTuple

from reinhardt_tasks.backends.postgres.engine import Engine

log = logging.getLogger("reinhardt_tasks.backends.postgres")

OLD: Final = 30.0
"""Seconds after which a transaction is worth a warning."""
EVERY: Final = 15.0
"""Seconds between two looks."""


class Elder(NamedTuple):
    """A session whose transaction is older than `OLD`: a row of the statement `elders`, the oldest first."""

    pid: int
    began_at: float
    user: str | None
    program: str | None
    state: str | None
    age: float

    @property
    def cure(self) -> str:
        """What ends it."""
        return f"SELECT pg_terminate_backend({self.pid})"


async def elders(engine: Engine) -> list[Elder]:
    """Those of this database, as far as the user may see them: its own, or all with the role `pg_read_all_stats`."""
    return [Elder(*row) for row in await engine.read("elders", [OLD])]


class Watchman:
    """Tells the log of each such transaction, once."""

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._told: frozenset[tuple[int, float]] = frozenset()

    async def look(self, engine: Engine) -> None:
        """Look, unless that was done just now. Raises what a statement raises."""
        if time.monotonic() - self._looked_at < EVERY:
            return
        self._looked_at = time.monotonic()
        found = {(elder.pid, elder.began_at): elder for elder in await elders(engine)}
        for elder in (elder for key, elder in found.items() if key not in self._told):
            log.warning(
                "transaction_open session=%d user=%s program=%r state=%r seconds=%.0f end_by=%r",
                *(elder.pid, elder.user, elder.program, elder.state, elder.age, elder.cure),
            )
        self._told = frozenset(found)
