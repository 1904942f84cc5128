"""A bad line to a server: a TCP proxy that cuts, delays or swallows what goes through it, as a test says."""

from __future__ import annotations

import asyncio
import contextlib
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
        self._lines: set[_Line] = set()
        self._server: asyncio.Server | None = None
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
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> int:
        lines = list(self._lines)
        for line in lines:
            line.reset()
        await asyncio.gather(*(line.ended.wait() for line in lines))
        return len(lines)

    async def _pass(self, passing: bool) -> None:
        self._passing.set() if passing else self._passing.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = _Line(writer)
        self._lines.add(line)
        try:
            await line.carry(self._forward(line, reader))
        finally:
            self._lines.discard(line)

    async def _forward(self, line: _Line, reader: asyncio.StreamReader) -> None:
        await self._passing.wait()
        answers, server = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        line.writers.append(server)
        (client, *_) = line.writers
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pump(reader, server, lambda data: self._ask(line, data)))
            both.create_task(self._pump(answers, client, lambda _: self._answer(line)))

    def _ask(self, line: _Line, request: bytes) -> None:
        line.doomed = line.doomed or self._cut_when(request)

    def _answer(self, line: _Line) -> None:
        if line.doomed:
            self.cuts += 1
            line.reset()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: Callable[[bytes], None]
    ) -> None:
        """Carry bytes one way; each piece is looked at first, and goes through when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def take_in() -> None:
            while data := await source.read(CHUNK):
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
                sink.write(data)
                await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()

    def _hold_up(self) -> float:
        return max(0.0, self._delay + random.uniform(-self._jitter, self._jitter))  # noqa: S311


class _Line:
    """One connection through the proxy: the client's and the server's side of it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.doomed = False
        self.ended = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def carry(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` until it ends or the line is reset."""
        self._work = asyncio.create_task(work)
        with contextlib.suppress(OSError, asyncio.CancelledError, BaseExceptionGroup):
            await self._work
        for writer in self.writers:
            writer.transport.abort()
        self.ended.set()

    def reset(self) -> None:
        """Reset both sides."""
        for writer in self.writers:
            plug: socket.socket | None = writer.get_extra_info("socket")
            if plug is not None and not writer.is_closing():
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
            writer.transport.abort()
        if self._work is not None:
            self._work.cancel()


def _never(_: bytes) -> bool:
    return False
