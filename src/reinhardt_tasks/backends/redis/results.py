"""Results on a Redis server: a key for each, which the server forgets by itself when its time is over."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self, Unpack

from reinhardt_tasks.backends.redis import place
from reinhardt_tasks.backends.redis.onserver import OnServer
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import ResultBackend, ResultOptions

PREFIX: Final = "reinhardt:results:"
"""What every key begins with, unless told otherwise."""


class Options(place.Options, ResultOptions, total=False):
    """What a RedisResultBackend takes by keyword."""


class RedisResultBackend(OnServer, ResultBackend):
    """Results on the Redis or Valkey server at `url`, for all machines that reach it.

    URL, `prefix` and what else concerns the server are those of a RedisTaskBackend; see ResultOptions for the rest.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        given: Any = dict(options)
        own: Any = {name: given.pop(name) for name in ResultOptions.__annotations__ if name in given}
        ResultBackend.__init__(self, **own)
        OnServer.__init__(self, url, given, prefix=PREFIX)

    async def open(self) -> None:
        """See Store.open."""
        await self._link.open()

    async def close(self) -> None:
        """See Store.close."""
        await self._link.close()

    def sibling(self) -> Self:
        """See Store.sibling."""
        return self._unopened()

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        """See ResultBackend.put."""
        await self._link.call("result_put", task_id, raw, max(1, round(ttl * 1000)), replicate=True)

    async def read(self, task_id: TaskId) -> bytes | None:
        """See ResultBackend.read."""
        kept: bytes | None = await self._link.command("GET", self._link.root + b"result:" + task_id)
        return kept

    async def remove(self, task_id: TaskId) -> bool:
        """See ResultBackend.remove."""
        return bool(await self._link.call("result_remove", task_id, replicate=True))

    async def watch(self, task_id: TaskId, timeout: float | None) -> bytes | None:
        """See ResultBackend.watch."""
        there = await self.read(task_id)
        if there is not None or timeout == 0:
            return there

        async def ask(channel: bytes, seconds: float) -> bytes | None:
            kept: bytes | None = await self._link.call("result_watch", task_id, channel, seconds)
            return kept

        return await self._told(b"r" + task_id, ask, timeout)
