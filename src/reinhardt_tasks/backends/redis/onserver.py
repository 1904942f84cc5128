"""What both kinds of store have on a Redis server: a place, keys under a prefix, a link, and waiting to be told."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self, TypeVar

from reinhardt_tasks.backends.redis import place
from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.errors import ConfigurationError

T = TypeVar("T")
AGAIN: Final = 60.0
"""Seconds after which somebody who waits looks and asks anew to be told, should the server have forgotten."""
_TAG: Final = re.compile(r"\{[^}]+\}")


class OnServer:
    """An instance on the server at `url`, with the options in its query and those given; see RedisTaskBackend."""

    def __init__(self, url: str, options: place.Options, *, prefix: str) -> None:
        self._place, asked = place.parse(url)
        self._options: place.Options = {"prefix": prefix, **asked, **options}
        self._link = self._new_link()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._place)!r}, prefix={self._options.get('prefix')!r})"

    def _new_link(self) -> Link:
        """A link that is not open."""
        connecting: dict[str, Any] = dict(self._options)
        prefix = connecting.pop("prefix")
        if not prefix:
            raise ConfigurationError(
                "the prefix is empty; leave it out, or write one such as 'shop:'", setting="prefix"
            )
        root = prefix if _TAG.search(prefix) else f"{{{prefix}}}"
        return Link(self._place, root=root.encode(), **connecting)

    def _unopened(self) -> Self:
        """A copy that is not open."""
        other = copy.copy(self)
        other._link = other._new_link()  # noqa: SLF001 - the copy's own
        return other

    async def _told(
        self, topic: bytes, ask: Callable[[bytes, float], Awaitable[T | None]], timeout: float | None
    ) -> T | None:
        """What `ask(channel, seconds)` answers once that is not None; None after `timeout` seconds.

        `ask` has the server publish `topic` to the channel within so many seconds, should there be news.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        listener = await self._link.heard()
        with listener.sleeper(topic) as sleeper:
            while True:
                left = AGAIN if deadline is None else min(AGAIN, max(0.0, deadline - time.monotonic()))
                answer = await ask(listener.channel, left)
                if answer is not None or (deadline is not None and time.monotonic() >= deadline):
                    return answer
                await sleeper.woken(left)
