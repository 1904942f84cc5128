"""A bad line to a server: a TCP proxy that cuts, delays or swallows what goes through it, as a test says."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

CHUNK = 1 << 16
ABRUPT = struct.pack("ii", 1, 0)
"""For SO_LINGER: what is still to be sent is dropped, and the peer gets a reset."""


class Proxy:
    """Forwards connections on `port` of loopback to the server on `target`, from a thread of its own.

    Usable as a context manager. Its methods may be called from any thread; what they say holds when they return.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        """How many connections were made."""
        self.cuts = 0
        """How many connections were reset in place of an answer."""
        self._cut_when: Callable[[bytes], bool] = _never
        self._delay = self._jitter = 0.0
        self._lines: dict[_Line, asyncio.Task[None]] = {}
        self._door: socket.socket | None = None
        self._passing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # What goes wrong --------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Reset all connections and take no more, as where no server runs."""
        self._run(self._refuse())

    def reset(self) -> int:
        """Reset all connections, to both sides; how many there were."""
        return self._run(self._reset())

    def swallow(self) -> None:
        """Let nothing through: no byte, and no word that the line is dead. New connections seem to be made."""
        self._run(self._pass(False))

    def heal(self) -> None:
        """Let everything through again, and first what has waited; nothing is cut or delayed any more."""
        self._cut_when, self._delay, self._jitter = _never, 0.0, 0.0
        self._run(self._pass(True))

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Hold up what goes through, each way, for so long, give or take `jitter` seconds. Its order stays."""
        self._delay, self._jitter = seconds, jitter

    def cut_when(self, decides: Callable[[bytes], bool]) -> None:
        """Reset a connection in place of the answer to what `decides`, called with what a client sends, says yes to.

        The server gets all of it first.
        """
        self._cut_when = decides

    # In the loop ------------------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        # asyncio's own server drops connections that it has accepted when it is closed, without closing them.
        self._door = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._door.setblocking(False)
        self.port = self._door.getsockname()[1]
        self._loop.add_reader(self._door, self._accept, self._door)

    async def _refuse(self) -> None:
        if self._door is not None:
            self._loop.remove_reader(self._door)
            self._door.close()
            self._door = None
        await self._reset()

    async def _reset(self) -> int:
        lines = dict(self._lines)
        for line, work in lines.items():
            line.abrupt = True
            work.cancel()
        if lines:
            await asyncio.wait(lines.values())
            await asyncio.sleep(0)  # callbacks of theirs close the sockets
        return len(lines)

    async def _pass(self, passing: bool) -> None:
        self._passing.set() if passing else self._passing.clear()

    def _accept(self, door: socket.socket) -> None:
        try:
            client, _ = door.accept()
        except OSError:
            return  # it has gone again
        self.accepted += 1
        line = _Line(client)
        work = self._lines[line] = self._loop.create_task(self._carry(line))
        work.add_done_callback(lambda _: self._close(line))  # also where it is cancelled before it has begun

    def _close(self, line: _Line) -> None:
        del self._lines[line]
        line.close()

    async def _carry(self, line: _Line) -> None:
        """Forward both ways until both have ended, or the line is cut."""
        try:
            await self._passing.wait()
            await self._loop.sock_connect(line.server, ("127.0.0.1", self.target))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(line.client, line.server, lambda data: self._ask(line, data)))
                both.create_task(self._pump(line.server, line.client, lambda _: self._answer(line)))
        except* (OSError, _CutError, asyncio.CancelledError):
            line.abrupt = True

    def _ask(self, line: _Line, request: bytes) -> None:
        line.doomed = line.doomed or self._cut_when(request)

    def _answer(self, line: _Line) -> None:
        if line.doomed:
            self.cuts += 1
            raise _CutError

    async def _pump(self, source: socket.socket, sink: socket.socket, look: Callable[[bytes], None]) -> None:
        """Carry bytes one way; each piece is looked at first, and goes through when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def take_in() -> None:
            while data := await self._loop.sock_recv(source, CHUNK):
                look(data)
                await pieces.put((self._loop.time() + self._hold_up(), data))
            await pieces.put((0.0, b""))

        async with asyncio.TaskGroup() as both:
            both.create_task(take_in())
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - self._loop.time())
                await self._passing.wait()
                if not data:
                    break
                await self._loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)

    def _hold_up(self) -> float:
        return max(0.0, self._delay + random.uniform(-self._jitter, self._jitter))  # noqa: S311


class _CutError(Exception):
    """A connection is to end in place of an answer."""


class _Line:
    """One connection through the proxy: the client's side of it and the server's."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server = socket.socket()
        self.doomed = False
        self.abrupt = False
        """Whether both sides are to see a reset."""
        for side in (self.client, self.server):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close both sides."""
        for side in (self.client, self.server):
            if self.abrupt:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
            side.close()


def _never(_: bytes) -> bool:
    return False
