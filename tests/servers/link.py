"""Links to Redis servers for tests, and a queue on one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from reinhardt_tasks.backends.redis import RedisTaskBackend
from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import parse
from reinhardt_tasks.errors import BackendUnavailableError
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.task import AsyncTask
from tests.servers.redis import fresh_prefix

TTL = 60.0
PATIENCE = 20.0
"""Seconds for a reply, on machines that have much else to do."""
T = TypeVar("T")


def link_to(
    url: str, *, prefix: str = "", timeout: float = PATIENCE, wait_replicas: int = 0, replica_timeout: float = 1.0
) -> Link:
    """A link that is not open yet, on keys of its own."""
    root = f"{{{prefix or fresh_prefix()}}}".encode()
    return Link(parse(url)[0], root=root, timeout=timeout, wait_replicas=wait_replicas, replica_timeout=replica_timeout)


@asynccontextmanager
async def linked(
    url: str, *, timeout: float = PATIENCE, wait_replicas: int = 0, replica_timeout: float = 1.0
) -> AsyncGenerator[Link]:
    """An open link on keys of its own."""
    link = link_to(url, timeout=timeout, wait_replicas=wait_replicas, replica_timeout=replica_timeout)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def write(link: Link, name: str = "name") -> bytes:
    """Call a script that writes, as any backend's verbs do: take a lock."""
    answer: bytes = await link.call("acquire_lock", name, "token", TTL, replicate=True)
    return answer


async def patiently(call: Callable[[], Awaitable[T]], *, timeout: float = 20.0) -> T:
    """What `call` answers once the server is available."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await call()
        except BackendUnavailableError:
            if time.monotonic() > deadline:
                raise


def shouting(url: str, prefix: str) -> tuple[TaskQueue, AsyncTask[[str], str]]:
    """A queue with this prefix, and a task of it that answers in capitals."""
    queue = TaskQueue(RedisTaskBackend(url, prefix=prefix))

    @queue.task
    async def shout(text: str) -> str:
        await asyncio.sleep(0)
        return text.upper()

    return queue, shout
