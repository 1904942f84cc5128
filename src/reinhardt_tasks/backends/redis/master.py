"""Finds the one server that takes the writes of a prefix, and opens connections to it.

All keys of a prefix are in one slot, so that of a cluster too only one node matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError

from reinhardt_tasks.backends.redis.connection import Address, Credentials, Hello, Wire, ask, greeted, opened, shut
from reinhardt_tasks.backends.redis.place import Place

FORMAT: Final = b"format"
"""The key that says by which version of this package the keys of a prefix are laid out."""


class Met(NamedTuple):
    """A connection to a master, the master, and the format of what it stores (None: nothing yet)."""

    wire: Wire
    address: Address
    hello: Hello
    layout: bytes | None


class UnknownServiceError(RedisError):
    """The sentinels answer, and none of them has heard of the service."""


class Guide:
    """Knows the way to the master of `place` for the keys that begin with `root`.

    `timeout` is for one connection; where several are asked for the way, each is given its part of it.
    """

    def __init__(self, place: Place, root: bytes, timeout: float) -> None:
        self._place = place
        self._root = root
        self._timeout = timeout
        self._asked = list(place.seeds)

    async def connect(self) -> Met:
        """A connection to the master, which answers and has the keys.

        Raises redis-py's errors, OSError and TimeoutError.
        """
        async with asyncio.timeout(self._timeout):
            return await self._meet(await self._find())

    async def _find(self) -> Address:
        if self._place.kind == "sentinel":
            return await self._ask_around(self._place.sentinel, self._by_sentinel)
        if self._place.kind == "cluster":
            return await self._ask_around(self._place.credentials, self._by_slots)
        return self._place.seeds[0]

    async def _meet(self, address: Address) -> Met:
        wire = await opened(address, self._place.credentials, timeout=self._timeout)
        try:
            hello = await greeted(wire)
            if hello.role != "master":
                raise ReadOnlyError("it is a read-only replica")
            # The first look at a key: the server says now if it is loading, down or not the one that has it.
            return Met(wire, address, hello, await ask(wire, b"GET", self._root + FORMAT))
        except BaseException:
            await shut(wire)
            raise

    # Asking for the way ---------------------------------------------------------------------------------------------

    async def _ask_around(
        self, credentials: Credentials, question: Callable[[Wire, Address], Awaitable[Address]]
    ) -> Address:
        """The first answer. Whoever gave it is asked first next time, whoever gave none last."""
        share = self._timeout / (len(self._asked) + 1)
        failure: Exception | None = None
        for address in list(self._asked):
            try:
                async with asyncio.timeout(share):
                    return await self._ask_one(address, credentials, question)
            except (RedisError, OSError, TimeoutError) as error:
                failure = failure if isinstance(failure, UnknownServiceError) else error
                self._asked.remove(address)
                self._asked.append(address)
        raise failure or ConnectionError("there is nobody to ask")

    async def _ask_one(
        self, address: Address, credentials: Credentials, question: Callable[[Wire, Address], Awaitable[Address]]
    ) -> Address:
        wire = await opened(address, credentials, timeout=self._timeout)
        try:
            return await question(wire, address)
        finally:
            await shut(wire)

    async def _by_sentinel(self, wire: Wire, _: Address) -> Address:
        found = await ask(wire, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.service)
        if found is None:
            raise UnknownServiceError(f"the sentinels know no service {self._place.service!r}")
        return Address(found[0].decode(), int(found[1]))

    async def _by_slots(self, wire: Wire, asked: Address) -> Address:
        """The node that has our slot; remembers all nodes, as those of the URL may be gone one day."""
        slot = key_slot(self._root)
        rows = await ask(wire, "CLUSTER", "SLOTS")
        nodes = {_node(node, asked): first <= slot <= last for first, last, *nodes in rows for node in nodes}
        owners = [_node(master, asked) for first, last, master, *_ in rows if first <= slot <= last]
        self._asked = list(dict.fromkeys([asked, *nodes, *self._asked]))
        if not owners:
            raise ClusterDownError(f"no node has slot {slot}")
        return owners[0]


def _node(row: list[bytes | int | None], asked: Address) -> Address:
    """A node in a row of CLUSTER SLOTS; one that does not know its own name is the one that was asked."""
    host, port = row[0], row[1]
    name = host.decode() if isinstance(host, bytes) else ""
    return Address(name if name not in {"", "?"} else asked.host, int(port or 0))
