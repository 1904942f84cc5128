"""Which queues on the server serve a queue, and where a message is sent: what a configuration means, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reinhardt_tasks.backends.rabbitmq import levels
from reinhardt_tasks.backends.rabbitmq.config import RabbitMQConfig
from reinhardt_tasks.backends.rabbitmq.frames import Parcel
from reinhardt_tasks.backends.rabbitmq.ladder import Ladder


class Declared(NamedTuple):
    """A queue on the server."""

    name: str
    arguments: Mapping[str, Any]


class Routes:
    """The ways of one configuration."""

    def __init__(self, config: RabbitMQConfig) -> None:
        self.config = config
        self.ladder = Ladder(config.names)
        self._by_level = config.queue_type == "quorum"

    def lines(self, queue: str) -> list[Declared]:
        """The queues on the server where messages of `queue` wait: one, or one for each priority, the highest first."""
        names = self.config.names
        if not self._by_level:
            return [Declared(names.queue(queue), levels.classic_arguments())]
        arguments = levels.quorum_arguments(names.refused(queue))
        return [Declared(names.queue(queue, level), arguments) for level in reversed(range(levels.LEVELS))]

    def refused(self, queue: str) -> list[Declared]:
        """Where messages of `queue` go that were delivered too often, on the server that counts deliveries."""
        return [Declared(self.config.names.refused(queue), levels.quorum_arguments(None))] if self._by_level else []

    def parcel(
        self,
        queue: str,
        body: bytes,
        *,
        id: str,
        priority: int = 5,
        delay: float = 0.0,
        headers: Mapping[str, Any] | None = None,
    ) -> Parcel:
        """A message for `queue`, to be published. One with a delay goes to its queue past the exchange.

        Raises UnsupportedError for a delay that is too long.
        """
        line = self.config.names.queue(queue, priority if self._by_level else None)
        mode = int(self.config.delivery_mode)
        if delay > 0:
            entry = self.ladder.entry(delay, line)
            return Parcel(entry.exchange, entry.key, body, id, priority, mode, headers)
        key = line if self.config.routing_key is None else self.config.routing_key
        if self.config.exchange and self.config.exchange_type == "headers":
            headers = {"queue": queue, **(headers or {})}
        return Parcel(self.config.exchange, key, body, id, priority, mode, headers)
