"""Where a RabbitMQ server is: what a URL names, its password kept out of every text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import TLSVersion
from typing import Any, Final, NamedTuple, NoReturn, TypedDict
from urllib.parse import parse_qsl, unquote

from reinhardt_tasks.backends import option
from reinhardt_tasks.errors import ConfigurationError

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:@\s]*))(?::(?P<port>[^:]*))?")
_ENCODED: Final = "In a user or password, write / ? # @ : , as %2F %3F %23 %40 %3A %2C"


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Options(TypedDict, total=False):
    """What a URL's query says of how queues lie on the server; see RabbitMQConfig."""

    queue_name: str
    prefetch_count: int
    delivery_mode: str
    queue_type: str
    exchange: str
    exchange_type: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server's certificate is checked, and what is shown to it. Files are named by their paths."""

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    verified: bool = True
    host_checked: bool = True
    oldest: TLSVersion | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual host on a server, or on a cluster of which any node will do. As text: a URL without user and password.

    After `timeout` seconds without an answer the server counts as gone; every `heartbeat` seconds both sides show that
    they are there.
    """

    scheme: str
    seeds: tuple[Address, ...]
    virtual_host: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    tls: Tls | None = None
    heartbeat: int = 30
    timeout: float = 5.0

    def __str__(self) -> str:
        host = "" if self.virtual_host == "/" else f"/{self.virtual_host}"
        return f"{self.scheme}://{','.join(map(str, self.seeds))}{host}"


def parse(url: str) -> tuple[Place, Options]:
    """The place that `url` names, and the options of RabbitMQConfig in its query.

    `amqp://[user:password@]host[:port][,host[:port]…][/virtual_host]`, with `amqps` for TLS. Raises ConfigurationError,
    whose text names the part that is wrong and shows none that may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _PORTS:
        _wrong("scheme", "is not amqp or amqps")
    if "#" in rest:
        _wrong("password or name", "holds a '#', which is written %23")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    login, at, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    asked = _read(query, scheme)
    place = Place(
        scheme,
        tuple(_address(part, _PORTS[scheme]) for part in hosts.split(",")),
        _virtual_host(path),
        unquote(user) if at else "guest",
        unquote(password) if at else "guest",
        Tls(**{_TLS[name][0]: asked.pop(name) for name in _TLS if name in asked}) if scheme == "amqps" else None,
        **{name: asked.pop(name) for name in _CONNECTION if name in asked},
    )
    options: Any = asked
    return place, options


# The parts ------------------------------------------------------------------------------------------------------------


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None:
        _wrong("host", f"cannot be one. {_ENCODED}")
    given = found["port"]
    if given is not None:
        if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65_536:
            _wrong("port", f"is not a number from 1 to 65535. {_ENCODED}")
        port = int(given)
    return Address(found["six"] or unquote(found["name"] or "") or "localhost", port)


def _virtual_host(path: str) -> str:
    if "/" in path:
        _wrong("virtual host", "holds a '/', which is written %2F")
    return unquote(path) or "/"


def _read(query: str, scheme: str) -> dict[str, Any]:
    """The options of a query, each as whoever knows it understands it."""
    known = {
        **_OPTIONS,
        **_CONNECTION,
        **({name: read for name, (_, read) in _TLS.items()} if scheme == "amqps" else {}),
    }
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in found:
            _wrong(f"option {option.shown(name)}", "is there twice")
        if name not in known:
            _wrong(f"option {option.shown(name)}", f"is not known here. There are {', '.join(known)}")
        try:
            found[name] = known[name](text)
        except ValueError as error:
            _wrong(f"option {name}", f"is not {error}")
    return found


def _mode(text: str) -> str:
    if text not in {"persistent", "transient"}:
        raise ValueError("persistent or transient")
    return text


_OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "queue_name": str,
    "prefetch_count": option.whole,
    "delivery_mode": _mode,
    "queue_type": str,
    "exchange": str,
    "exchange_type": str,
    "routing_key": str,
}
_CONNECTION: Final[Mapping[str, Callable[[str], object]]] = {"heartbeat": option.whole, "timeout": option.seconds}
_TLS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "ssl_ca_certs": ("authority", option.file),
    "ssl_certfile": ("certificate", option.file),
    "ssl_keyfile": ("key", option.file),
    "ssl_verify": ("verified", option.flag),
    "ssl_check_hostname": ("host_checked", option.flag),
    "ssl_min_version": ("oldest", option.tls_version),
}


def _wrong(part: str, why: str) -> NoReturn:
    raise ConfigurationError(f"the {part} in the RabbitMQ URL {why}.", setting="url")
