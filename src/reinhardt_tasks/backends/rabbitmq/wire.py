"""One session with the broker: a connection and its channel, run by the thread that calls `run` until it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import pika
from pika import frame
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPConnectionError

from reinhardt_tasks.backends.rabbitmq import frames
from reinhardt_tasks.backends.rabbitmq.frames import FRAME, OVERHEAD, Delivery

_PATIENCE: Final = 1.0
"""Seconds that the broker is given to say goodbye."""


class Terms(NamedTuple):
    """What a session's channel is for: publishing with confirms, or these queues, `prefetch` messages of each ahead."""

    timeout: float
    queues: tuple[str, ...] = ()
    prefetch: int = 0


class Began(NamedTuple):
    """The session has a channel. A body is sent in pieces of `largest` bytes at most."""

    channel: int
    largest: int


class Ready(NamedTuple):
    """The session does what it is for: it may publish, or each of its queues delivers."""


class Confirm(NamedTuple):
    """What was published as number `tag`, and with `multiple` all before it, is stored, or is not."""

    tag: int
    multiple: bool
    stored: bool


class Returned(NamedTuple):
    """The message `id` had nowhere to go. Its confirm follows."""

    id: str
    exchange: str
    key: str


class Blocked(NamedTuple):
    """From now on the broker reads nothing that is published, or, with `reason` None, does so again."""

    reason: str | None


class Ended(NamedTuple):
    """The session is over."""

    error: BaseException


Event: TypeAlias = Delivery | Confirm | Began | Ready | Returned | Blocked | Ended


class Wire(pika.SelectConnection):
    """A connection that hands on deliveries and confirms of the channel `quick` by itself, the rest as pika does."""

    quick = 0
    session = 0
    hear: Callable[[Event], None]

    def _on_data_available(self, data_in: bytes) -> None:
        buffer = self._frame_buffer + data_in if self._frame_buffer else data_in
        start, size = 0, len(buffer)
        while size - start >= OVERHEAD:
            end = start + OVERHEAD + FRAME.unpack_from(buffer, start)[2]
            if end > size:
                break
            took = self._quickly(buffer, start, end)
            if not took:
                break
            start = took
        self.bytes_received += start
        self._frame_buffer = buffer[start:] if start < size else b""

    def _quickly(self, buffer: bytes, start: int, end: int) -> int:
        """Where to go on after what begins at `start`; 0 where more has to be there first."""
        if (
            buffer[start] == frames.METHOD
            and self.quick
            and int.from_bytes(buffer[start + 1 : start + 3]) == self.quick
        ):
            method = buffer[start + 7 : start + 11]
            if method == frames.DELIVER:
                found, after = frames.delivery(self.session, buffer, start)
                if found is not None:
                    self.hear(found)
                    return after
                if not after:
                    return 0
            elif method in {frames.ACK, frames.NACK}:
                self.hear(Confirm(*frames.confirm(buffer, start), method == frames.ACK))
                return end
        _, value = frame.decode_frame(buffer[start:end])
        if value is not None:
            self._process_frame(value)
        return end

    def send(self, data: bytes) -> None:
        """Write frames that are packed already."""
        self._output_marshaled_frames([data])

    def abandon(self) -> None:
        """End it without a goodbye, unless it has ended."""
        if not self.is_closed:
            self._terminate_stream(AMQPConnectionError("the broker did not say goodbye"))


