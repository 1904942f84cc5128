"""A backend's way to its server: scripts by name on one pipelined connection, which comes back when it was lost."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import secrets
import time
from typing import Any, Final

from redis.exceptions import NoScriptError, RedisError

from reinhardt_tasks.backends.redis import faults
from reinhardt_tasks.backends.redis.connection import Hello, Part, Wire, packed
from reinhardt_tasks.backends.redis.lane import Copies, Lane
from reinhardt_tasks.backends.redis.listener import Listener
from reinhardt_tasks.backends.redis.master import Guide
from reinhardt_tasks.backends.redis.place import Place
from reinhardt_tasks.backends.redis.scripts import FLAGS_SINCE, Script, script
from reinhardt_tasks.errors import BackendError

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before the second attempt to connect in a row, at most, and before any."""


class Link:
    """Commands and scripts on the server of `place`, whose keys begin with `root`. See `open`.

    No reply within `timeout` seconds is a BackendUnavailableError. A call that says `replicate` also waits until
    `wait_replicas` replicas have it, or `replica_timeout` seconds are over: then it is a BackendUnavailableError too.
    """

    def __init__(
        self,
        place: Place,
        *,
        root: bytes,
        timeout: float = 5.0,
        wait_replicas: int = 0,
        replica_timeout: float = 1.0,
        allow_eviction: bool = False,
    ) -> None:
        self.place = place
        self.root = root
        self.listener = Listener(self._connect, str(place), root + b"wake:", timeout=timeout)
        self.connected_at = 0.0
        """Monotonic time of the last connect."""
        self.reconnects = -1
        """How often the connection was lost and made anew."""
        self._copies = Copies(wait_replicas, replica_timeout)
        self._timeout = timeout
        self._allow_eviction = allow_eviction
        self._guide = Guide(place, root, timeout)
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._lane: Lane | None = None
        self._connecting: asyncio.Task[Lane] | None = None
        self._failures = 0
        self._flags = True

    async def open(self) -> None:
        """Connect, and check that the server can keep the promises; on an open link it does nothing.

        Raises ConfigurationError, SchemaError, BackendUnavailableError or BackendError.
        """
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home == home:
            return
        self._home, self._lane, self._connecting, self._failures = home, None, None, 0
        self.reconnects = -1
        self.listener.move_in(secrets.token_hex(8).encode())
        try:
            await self._connected()
        except BaseException:
            self._home = None
            raise

    async def close(self) -> None:
        """Let go of every connection; whoever waits for a reply gets BackendUnavailableError."""
        if self._home is None or self._home != (os.getpid(), asyncio.get_running_loop()):
            self._home = None
            return
        self._home = None
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        await self.listener.close()
        if self._lane is not None:
            await self._lane.close()

    async def call(self, name: str, *args: Part, replicate: bool = False) -> Any:
        """What the script `lua/<name>.lua` answers, with KEYS = {root} and ARGV = `args`, as RESP2 gives it."""
        lane = self._lane
        if lane is None or lane.loop is not asyncio.get_running_loop():
            lane = await self._connected()
        called = script(name, flags=self._flags)
        try:
            return await lane.send(packed((b"EVALSHA", called.digest, b"1", self.root, *args)), replicate=replicate)
        except NoScriptError:
            return await self._teach(called, args, replicate=replicate)
        except RedisError as error:
            raise faults.translated(error, str(self.place)) from error

    async def command(self, *parts: Part) -> Any:
        """The reply to any plain command."""
        return await self._send(packed(parts), replicate=False)

    async def _teach(self, called: Script, args: tuple[Part, ...], *, replicate: bool) -> Any:
        """Repeat a call with the whole script, which the server then knows."""
        request = packed((b"EVAL", called.source, b"1", self.root, *args))
        return await self._send(request, replicate=replicate)

    async def _send(self, request: bytes, *, replicate: bool) -> Any:
        lane = self._lane
        if lane is None or lane.loop is not asyncio.get_running_loop():
            lane = await self._connected()
        try:
            return await lane.send(request, replicate=replicate)
        except RedisError as error:
            raise faults.translated(error, str(self.place)) from error

    # Connecting -----------------------------------------------------------------------------------------------------

    async def _connected(self) -> Lane:
        """The connection, made anew where there is none; all who ask meanwhile share the attempt."""
        if self._home != (os.getpid(), asyncio.get_running_loop()):
            raise self._not_open()
        if self._lane is not None:
            return self._lane
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._make_lane(), name="redis-connect")
            self._connecting.add_done_callback(self._made)
        attempt = self._connecting
        await asyncio.wait([attempt])
        if attempt.cancelled():
            raise self._not_open()
        if error := attempt.exception():
            raise copy.copy(error) from error.__cause__
        return attempt.result()

    def _made(self, attempt: asyncio.Task[Lane]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()

    async def _make_lane(self) -> Lane:
        if self._failures:
            await asyncio.sleep(_pause(self._failures))
        self._failures += 1
        wire, hello = await self._connect()
        self._failures = 0
        self._flags = hello.version >= FLAGS_SINCE
        self._lane = Lane(wire, str(self.place), timeout=self._timeout, copies=self._copies, on_end=self._lost)
        self.connected_at = time.monotonic()
        self.reconnects += 1
        return self._lane

    async def _connect(self) -> tuple[Wire, Hello]:
        try:
            return await self._guide.connect()
        except TimeoutError as error:
            raise faults.unavailable(str(self.place), f"no answer within {self._timeout:g} s") from error
        except (RedisError, OSError) as error:
            raise faults.translated(error, str(self.place)) from error

    def _lost(self, lane: Lane) -> None:
        if self._lane is lane:
            self._lane = None

    def _not_open(self) -> BackendError:
        return BackendError(
            f"the backend for {self.place} is not open in this process and event loop: use `async with` or call open() "
            "first, after a fork again, and a sibling() for another loop.",
            backend="redis",
            place=str(self.place),
        )


def _pause(failures: int) -> float:
    """Seconds before the next attempt to connect, after `failures` that failed in a row."""
    return random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 9)))  # noqa: S311 - no secret
