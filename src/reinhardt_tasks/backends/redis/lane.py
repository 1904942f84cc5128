"""One connection for all callers: requests share what is written, replies come back in their order."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from reinhardt_tasks.backends.redis import faults, forking
from reinhardt_tasks.backends.redis.connection import Wire, packed, shut

_SECOND_LOOK: Final = 0.1
"""Seconds between missing a reply and giving up: where this process stood still, the reply is there by then."""


class Copies(NamedTuple):
    """How many replicas must have a write before it counts, and the seconds they are given for it."""

    wanted: int
    timeout: float


Held = list[tuple[asyncio.Future[Any], Any]]
"""Callers whose replies are there, and wait for the replicas."""


class Lane:
    """Sends requests on a connected `wire` until that fails or a reply is `timeout` seconds late.

    A caller that goes away leaves its reply to be dropped. `on_end` is called once, when nothing more can be sent;
    whoever still waits gets BackendUnavailableError.
    """

    def __init__(
        self, wire: Wire, place: str, *, timeout: float, copies: Copies, on_end: Callable[[Lane], None]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = False
        self._wire = wire
        self._place = place
        self._copies = copies
        self._timeout = timeout + (2 * copies.timeout if copies.wanted else 0.0)
        self._wait = packed((b"WAIT", copies.wanted, max(1, round(copies.timeout * 1000))))
        self._on_end = on_end
        self._outgoing: list[bytes] = []
        self._flushing = False
        self._held: Held | None = None
        self._confirming = False
        self._waiting: deque[tuple[asyncio.Future[Any] | None, float, Held | None]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._replies = 0
        self._shutting: asyncio.Task[None] | None = None
        forking.track(self)
        try:
            wire.deliver(self._accept, self._break)
        except OSError as error:
            self.loop.call_soon(self._break, error)  # once whoever made this knows of it

    def send(self, request: bytes, *, replicate: bool = False) -> asyncio.Future[Any]:
        """The reply to a packed `request`; redis-py's error where it is one. To be awaited at once.

        With `replicate` it comes when enough replicas have what was written, else as BackendUnavailableError.
        """
        if self.ended:
            raise faults.unavailable(self._place, "the connection was lost")
        self._outgoing.append(request)
        if not self._flushing:
            self._write()
            self._flush_soon()
        held = None
        if replicate and self._copies.wanted:
            if self._held is None:
                self._held = []
            held = self._held
        future: asyncio.Future[Any] = self.loop.create_future()
        self._waiting.append((future, self.loop.time(), held))
        if self._watch is None:
            self._watch = self.loop.call_later(self._timeout, self._look)
        return future

    async def close(self) -> None:
        """Drop the connection; whoever still waits gets BackendUnavailableError."""
        self.end("it was closed here")
        if self._shutting is not None:
            await asyncio.wait([self._shutting])

    def end(self, why: str) -> None:
        """As `close`, without waiting until the connection is gone."""
        if self.ended:
            return
        self.ended = True
        if self._watch is not None:
            self._watch.cancel()
        self._wire.abort()
        self._shutting = self.loop.create_task(shut(self._wire), name="redis-shut")
        for future in self._unanswered():
            if not future.done():
                future.set_exception(faults.unavailable(self._place, why))
        self._on_end(self)

    def leave(self) -> int | None:
        """See forking.Forkable."""
        self.ended = True
        return self._wire.socket_number()

    # Writing --------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write what was sent. The first request of a round of the loop goes at once, so that the server can begin."""
        if self._outgoing:
            self._wire.write(b"".join(self._outgoing))
            self._outgoing.clear()

    def _flush_soon(self) -> None:
        self._flushing = True
        self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write together what else was sent in this round of the loop.

        One WAIT stands for all of it; what comes before its reply shares the next one, so that no more than two replica
        timeouts pass for anybody.
        """
        self._flushing = False
        if self.ended:
            return
        if self._held is not None and not self._confirming:
            self._outgoing.append(self._wait)
            self._waiting.append((None, self.loop.time(), self._held))
            self._held = None
            self._confirming = True
        self._write()

    # Reading --------------------------------------------------------------------------------------------------------

    def _accept(self, reply: Any) -> None:
        """Give a reply to whoever waits for it. Raises what is to end the connection."""
        if self.ended:
            return
        if isinstance(reply, RedisConnectionError):
            raise reply
        self._replies += 1
        future, _, held = self._waiting.popleft()
        if future is None:
            self._confirm(held or [], reply)
        elif isinstance(reply, Exception):
            self._refuse(future, reply)
        elif held is not None:
            held.append((future, reply))
        elif not future.done():
            future.set_result(reply)

    def _break(self, error: Exception) -> None:
        """End because of an error: one of the connection, or what comes of a reply that makes no sense."""
        known = isinstance(error, RedisError | OSError)
        self.end(str(error) if known else f"it talks nonsense ({error!r})")

    def _refuse(self, future: asyncio.Future[Any], error: Exception) -> None:
        if not future.done():
            future.set_exception(error)
        _leave_if_elsewhere(error)

    def _confirm(self, held: Held, replicas: int | Exception) -> None:
        """The replicas have spoken for those whose replies were held."""
        self._confirming = False
        if self._held is not None and not self._flushing:
            self._flush_soon()
        for future, reply in held:
            if future.done():
                continue
            if isinstance(replicas, Exception):
                future.set_exception(copy.copy(replicas))
            elif replicas >= self._copies.wanted:
                future.set_result(reply)
            else:
                future.set_exception(faults.too_few_copies(self._place, replicas, self._copies.wanted))
        if isinstance(replicas, Exception):
            _leave_if_elsewhere(replicas)

    # Waiting --------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the oldest request has waited too long; look again when it will have."""
        self._watch = None
        if not self._waiting:
            return
        left = self._waiting[0][1] + self._timeout - self.loop.time()
        if left > 0:
            self._watch = self.loop.call_later(left, self._look)
        else:
            self._watch = self.loop.call_later(_SECOND_LOOK, self._give_up, self._replies)

    def _give_up(self, replies: int) -> None:
        if replies == self._replies:
            self.end(f"it has not answered within {self._timeout:g} s")
        else:
            self._look()

    def _unanswered(self) -> list[asyncio.Future[Any]]:
        held = [future for _, _, batch in self._waiting for future, _ in batch or ()]
        held += [future for future, _ in self._held or ()]
        return [future for future, _, _ in self._waiting if future is not None] + held


def _leave_if_elsewhere(error: Exception) -> None:
    """Raise `error` where it says that this server is of no use any more."""
    if faults.is_elsewhere(error):
        raise error
