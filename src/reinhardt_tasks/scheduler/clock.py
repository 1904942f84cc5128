"""The broker's time, told by a clock of this machine that nobody sets."""

from __future__ import annotations

from typing import Final

from reinhardt_tasks.clocks import boottime
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId

_TTL: Final = 1.0


class BrokerClock:
    """Tells the broker's time once it is `set`; a jump of this machine's wall clock does not move it."""

    def __init__(self) -> None:
        self._token = str(TaskId.new())
        self._ahead = 0.0

    async def set(self, backend: TaskBackend) -> None:
        """Compare with the broker's clock: a lock that nobody else takes says by that clock when it runs out.

        Right to half of the round trip's time. Raises BackendError.
        """
        began = boottime()
        lock = await backend.acquire_lock(f"scheduler-clock:{self._token}", self._token, _TTL)
        ended = boottime()
        if lock is not None:
            self._ahead = lock.until - _TTL - (began + ended) / 2

    def now(self) -> float:
        """Unix seconds by the broker's clock."""
        return boottime() + self._ahead
