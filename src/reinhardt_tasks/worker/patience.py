"""How a worker waits for a broker that is away: full-jitter back-off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Final

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError

log = logging.getLogger("reinhardt_tasks.worker")

_FIRST: Final = 0.1
_LAST: Final = 5.0


def backoff(failures: int) -> float:
    """Seconds to wait after `failures` failures in a row (1 is the first): drawn evenly up to a bound of 0.1 to 5 s."""
    bound = min(_LAST, _FIRST * 2.0 ** min(failures, 10))
    return random.uniform(_FIRST / 2, bound)  # noqa: S311 - spread, not secrecy


async def open_patiently(backend: TaskBackend, stop: asyncio.Event) -> bool:
    """Open the backend, waiting for one that is not reachable; False when `stop` was set before it was.

    Raises what will not get better by waiting.
    """
    failures = 0
    while not stop.is_set():
        try:
            await backend.open()
        except BackendUnavailableError as error:
            failures += 1
            log.warning("broker_unavailable backend=%s failures=%d error=%s", backend.name, failures, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), backoff(failures))
        else:
            return True
    return False
