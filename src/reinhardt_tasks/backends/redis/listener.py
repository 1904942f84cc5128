"""A second connection that hears what scripts publish, opened when somebody first waits: it wakes the sleepers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Generator, Hashable
from typing import Final

from redis.exceptions import RedisError

from reinhardt_tasks.backends.redis import faults, forking
from reinhardt_tasks.backends.redis.connection import Hello, Wire, shut
from reinhardt_tasks.errors import BackendError

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
"""Seconds before the second attempt to connect in a row, at most, and before any."""
_PROBE: Final = 15.0
"""Seconds without a word after which the server is asked whether it is still there."""


class Sleeper:
    """Somebody who waits for a topic. What comes before `woken` is called is not lost."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Something has happened, or may have."""
        self._event.set()

    async def woken(self, timeout: float | None) -> bool:
        """Whether something came, now or within `timeout` seconds (None: waits for ever), since the last call."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Listener:
    """Hears `channel` on connections that `connect` makes, while the link is open. Comes back when it was lost."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[tuple[Wire, Hello]]],
        place: str,
        prefix: bytes,
        *,
        timeout: float,
    ) -> None:
        self.channel = prefix
        self._connect = connect
        self._place = place
        self._prefix = prefix
        self._timeout = timeout
        self._sleepers: dict[Hashable, set[Sleeper]] = {}
        self._wire: Wire | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        forking.track(self)

    def move_in(self, name: bytes) -> None:
        """Belong to the running loop, under a name that nobody else has."""
        self.channel = self._prefix + name
        self._sleepers.clear()
        self._wire = self._hearing = self._attempt = None

    async def ready(self) -> None:
        """Return once what is published to `channel` is heard. Raises BackendUnavailableError, BackendError."""
        if self._wire is not None:
            return
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._run(), name="redis-listener")
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._attempt)

    @contextlib.contextmanager
    def sleeper(self, topic: Hashable) -> Generator[Sleeper]:
        """Somebody who is woken by `topic`, and whenever something may have been missed."""
        sleeper = Sleeper()
        self._sleepers.setdefault(topic, set()).add(sleeper)
        try:
            yield sleeper
        finally:
            others = self._sleepers.get(topic, set())
            others.discard(sleeper)
            if not others:
                self._sleepers.pop(topic, None)

    async def close(self) -> None:
        """Hear nothing more; wake all."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            hearing.cancel()
            await asyncio.wait([hearing])
        self._answer(faults.unavailable(self._place, "it was closed here"))
        self._wake_all()

    def leave(self) -> int | None:
        """See forking.Forkable."""
        return None if self._wire is None else self._wire.socket_number()

    # Hearing --------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                wire, _ = await self._connect()
            except BackendError as error:
                failures += 1
                self._answer(error)
                await asyncio.sleep(_pause(failures))
                continue
            failures = 0
            try:
                await self._hear(wire)
            except (RedisError, OSError, TimeoutError) as error:
                self._answer(faults.translated(error, self._place))
            finally:
                self._wire = None
                await shut(wire)

    async def _hear(self, wire: Wire) -> None:
        """Subscribe, then wake whom each word is for, until the connection fails."""
        await wire.send_command("SUBSCRIBE", self.channel, check_health=False)
        async with asyncio.timeout(self._timeout):
            await wire.read_response()
        self._wire = wire
        self._answer(None)
        self._wake_all()  # a word may have been missed
        while True:
            word = await self._next(wire)
            if word[0] == b"message":
                for sleeper in self._sleepers.get(word[2], ()):
                    sleeper.wake()

    async def _next(self, wire: Wire) -> list[bytes]:
        word: list[bytes] = await wire.read_response()
        return word

    def _answer(self, error: BaseException | None) -> None:
        """Tell those who wait for the connection how it went."""
        attempt, self._attempt = self._attempt, None
        if attempt is None or attempt.done():
            return
        if error is None:
            attempt.set_result(None)
        else:
            attempt.set_exception(error)
            attempt.exception()  # it is no fault where nobody waits any more

    def _wake_all(self) -> None:
        for sleepers in self._sleepers.values():
            for sleeper in sleepers:
                sleeper.wake()


def _pause(failures: int) -> float:
    """Seconds before the next attempt to connect, after `failures` that failed in a row."""
    return random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 9)))  # noqa: S311 - no secret
