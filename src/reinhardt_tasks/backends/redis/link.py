"""A backend's way to its server: scripts by name on one pipelined connection, which is made anew when it was lost."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from redis.exceptions import NoScriptError, RedisError

from reinhardt_tasks.backends.redis import check, faults
from reinhardt_tasks.backends.redis.connection import Hello, Part, packed, shut
from reinhardt_tasks.backends.redis.lane import Copies, Lane
from reinhardt_tasks.backends.redis.listener import Listener
from reinhardt_tasks.backends.redis.master import Guide, Met
from reinhardt_tasks.backends.redis.place import Place
from reinhardt_tasks.backends.redis.scripts import FLAGS_SINCE, script
from reinhardt_tasks.errors import BackendError

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds before an attempt to connect that follows failed ones: the bound after the first, and after many."""

Home: TypeAlias = tuple[int, asyncio.AbstractEventLoop]
"""The process and the loop that a link is open in."""


class Link:
    """Commands and scripts on the server of `place`, whose keys begin with `root`; between `open` and `close`.

    `timeout` seconds are given to a connect, and to a reply; more is a BackendUnavailableError. A call with `replicate`
    returns when `wait_replicas` replicas have what it wrote; where that takes more than `replica_timeout` seconds it is
    a BackendUnavailableError too. When the connection was lost the next call makes it anew, or fails.
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
        self.connected_at = 0.0
        """Monotonic time of the last connect."""
        self.reconnects = -1
        """How often the connection was made anew since `open`."""
        self._copies = Copies(wait_replicas, replica_timeout)
        self._timeout = timeout
        self._allow_eviction = allow_eviction
        self._guide = Guide(place, root, timeout)
        self.listener = Listener(self._meet, str(place), root + b"wake:", timeout=timeout)
        self._home: Home | None = None
        self._opened = asyncio.Event()
        self._lane: Lane | None = None
        self._connecting: asyncio.Task[Lane] | None = None
        self._failures = 0
        self._hello = Hello((0,), "", "")
        self._flags = False

    # Life cycle -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and check that the server can keep the promises; on an open link it does nothing.

        Raises ConfigurationError, SchemaError, BackendUnavailableError, or BackendError where it is open elsewhere.
        """
        home = (os.getpid(), asyncio.get_running_loop())
        while self._home == home:
            if self._opened.is_set():
                return
            await self._opened.wait()  # another is just opening it, and may fail
        if self._home is not None and self._home[0] == home[0] and not self._home[1].is_closed():
            raise self._not_open()
        self._move_in(home)
        opened = self._opened
        try:
            await self._admitted(home)
        except BaseException as error:
            await self.close()
            if isinstance(error, BackendError):
                raise faults.at_open(error, self.place.kind) from error.__cause__
            raise
        finally:
            opened.set()

    async def close(self) -> None:
        """Let go of every connection; whoever waits for a reply gets BackendUnavailableError.

        In another process or loop than it was opened in, it only says that the link is not open here.
        """
        here = self._home == (os.getpid(), asyncio.get_running_loop())
        lane, connecting = self._lane, self._connecting
        self._home = self._lane = self._connecting = None  # from here on it may be opened again
        if not here:
            return
        if connecting is not None:
            connecting.cancel()
        await self.listener.close()
        if connecting is not None:
            await asyncio.wait([connecting])
        if lane is not None:
            await lane.close()

    async def check(self) -> Mapping[str, str]:
        """What an operator should know: versions, durability, sizes, and warnings."""
        place = str(self.place)
        await self._connected()
        return await check.facts(self.command, self._hello, place=place, root=self.root, copies=self._copies)

    def _move_in(self, home: Home) -> None:
        self._home = home
        self._opened = asyncio.Event()
        self._lane = self._connecting = None
        self._failures = 0
        self.reconnects = -1
        self.listener.move_in(secrets.token_hex(8).encode())

    async def _admitted(self, home: Home) -> None:
        met = await self._meet()
        if self._home != home:  # it was closed meanwhile
            await shut(met.wire)
            raise self._not_open()
        self._settle_on(met)
        await check.admit(
            self.command,
            met.hello,
            met.layout,
            place=str(self.place),
            root=self.root,
            allow_eviction=self._allow_eviction,
        )

    # Calling --------------------------------------------------------------------------------------------------------

    async def call(self, name: str, *args: Part, replicate: bool = False) -> Any:
        """What the script `lua/<name>.lua` answers, with KEYS = {root} and ARGV = `args`: bytes, int, list or None."""
        lane = self._lane
        if lane is None or lane.loop is not asyncio.get_running_loop():
            lane = await self._connected()
        called = script(name, flags=self._flags)
        try:
            return await lane.send(packed((b"EVALSHA", called.digest, b"1", self.root, *args)), replicate=replicate)
        except NoScriptError:
            # With the whole text it cannot fail so again, however often others flush the server's scripts.
            return await self._send(packed((b"EVAL", called.source, b"1", self.root, *args)), replicate=replicate)
        except RedisError as error:
            raise faults.translated(error, str(self.place)) from error

    async def command(self, *parts: Part) -> Any:
        """The reply to any plain command."""
        return await self._send(packed(parts))

    async def _send(self, request: bytes, *, replicate: bool = False) -> Any:
        lane = await self._connected()
        try:
            return await lane.send(request, replicate=replicate)
        except RedisError as error:
            raise faults.translated(error, str(self.place)) from error

    async def heard(self) -> Listener:
        """The listener, once all that is published from now on is heard. Raises as `call` does."""
        self._check_home()
        await self.listener.ready()
        return self.listener

    # Connecting -----------------------------------------------------------------------------------------------------

    async def _connected(self) -> Lane:
        """The connection, made anew where there is none; all who ask meanwhile share one attempt."""
        self._check_home()
        if self._lane is not None:
            return self._lane
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._reconnect(), name="redis-connect")
            self._connecting.add_done_callback(self._end_attempt)
        attempt = self._connecting
        await asyncio.wait([attempt])
        if attempt.cancelled():
            raise self._not_open()
        error = attempt.exception()
        if error is not None:
            raise copy.copy(error) from error.__cause__  # each has a traceback of its own
        return attempt.result()

    def _check_home(self) -> None:
        if self._home != (os.getpid(), asyncio.get_running_loop()):
            raise self._not_open()

    def _end_attempt(self, attempt: asyncio.Task[Lane]) -> None:
        if self._connecting is attempt:
            self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # it is no fault where all who asked have gone

    async def _reconnect(self) -> Lane:
        if self._failures:
            await asyncio.sleep(_pause(self._failures))
        self._failures += 1
        lane = self._settle_on(await self._meet())
        self._failures = 0
        return lane

    def _settle_on(self, met: Met) -> Lane:
        """From now on talk on this connection."""
        if self._lane is not None:
            self._lane.end("there is a newer connection")
        lane = Lane(met.wire, str(self.place), timeout=self._timeout, copies=self._copies, on_end=self._lost)
        self._lane, self._hello = lane, met.hello
        self._flags = met.hello.version >= FLAGS_SINCE
        self.connected_at = time.monotonic()
        self.reconnects += 1
        self.listener.follow(met.address)
        return lane

    async def _meet(self) -> Met:
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
            f"the backend for {self.place} is not open in this process and event loop: use `async with` or call "
            "open() first, in a forked child again; another loop needs a sibling().",
            backend="redis",
            place=str(self.place),
        )


def _pause(failures: int) -> float:
    """Seconds before the next attempt to connect, after `failures` that failed in a row."""
    return random.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 9)))  # noqa: S311 - no secret
