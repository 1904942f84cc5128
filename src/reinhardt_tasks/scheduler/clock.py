"""The broker's time, told by a clock of this machine that nobody sets."""

from __future__ import annotations

from typing import Final

from reinhardt_tasks.clocks import boottime
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.identity import TaskId

_TTL: Final = 10.0
_TRIES: Final = 3
_QUICK: Final = 0.005
"""Seconds of a round trip that is not worth another try."""


class BrokerClock:
    """Tells the broker's time once it is `set`; a jump of this machine's wall clock does not move it."""

    def __init__(self) -> None:
        self._token = str(TaskId.new())
        self._ahead = 0.0

    async def set(self, backend: TaskBackend) -> None:
        """Compare with the broker's clock: a lock that nobody else takes says by that clock when it runs out.

        It was so late there before the answer came: the time told here is behind by a round trip at most, and never
        ahead, so that nothing is fired early. Raises BackendError.
        """
        bounds: list[float] = []
        for _ in range(_TRIES):
            began = boottime()
            lock = await backend.acquire_lock(f"scheduler-clock:{self._token}", self._token, _TTL)
            ended = boottime()
            if lock is not None:
                bounds.append(lock.until - _TTL - ended)
            if ended - began < _QUICK:
                break
        self._ahead = max(bounds, default=self._ahead)

    def now(self) -> float:
        """Unix seconds by the broker's clock."""
        return boottime() + self._ahead
