"""What is declared on the server: queues, exchanges, bindings. One that is there and differs is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from reinhardt_tasks.backends.rabbitmq import faults
from reinhardt_tasks.backends.rabbitmq.link import parameters
from reinhardt_tasks.backends.rabbitmq.place import Place
from reinhardt_tasks.backends.rabbitmq.routes import Declared, Routes

_OWN: Final = "amq."
"""How the names of the broker's own exchanges begin, which may not be declared."""


class Declarer:
    """Declares over a connection. Where the broker closes a channel over it, the next step opens another."""

    def __init__(self, connection: pika.BlockingConnection, place: Place) -> None:
        self._connection = connection
        self._place = str(place)
        self._open: Any = None

    @property
    def _channel(self) -> Any:
        if self._open is None or not self._open.is_open:
            self._open = self._connection.channel()
        return self._open

    def queue(self, queue: Declared) -> None:
        """See that a queue is there. Raises ConfigurationError if one of that name is, and differs."""
        self._see(
            queue.name,
            lambda: self._channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments)),
            lambda: self._channel.queue_declare(queue.name, passive=True),
        )

    def exchange(self, name: str, kind: str) -> None:
        """See that an exchange is there, as `queue` does."""

        def look() -> object:
            return self._channel.exchange_declare(name, passive=True)

        if name.startswith(_OWN):
            look()
        else:
            self._see(name, lambda: self._channel.exchange_declare(name, kind, durable=True), look)

    def _see(self, name: str, declare: Callable[[], object], look: Callable[[], object]) -> None:
        """Whoever may not declare anything can still use what an operator has made."""
        try:
            declare()
        except ChannelClosedByBroker as error:
            if error.reply_code == faults.PRECONDITION_FAILED:
                raise faults.declared_otherwise(self._place, name, error.reply_text) from error
            if error.reply_code != faults.ACCESS_REFUSED or not self._is_there(look):
                raise

    def _is_there(self, look: Callable[[], object]) -> bool:
        try:
            look()
        except ChannelClosedByBroker:
            return False
        return True

    def bind(self, queue: str, exchange: str, key: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Have what comes to `exchange` under `key`, or with these headers, go to `queue`."""
        self._channel.queue_bind(queue, exchange, key, dict(arguments or {}))

    def chain(self, exchange: str, source: str, key: str) -> None:
        """Have what comes to `source` under `key` go on to `exchange`."""
        self._channel.exchange_bind(exchange, source, key)


class Topology:
    """What a configuration wants on the server. What was declared once is not declared again until it is forgotten."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.place = routes.config.place
        self._done: set[str] = set()
        self._rungs = 0

    async def ensure(self, queues: Iterable[str], *, delay: float = 0.0) -> None:
        """Declare what these queues need, and the ladder as far as a delay of so many seconds needs it.

        Raises ConfigurationError for what is there and differs, BackendError, or UnsupportedError for too long a delay.
        """
        wanted = [queue for queue in dict.fromkeys(queues) if queue not in self._done]
        rungs = self.routes.ladder.height(delay)
        if wanted or rungs > self._rungs:
            await asyncio.to_thread(self._ensure, wanted, rungs)

    def _ensure(self, wanted: list[str], rungs: int) -> None:
        with connected(self.place) as declarer:
            self.declare(declarer, wanted)
            if rungs > self._rungs:
                self.routes.ladder.declare(declarer, rungs)
                self._rungs = rungs

    def declare(self, declarer: Declarer, queues: Iterable[str]) -> None:
        """Declare what these queues need, whether or not it was done before."""
        config = self.routes.config
        if config.exchange:
            declarer.exchange(config.exchange, config.exchange_type)
        for queue in queues:
            for one in self.routes.refused(queue):
                declarer.queue(one)
            for one in self.routes.lines(queue):
                declarer.queue(one)
                self.routes.ladder.end_at(declarer, one.name)
            if config.exchange:
                self._bind(declarer, queue)
            self._done.add(queue)

    def _bind(self, declarer: Declarer, queue: str) -> None:
        """An exchange leads to classic queues only, of which each queue has one."""
        config = self.routes.config
        for binding in config.bound_under(queue):
            key, headers = (binding, None) if isinstance(binding, str) else ("", binding)
            declarer.bind(config.names.queue(queue), config.exchange, key, headers)

    def forget(self) -> None:
        """Declare all anew when it is next wanted: something has been deleted."""
        self._done.clear()
        self._rungs = 0


@contextlib.contextmanager
def connected(place: Place) -> Iterator[Declarer]:
    """A connection for declaring, of this thread's own. Raises one of the package's errors."""
    try:
        with pika.BlockingConnection(parameters(place, "reinhardt-tasks declares")) as connection:
            yield Declarer(connection, place)
    except (AMQPError, OSError) as error:
        raise faults.translated(error, str(place)) from error
