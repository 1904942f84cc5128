"""How RabbitMQ is used: `RabbitMQConfig`, checked where it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Literal, NoReturn, TypeAlias, get_args

from reinhardt_tasks.backends.rabbitmq import place as places
from reinhardt_tasks.backends.rabbitmq.names import Names
from reinhardt_tasks.backends.rabbitmq.place import Place
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.names import check_queue_name

QueueType: TypeAlias = Literal["classic", "quorum"]
ExchangeType: TypeAlias = Literal["direct", "topic", "headers", "fanout"]
Binding: TypeAlias = str | Mapping[str, str | int]
"""What a queue is bound under: a key, or for a headers exchange the headers that a message must have."""

_EXCHANGE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,127}")
_MOST_PREFETCHED: Final = 65_535
_LONGEST_KEY: Final = 255


class DeliveryMode(IntEnum):
    """Whether a message survives a restart of the broker. The numbers are those of AMQP."""

    TRANSIENT = 1
    PERSISTENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQConfig:
    """Which server, and how queues lie on it.

    Queues are called `{queue_name}.{queue}` there. `prefetch_count` is how many messages are asked for ahead; None
    leaves it to who asks. `queue_type` "quorum" copies messages to several nodes, and has one queue for each priority.

    With an `exchange` messages go to it, under `routing_key` (None: the name of their queue on the server), and each
    queue is bound to it under its `bindings` (a queue that has none there: under its own name). It is declared with
    `exchange_type`, unless it is one of the broker's own (`amq.…`). What is delayed goes past it.

    Raises ConfigurationError that names the setting.
    """

    uri: str = field(default="amqp://guest:guest@localhost:5672/", repr=False)
    queue_name: str = "reinhardt_tasks"
    prefetch_count: int | None = None
    delivery_mode: DeliveryMode = DeliveryMode.PERSISTENT
    queue_type: QueueType = "classic"
    exchange: str = ""
    exchange_type: ExchangeType = "direct"
    routing_key: str | None = None
    bindings: Mapping[str, Sequence[Binding]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places.parse(self.uri)
        Names(self.queue_name)
        _check_prefetch(self.prefetch_count)
        _check_choice("queue_type", self.queue_type, get_args(QueueType))
        _check_choice("exchange_type", self.exchange_type, get_args(ExchangeType))
        if not isinstance(self.delivery_mode, DeliveryMode):
            _wrong("delivery_mode", self.delivery_mode, "is not one of DeliveryMode.PERSISTENT, DeliveryMode.TRANSIENT")
        self._check_exchange()
        self._check_bindings()

    @classmethod
    def from_url(cls, url: str) -> RabbitMQConfig:
        """What a URL says, its options included: all but `bindings` can stand in it."""
        options = dict(places.parse(url)[1])
        mode = options.pop("delivery_mode", None)
        modes = {"persistent": DeliveryMode.PERSISTENT, "transient": DeliveryMode.TRANSIENT}
        return cls(uri=url, **options, **({} if mode is None else {"delivery_mode": modes[str(mode)]}))  # type: ignore[arg-type]

    @property
    def place(self) -> Place:
        """The server, as text without its password."""
        return places.parse(self.uri)[0]

    @property
    def names(self) -> Names:
        """What things are called on the server."""
        return Names(self.queue_name)

    def prefetch(self, wanted: int) -> int:
        """How many messages to ask for ahead, where `wanted` would do."""
        return max(1, min(_MOST_PREFETCHED, self.prefetch_count or wanted))

    def bound_under(self, queue: str) -> Sequence[Binding]:
        """What `queue` is bound to the exchange under."""
        given = self.bindings.get(queue)
        if given is not None:
            return given
        return [{"queue": queue}] if self.exchange_type == "headers" else [self.names.queue(queue)]

    # Checks -----------------------------------------------------------------------------------------------------------

    def _check_exchange(self) -> None:
        key = self.routing_key
        if not self.exchange:
            if key is not None or self.bindings:
                _wrong("exchange", self.exchange, "is needed for routing_key and bindings. Name the exchange")
            return
        if not _EXCHANGE.fullmatch(self.exchange):
            _wrong("exchange", self.exchange, "is no name for one; use 1 to 127 letters, digits, '_', '.', ':' or '-'")
        if self.queue_type == "quorum":
            _wrong("queue_type", "quorum", "has a queue for each priority, and no exchange chooses one. Use 'classic'")
        if key is not None and len(key.encode()) > _LONGEST_KEY:
            _wrong("routing_key", key, f"is longer than {_LONGEST_KEY} bytes")

    def _check_bindings(self) -> None:
        object.__setattr__(self, "bindings", MappingProxyType({k: tuple(v) for k, v in self.bindings.items()}))
        for queue, given in self.bindings.items():
            check_queue_name(queue)
            for one in given:
                self._check_binding(queue, one)

    def _check_binding(self, queue: str, one: Binding) -> None:
        if isinstance(one, Mapping) != (self.exchange_type == "headers"):
            wanted = (
                "headers, such as {'kind': 'mail'}" if self.exchange_type == "headers" else "a key, such as 'mail.*'"
            )
            _wrong("bindings", one, f"binds queue {queue} to a {self.exchange_type} exchange; that takes {wanted}")
        if isinstance(one, str) and len(one.encode()) > _LONGEST_KEY:
            _wrong("bindings", one, f"is longer than {_LONGEST_KEY} bytes")


def _check_prefetch(count: object) -> None:
    if count is None or (isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= _MOST_PREFETCHED):
        return
    _wrong("prefetch_count", count, f"is no number from 1 to {_MOST_PREFETCHED}, and not None")


def _check_choice(setting: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        _wrong(setting, value, f"is not one of {', '.join(map(repr, choices))}")


def _wrong(setting: str, value: object, why: str) -> NoReturn:
    raise ConfigurationError(f"{setting}={value!r} {why}.", setting=setting)
