"""Finds the one server that takes the writes of a prefix, and opens connections to it."""

from __future__ import annotations

from reinhardt_tasks.backends.redis.connection import Hello, Wire, opened
from reinhardt_tasks.backends.redis.place import Place


class Guide:
    """Knows the way to the master of `place` for keys that begin with `root`."""

    def __init__(self, place: Place, root: bytes, timeout: float) -> None:
        self._place = place
        self._root = root
        self._timeout = timeout

    async def connect(self) -> tuple[Wire, Hello]:
        """A connection to the master. Raises redis-py's errors, OSError and TimeoutError."""
        return await opened(self._place.seeds[0], self._place.credentials, timeout=self._timeout)
