"""A standing connection to the broker: a thread that begins a new session whenever one has ended."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import threading
import time
from typing import Final, Protocol

import pika

from reinhardt_tasks.backends.rabbitmq import faults
from reinhardt_tasks.backends.rabbitmq.place import Place, Tls
from reinhardt_tasks.backends.rabbitmq.wire import Ended, Event, Ready, Session, Terms
from reinhardt_tasks.errors import BackendError

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds before an attempt that follows failed ones: the bound of the first, and of late ones."""
STOOD: Final = 10.0
"""Seconds after which a session was no failure."""

log = logging.getLogger("reinhardt_tasks.backends.rabbitmq")


class Lane(Protocol):
    """Who uses a link."""

    def prepare(self, place: Place) -> None:
        """Declare what a session needs. Called before each, on the link's thread. May raise what pika raises."""

    def hear(self, session: Session, events: list[Event]) -> None:
        """Called on the event loop with what has happened, in its order."""


class Link:
    """A connection of its own for `lane`, between `open` and `close`; made anew when it was lost."""

    def __init__(self, place: Place, lane: Lane, terms: Terms, *, name: str) -> None:
        self.place = place
        self.sessions = 0
        """How many sessions were ready."""
        self._lane = lane
        self._terms = terms
        self._name = name
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._first: asyncio.Future[None] | None = None
        self._is_ready = False

    async def open(self) -> None:
        """Connect. Raises ConfigurationError, BackendUnavailableError, or BackendError where it is open elsewhere."""
        if self._home is not None and self._home[0] == os.getpid():
            raise self._not_open()
        loop = asyncio.get_running_loop()
        self._home, self._first = (os.getpid(), loop), loop.create_future()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(loop, self._closing), name=self._name, daemon=True)
        self._thread.start()
        try:
            await self._first
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection. In another process than it was opened in, it only says that it is not open here."""
        here = self._home is not None and self._home[0] == os.getpid()
        thread, self._thread, self._home = self._thread, None, None
        if not here or thread is None:
            return
        self._closing.set()
        if self._session is not None:
            self._session.end()
        await asyncio.to_thread(thread.join, self.place.timeout)

    def check_home(self) -> None:
        """Raise BackendError unless it is open in this process and event loop."""
        if self._home != (os.getpid(), asyncio.get_running_loop()):
            raise self._not_open()

    def _not_open(self) -> BackendError:
        return BackendError(
            f"the backend for {self.place} is not open in this process and event loop: use `async with` or call "
            "open() first, in a forked child again.",
            backend="rabbitmq",
            place=str(self.place),
        )

    # On the thread ----------------------------------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop, closing: threading.Event) -> None:
        failures = attempt = 0
        while not closing.is_set():
            begun = time.monotonic()
            self._attempt(Session(attempt + 1, self._terms, loop, self._hear), attempt, closing)
            attempt += 1
            failures = 0 if time.monotonic() - begun > STOOD else failures + 1
            closing.wait(pause(failures))

    def _attempt(self, session: Session, attempt: int, closing: threading.Event) -> None:
        try:
            self._lane.prepare(self.place)
            self._session = session
            if closing.is_set():  # it was closed while there was no session to end
                raise faults.unavailable(str(self.place), "the backend was closed")
            session.run(parameters(self.place, self._name, attempt))
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must go on and try again
            session.fail(error)

    # On the event loop ------------------------------------------------------------------------------------------------

    def _hear(self, session: Session, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Ready):
                self._begun(session)
            elif isinstance(event, Ended):
                self._ended(event.error)
        self._lane.hear(session, events)

    def _begun(self, session: Session) -> None:
        if self.sessions:
            log.warning("rabbitmq_connected_again", extra={"place": str(self.place), "session": session.number})
        self.sessions += 1
        self._is_ready = True
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _ended(self, error: BaseException) -> None:
        was_ready, self._is_ready = self._is_ready, False
        if self._closing.is_set():
            return
        fault = faults.translated(error, str(self.place))
        if self._first is not None and not self._first.done():
            self._first.set_exception(fault)
        elif was_ready:  # said once, and not again with each attempt
            log.warning("rabbitmq_connection_lost: %s", fault, extra={"place": str(self.place)})


def pause(failures: int) -> float:
    """Seconds before the next attempt, after `failures` that failed in a row."""
    return random.uniform(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 9)))  # noqa: S311 - no secret


def parameters(place: Place, name: str, attempt: int = 0) -> pika.ConnectionParameters:
    """The form that pika has for a place; another of its hosts with each attempt."""
    _hush()
    host, port = place.seeds[attempt % len(place.seeds)]
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=place.virtual_host,
        credentials=pika.PlainCredentials(place.user, place.password),
        heartbeat=place.heartbeat,
        socket_timeout=place.timeout,
        stack_timeout=2 * place.timeout,
        blocked_connection_timeout=None,
        client_properties={"connection_name": name},
        ssl_options=None if place.tls is None else pika.SSLOptions(_context(place.tls), host),
    )


def _hush() -> None:
    """Pika reports each failed attempt in eight lines, where here one says it. Whoever has set its level keeps it."""
    loud = logging.getLogger("pika")
    if loud.level == logging.NOTSET:
        loud.setLevel(logging.CRITICAL)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.authority)
    context.check_hostname = tls.host_checked and tls.verified
    context.verify_mode = ssl.CERT_REQUIRED if tls.verified else ssl.CERT_NONE
    if tls.oldest is not None:
        context.minimum_version = tls.oldest
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context
