"""Where a Redis server is: what a URL names, its password kept out of every text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, TypedDict, TypeVar
from urllib.parse import parse_qsl, unquote

from reinhardt_tasks.backends import option
from reinhardt_tasks.backends.redis.connection import Address, Credentials
from reinhardt_tasks.errors import ConfigurationError

Kind = Literal["server", "sentinel", "cluster"]
"""How the server is found: it is the one named, sentinels know it, or the nodes of a cluster do."""

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_KINDS: Final[Mapping[str, Kind]] = {
    "redis": "server",
    "rediss": "server",
    "redis+unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_HOST: Final = re.compile(r"\[(?P<six>[0-9A-Fa-f:.%]+)\](?P<port1>:.*)?|(?P<name>[^\[\]:@\s]*)(?P<port2>:.*)?")
T = TypeVar("T")


class Options(TypedDict, total=False):
    """What a URL's query says about the backend; see RedisTaskBackend."""

    prefix: str
    wait_replicas: int
    replica_timeout: float
    allow_eviction: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Place:
    """A server to be spoken to, and how it is found. As text: a URL without user, password and options."""

    scheme: str
    kind: Kind
    seeds: tuple[Address, ...]
    credentials: Credentials = field(repr=False)
    service: str = ""
    sentinel: Credentials = field(default=Credentials(), repr=False)

    def __str__(self) -> str:
        hosts = ",".join(map(str, self.seeds))
        parts = (hosts, self.service, str(self.credentials.database or ""))
        return f"{self.scheme}://{'/'.join(part for part in parts if part)}"


def parse(url: str) -> tuple[Place, Options]:
    """The place that `url` names, and the options of the backend in its query.

    `redis://[user:password@]host[:port][/database]`, `redis+unix:///path`, `redis+sentinel://host[:port],…/service
    [/database]`, `redis+cluster://host[:port],…`; with `rediss` for TLS. Raises ConfigurationError, whose text names
    the part that is wrong and shows none that may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    kind = _KINDS.get(scheme)
    if not separator or kind is None:
        _wrong("scheme", f"is not one of {', '.join(_KINDS)}")
    if "#" in rest:
        _wrong("password or name", "holds a '#', which is written %23")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    login, _, hosts = authority.rpartition("@")
    asked = _Query(query)
    place = Place(
        scheme,
        kind,
        (_socket(hosts, path),) if scheme == "redis+unix" else _seeds(kind, hosts),
        _credentials(scheme, kind, login, path, asked),
        _service(path) if kind == "sentinel" else "",
        _sentinel(scheme, asked) if kind == "sentinel" else Credentials(),
    )
    return place, asked.options()


# The parts ------------------------------------------------------------------------------------------------------------


def _seeds(kind: Kind, hosts: str) -> tuple[Address, ...]:
    seeds = tuple(_address(part, _SENTINEL_PORT if kind == "sentinel" else _PORT) for part in hosts.split(","))
    if kind == "server" and len(seeds) > 1:
        _wrong("host", "is more than one. Several are named with redis+sentinel:// or redis+cluster://")
    return seeds


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None:
        _wrong("host", f"cannot be one. {_ENCODED}")
    given = found["port1"] or found["port2"]
    if given:
        if not given[1:].isascii() or not given[1:].isdigit() or not 0 < int(given[1:]) < 65536:
            _wrong("port", f"is not a number from 1 to 65535. {_ENCODED}")
        port = int(given[1:])
    return Address(found["six"] or unquote(found["name"] or "") or "localhost", port)


def _socket(hosts: str, path: str) -> Address:
    if hosts or not path:
        _wrong("path", "of the socket is missing. Write redis+unix:///run/redis/redis.sock")
    return Address(f"/{unquote(path)}", 0)


def _service(path: str) -> str:
    service = unquote(path.partition("/")[0])
    if not service:
        _wrong("service", "is missing. Write redis+sentinel://host:26379,host:26379/service, as the sentinels call it")
    return service


def _credentials(scheme: str, kind: Kind, login: str, path: str, asked: _Query) -> Credentials:
    username, _, password = login.partition(":")
    tls = _tls(asked) if scheme.startswith("rediss") else None
    database = _database(scheme, kind, path, asked)
    return Credentials(unquote(username) or None, unquote(password) or None, database, tls)


def _sentinel(scheme: str, asked: _Query) -> Credentials:
    """Who asks the sentinels, which have users of their own."""
    tls = _tls(asked) if scheme.startswith("rediss") else None
    return Credentials(asked.take("sentinel_username", str), asked.take("sentinel_password", str), 0, tls)


def _database(scheme: str, kind: Kind, path: str, asked: _Query) -> int:
    parts = [] if scheme == "redis+unix" else path.split("/")[kind == "sentinel" :]
    text = "/".join(part for part in parts if part)
    if text and not (text.isascii() and text.isdigit()):
        _wrong("database", f"is not a number. {_ENCODED}")
    database = int(text or 0) or asked.take("db", option.whole) or 0
    if database and kind == "cluster":
        _wrong("database", "is not 0; a cluster has no other. Keep applications apart by prefix")
    return database


_ENCODED: Final = "In a user or password, write / ? # @ : , as %2F %3F %23 %40 %3A %2C"


# The query ------------------------------------------------------------------------------------------------------------


class _Query:
    """The options in a query, each to be taken by whoever knows it."""

    def __init__(self, text: str) -> None:
        self._left: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name in self._left:
                _wrong(f"option {option.shown(name)}", "is there twice")
            self._left[name] = value

    def take(self, name: str, read: Callable[[str], T]) -> T | None:
        """The option `name` as `read` understands it; None where it is not there."""
        if name in self._left:
            self._taken[name] = self._left.pop(name)
        if name not in self._taken:
            return None
        try:
            return read(self._taken[name])
        except ValueError as error:
            _wrong(f"option {name}", f"is not {error}")

    def options(self) -> Options:
        """What is for the backend. Raises ConfigurationError for what nobody has taken."""
        found = {name: self.take(name, read) for name, read in _OPTIONS.items()}
        for name in self._left:
            _wrong(
                f"option {option.shown(name)}",
                f"is not known here. There are {', '.join(_OPTIONS)}; see the docs for more",
            )
        given: Any = {name: value for name, value in found.items() if value is not None}
        options: Options = given
        return options


def _requirement(text: str) -> str:
    if text not in {"required", "optional", "none"}:
        raise ValueError("required, optional or none")
    return text


_OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "prefix": str,
    "wait_replicas": option.whole,
    "replica_timeout": option.seconds,
    "allow_eviction": option.flag,
    "timeout": option.seconds,
}
_TLS: Final[Mapping[str, Callable[[str], object]]] = {
    "ssl_ca_certs": option.file,
    "ssl_certfile": option.file,
    "ssl_keyfile": option.file,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": option.flag,
    "ssl_min_version": option.tls_version,
}


def _tls(asked: _Query) -> Mapping[str, object]:
    """redis-py's options of a TLS connection. The server's certificate and name are checked unless the URL says no."""
    given = {name: asked.take(name, read) for name, read in _TLS.items()}
    checked = given["ssl_cert_reqs"] != "none"
    return {"ssl_check_hostname": checked} | {name: value for name, value in given.items() if value is not None}


def _wrong(part: str, why: str) -> NoReturn:
    raise ConfigurationError(f"the {part} in the Redis URL {why}.", setting="url")
