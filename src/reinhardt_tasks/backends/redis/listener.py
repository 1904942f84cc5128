"""A second connection that hears what scripts publish, opened when somebody first waits: it wakes the sleepers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Generator, Hashable
from typing import Any, Final

from reinhardt_tasks.backends.redis import faults, forking
from reinhardt_tasks.backends.redis.connection import Address, Part, Wire, packed, shut
from reinhardt_tasks.backends.redis.master import Met
from reinhardt_tasks.errors import TaskError

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds before an attempt to connect that follows failed ones: the bound after the first, and after many."""
_SILENCE: Final = 15.0
"""Seconds without a word after which the server is asked whether it is still there."""


class Sleeper:
    """Somebody who waits for a topic, in one place. What comes before `woken` is called is not lost."""

    __slots__ = ("_asleep", "_called")

    def __init__(self) -> None:
        self._called = False
        self._asleep: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Something has happened, or may have."""
        self._called = True
        if self._asleep is not None:
            _resolve(self._asleep)

    async def woken(self, timeout: float | None) -> bool:
        """Whether something came since the last call, or comes within `timeout` seconds (None: waits for ever)."""
        if not self._called:
            await self._sleep(timeout)
        called, self._called = self._called, False
        return called

    async def _sleep(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        asleep = self._asleep = loop.create_future()
        alarm = None if timeout is None else loop.call_later(timeout, _resolve, asleep)
        try:
            await asleep
        finally:
            self._asleep = None
            if alarm is not None:
                alarm.cancel()


class _Words:
    """What is said on a connection: `hear` is called with each word, in the moment it comes."""

    def __init__(self, wire: Wire, hear: Callable[[list[bytes]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wire = wire
        self._hear = hear
        self._last_at = self._loop.time()
        self._next: asyncio.Future[Any] | None = None
        self._lost: asyncio.Future[Any] = self._loop.create_future()
        wire.deliver(self._accept, self._end)

    async def ask(self, *request: Part, timeout: float) -> None:
        """Have the server say something. Raises TimeoutError when it does not, and what ends the connection."""
        self._next = self._loop.create_future()
        self._wire.write(packed(request))
        await asyncio.wait([self._next, self._lost], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            raise self._lost.result()
        if not self._next.done():
            raise TimeoutError(f"no word within {timeout:g} s")

    async def silence(self, seconds: float) -> None:
        """Return when nothing was said for so long. Raises what ends the connection."""
        while (left := self._last_at + seconds - self._loop.time()) > 0:
            await asyncio.wait([self._lost], timeout=left)
            if self._lost.done():
                raise self._lost.result()

    def _accept(self, word: Any) -> None:
        if isinstance(word, Exception):
            raise word
        self._last_at = self._loop.time()
        if self._next is not None:
            _resolve(self._next)
        self._hear(word)

    def _end(self, error: Exception) -> None:
        if not self._lost.done():
            self._lost.set_result(error)


class Listener:
    """Hears what is published to `channel`, on connections that `meet` makes. Comes back when it was lost."""

    channel: bytes
    """Where to publish for this instance."""

    def __init__(self, meet: Callable[[], Awaitable[Met]], place: str, prefix: bytes, *, timeout: float) -> None:
        self.channel = prefix
        self._meet = meet
        self._place = place
        self._prefix = prefix
        self._timeout = timeout
        self._sleepers: dict[Hashable, set[Sleeper]] = {}
        self._wire: Wire | None = None
        self._address: Address | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._readiness: asyncio.Future[None] | None = None

    def move_in(self, name: bytes) -> None:
        """Belong to the running loop, under a name that nobody else has."""
        self.channel = self._prefix + name
        self._sleepers.clear()
        self._wire = self._address = self._hearing = self._readiness = None
        forking.track(self)

    async def ready(self) -> None:
        """Return once all that is published from now on is heard. Raises BackendUnavailableError, BackendError."""
        if self._wire is not None:
            return
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear(), name="redis-listener")
        if self._readiness is None:
            self._readiness = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._readiness)

    @contextlib.contextmanager
    def sleeper(self, topic: Hashable) -> Generator[Sleeper]:
        """Somebody who is woken by `topic`, and whenever something may have been missed."""
        sleeper = Sleeper()
        sleepers = self._sleepers.setdefault(topic, set())
        sleepers.add(sleeper)
        try:
            yield sleeper
        finally:
            sleepers.discard(sleeper)
            if not sleepers and self._sleepers.get(topic) is sleepers:
                del self._sleepers[topic]

    def follow(self, address: Address) -> None:
        """The master is at `address` now: hear it there."""
        if self._wire is not None and self._address != address:
            self._wire.abort()

    async def close(self) -> None:
        """Hear nothing more; wake all."""
        hearing, self._hearing, self._wire = self._hearing, None, None
        self._tell(faults.unavailable(self._place, "it was closed here"))
        self._wake_all()
        if hearing is not None:
            hearing.cancel()
            await asyncio.wait([hearing])

    def leave(self) -> int | None:
        """See forking.Forkable."""
        return None if self._wire is None else self._wire.socket_number()

    # Hearing --------------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Hear until it is cancelled, on one connection after the other."""
        failures = 0
        while True:
            try:
                await self._hear_once()
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody may be waiting to be woken
                failures = 0 if self._wire is not None else failures + 1
                self._wire = None
                self._tell(self._fault(error))
            if failures:
                await asyncio.sleep(_pause(failures))

    async def _hear_once(self) -> None:
        met = await self._meet()
        try:
            words = _Words(met.wire, self._wake)
            await words.ask(b"SUBSCRIBE", self.channel, timeout=self._timeout)
            self._wire, self._address = met.wire, met.address
            self._tell(None)
            self._wake_all()  # a word may have been missed
            while True:
                await words.silence(_SILENCE)
                await words.ask(b"PING", timeout=self._timeout)
        finally:
            await shut(met.wire)

    def _wake(self, word: list[bytes]) -> None:
        if word[0] == b"message":
            for sleeper in self._sleepers.get(word[2], ()):
                sleeper.wake()

    def _wake_all(self) -> None:
        for sleepers in self._sleepers.values():
            for sleeper in sleepers:
                sleeper.wake()

    def _fault(self, error: Exception) -> BaseException:
        """What to raise where somebody wants to be heard."""
        fault = faults.translated(error, self._place)
        return fault if isinstance(fault, TaskError) else faults.unavailable(self._place, f"{error!r} came of hearing")

    def _tell(self, error: BaseException | None) -> None:
        """Tell those who want to be heard how it went."""
        readiness, self._readiness = self._readiness, None
        if readiness is None or readiness.done():
            return
        if error is None:
            readiness.set_result(None)
        else:
            readiness.set_exception(error)
            readiness.exception()  # it is no fault where nobody asks any more


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _pause(failures: int) -> float:
    """Seconds before the next attempt to connect, after `failures` that failed in a row."""
    return random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 9)))  # noqa: S311 - no secret
