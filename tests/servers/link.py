"""A link to a Redis server for a test, without the backend on top."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import parse
from tests.servers.redis import fresh_prefix

TTL = 60.0


def link_to(
    url: str, *, prefix: str = "", timeout: float = 5.0, wait_replicas: int = 0, replica_timeout: float = 1.0
) -> Link:
    """A link that is not open yet, on keys of its own."""
    root = f"{{{prefix or fresh_prefix()}}}".encode()
    return Link(parse(url)[0], root=root, timeout=timeout, wait_replicas=wait_replicas, replica_timeout=replica_timeout)


@asynccontextmanager
async def linked(
    url: str, *, timeout: float = 5.0, wait_replicas: int = 0, replica_timeout: float = 1.0
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
