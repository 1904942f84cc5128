"""The worker's end of the socket to a child: frames in and out without ever blocking the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from reinhardt_tasks.worker.frames import RECEIVE, Frames


class Pipe:
    """One socket on the running loop. `on_frame` gets the content of each frame; `on_end` is called once, at the end.

    It ends when the other side has closed, or sends what is no frame.
    """

    def __init__(self, sock: socket.socket, *, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
        self._sock = sock
        self._on_frame = on_frame
        self._on_end = on_end
        self._frames = Frames()
        self._unsent = bytearray()
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._receive)

    def send(self, frame: bytes) -> None:
        """Send a frame, as soon as the other side takes it. To one that is gone nothing is sent."""
        waiting = bool(self._unsent)
        self._unsent += frame
        if self._open and not waiting and not self._sent_all():
            self._loop.add_writer(self._sock, self._send_more)

    def receive_rest(self) -> None:
        """Hand on all that has arrived so far. For a child that has ended: one that talks on would never let go."""
        while self._open and self._receive():
            pass

    def close(self) -> None:
        """Hang up: nothing more is received or sent."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._on_end()  # before the other side sees it
        self._sock.close()

    def _receive(self) -> bool:
        """Hand on some of what has arrived; False when nothing has."""
        try:
            received = self._sock.recv(RECEIVE)
        except BlockingIOError:
            return False
        except OSError:  # reset by a child that left something unread
            received = b""
        if not received or not self._cut(received):
            self.close()
        return True

    def _cut(self, received: bytes) -> bool:
        """Hand on the frames that are complete now; False when the other side sends something else."""
        try:
            for content in self._frames.feed(received):
                self._on_frame(content)
        except ValueError:
            return False
        return True

    def _send_more(self) -> None:
        if self._sent_all():
            self._loop.remove_writer(self._sock)

    def _sent_all(self) -> bool:
        """Send what the socket takes now. True when nothing is left, or nobody there (which `_receive` will see)."""
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()
        return not self._unsent
