"""Wake-ups of the memory backend: who waits for what, on whichever event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Iterable


class Sleeper:
    """One coroutine that waits for any of its topics."""

    def __init__(self, topics: tuple[Hashable, ...]) -> None:
        self.topics = topics
        self._loop = asyncio.get_running_loop()
        self._woken = self._loop.create_future()

    async def woken(self, timeout: float | None) -> bool:
        """True once one of the topics rang; False after `timeout` seconds (None: never)."""
        done, _ = await asyncio.wait((self._woken,), timeout=timeout)
        return bool(done)

    def wake(self) -> None:
        """End the wait. May be called from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop has been closed: nobody waits there any more
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


class Bell:
    """Rings topics and remembers when each rang last. Used only while the store's lock is held."""

    def __init__(self) -> None:
        self.rings = 0
        self._last: dict[Hashable, int] = {}
        self._sleepers: dict[Hashable, set[Sleeper]] = {}

    def ring(self, *topics: Hashable, remember: bool = True) -> None:
        """Wake all that wait for one of `topics`; with `remember`, those too that come to wait with an older count."""
        self.rings += 1
        for topic in topics:
            if remember:
                self._last[topic] = self.rings
            for sleeper in self._sleepers.get(topic, ()):
                sleeper.wake()

    def rang(self, topics: Iterable[Hashable], since: int) -> bool:
        """Whether one of `topics` rang after the count stood at `since`."""
        return any(self._last.get(topic, 0) > since for topic in topics)

    def listen(self, *topics: Hashable) -> Sleeper:
        """Start to wait, on the running event loop. End with `leave`."""
        sleeper = Sleeper(topics)
        for topic in topics:
            self._sleepers.setdefault(topic, set()).add(sleeper)
        return sleeper

    def leave(self, sleeper: Sleeper) -> None:
        """Wait no more."""
        for topic in sleeper.topics:
            others = self._sleepers[topic]
            others.discard(sleeper)
            if not others:
                del self._sleepers[topic]

    def forget(self, topic: Hashable) -> None:
        """Drop what is remembered of a topic that will not ring again."""
        self._last.pop(topic, None)