class Session:
    """What the two threads share of one connection: bytes go one way, events the other, and nothing is locked.

    Events come to `hear` on `loop`, many at a time, in their order: the first is Began, unless it never begins, and the
    last is Ended. What is not Ready in `terms.timeout` seconds is ended. `run` is for the connection's own thread, all
    else for any.
    """

    def __init__(
        self, number: int, terms: Terms, loop: asyncio.AbstractEventLoop, hear: Callable[[Session, list[Event]], None]
    ) -> None:
        self.number = number
        self._terms = terms
        self._loop = loop
        self._hear = hear
        self._heard: deque[Event] = deque()
        self._hearing = False
        self._outgoing: deque[bytes] = deque()
        self._writing = False
        self._ready = False
        self._ioloop = IOLoop()
        self._wire: Wire | None = None
        self._error: BaseException | None = None

    # The event loop's side --------------------------------------------------------------------------------------------

    def emit(self, data: bytes) -> None:
        """Have these frames written, together with what else is. Where the session is over it does nothing."""
        self._outgoing.append(data)
        if not self._writing:
            self._writing = True
            self._call(self._write)

    def end(self) -> None:
        """Have it end, as far as the broker plays along within a second."""
        self._call(self._close)

    def _call(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):  # pika's loop is closed when the session is over
            self._ioloop.add_callback_threadsafe(work)

    def _hand_over(self) -> None:
        self._hearing = False
        self._hear(self, [self._heard.popleft() for _ in range(len(self._heard))])

    # The connection's side --------------------------------------------------------------------------------------------

    def run(self, parameters: pika.ConnectionParameters) -> None:
        """Connect, and serve until it ends for whatever reason."""
        self._wire = Wire(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._over,
            on_close_callback=self._over,
            custom_ioloop=self._ioloop,
        )
        self._wire.hear = self._note
        self._wire.session = self.number
        self._ioloop.start()
        self.fail(self._error or AMQPConnectionError("it was closed"))

    def fail(self, error: BaseException) -> None:
        """Let go of what it has, and say that it has ended."""
        self._ioloop.close()
        self._note(Ended(error))

    def _note(self, event: Event) -> None:
        self._heard.append(event)
        if not self._hearing:
            self._hearing = True
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._hand_over)

    def _write(self) -> None:
        self._writing = False
        pieces = [self._outgoing.popleft() for _ in range(len(self._outgoing))]
        if self._wire is not None and self._wire.is_open:
            self._wire.send(b"".join(pieces))

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(
            lambda _, told: self._note(Blocked(str(told.method.reason or "blocked")))
        )
        connection.add_on_connection_unblocked_callback(lambda *_: self._note(Blocked(None)))
        connection.channel(on_open_callback=self._have_channel)

    def _have_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._lost_channel)
        channel.add_on_cancel_callback(self._cancelled)
        channel.add_on_return_callback(self._returned)
        wire = channel.connection
        wire.quick = channel.channel_number
        self._note(Began(wire.quick, wire.params.frame_max - OVERHEAD))
        self._ioloop.call_later(self._terms.timeout, self._check)
        if self._terms.queues:
            channel.basic_qos(prefetch_count=self._terms.prefetch, callback=lambda _: self._consume(channel))
        else:
            channel.confirm_delivery(lambda _: None, callback=lambda _: self._serve())

    def _consume(self, channel: Any) -> None:
        *first, last = self._terms.queues
        for queue in first:
            channel.basic_consume(queue, self._delivered, consumer_tag=queue)
        channel.basic_consume(last, self._delivered, consumer_tag=last, callback=lambda _: self._serve())

    def _serve(self) -> None:
        self._ready = True
        self._note(Ready())

    def _check(self) -> None:
        """After a crash, a quorum queue may not find its leader until it is asked again: a consume waits forever."""
        if not self._ready:
            self._close(AMQPConnectionError(f"it was not ready after {self._terms.timeout:g} s"))

    # What pika tells --------------------------------------------------------------------------------------------------

    def _delivered(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        """A message whose body is no single frame."""
        consumer = str(method.consumer_tag).encode()
        priority, identifier, headers = frames.taken(properties)
        tag, again = method.delivery_tag, method.redelivered
        self._note(Delivery(self.number, tag, consumer, again, priority, identifier, body, headers))

    def _returned(self, _: Any, method: Any, properties: Any, _body: bytes) -> None:
        self._note(Returned(str(properties.message_id or ""), str(method.exchange), str(method.routing_key)))

    def _cancelled(self, told: Any) -> None:
        self._close(AMQPConnectionError(f"the queue {told.method.consumer_tag} was deleted"))

    def _lost_channel(self, _: Any, error: Exception) -> None:
        if self._wire is not None and self._wire.is_open:
            self._close(error)

    def _close(self, error: BaseException | None = None) -> None:
        wire = self._wire
        self._error = self._error or error or AMQPConnectionError("it was closed")
        if wire is None or wire.is_closed or wire.is_closing:
            return
        if not wire.is_open:
            self._ioloop.stop()
            return
        wire.close()
        self._ioloop.call_later(_PATIENCE, wire.abandon)

    def _over(self, _: Any, error: BaseException) -> None:
        self._error = self._error or error
        self._ioloop.stop()
