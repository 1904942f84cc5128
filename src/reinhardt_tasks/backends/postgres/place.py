"""Which database: what a URL and the keyword settings say, and how it is shown without a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import conninfo

from reinhardt_tasks.errors import ConfigurationError

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,29}")
_SWITCH: Final = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_OURS: Final = frozenset({"table_prefix", "notify", "migrate"})
_KEPT_ALIVE: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "reinhardt-tasks",
}
"""What a connection is made with unless the URL says otherwise: a server that is gone is noticed."""


class Options(TypedDict, total=False):
    """What every class here takes by keyword; see PostgresBackend."""

    table_prefix: str
    notify: bool
    migrate: bool
    listen_url: str | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Place:
    """A database, the prefix of the tables in it, and how it is talked to.

    `notify` says whether others are told of work by NOTIFY, `migrate` whether missing tables are created at open.
    `timeout` is how long a statement may take, in seconds.
    """

    url: str
    table_prefix: str = "reinhardt_"
    notify: bool = True
    migrate: bool = True
    listen_url: str | None = None
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.table_prefix):
            raise ConfigurationError(
                f"table_prefix={self.table_prefix!r} cannot stand before the name of a table; use at most 30 of "
                "a-z 0-9 and _, such as 'reinhardt_'",
                setting="table_prefix",
            )
        self.parameters()
        if self.listen_url is not None:
            _parameters(self.listen_url, "listen_url")

    def parameters(self) -> dict[str, Any]:
        """What to connect with."""
        return _parameters(self.url, "url")

    def listening_parameters(self) -> dict[str, Any]:
        """What to connect with to LISTEN."""
        return self.parameters() if self.listen_url is None else _parameters(self.listen_url, "listen_url")

    def __str__(self) -> str:
        """The database as a URL that shows no password."""
        known = self.parameters()
        user = f"{known['user']}@" if "user" in known else ""
        port = f":{known['port']}" if "port" in known else ""
        return f"postgresql://{user}{known.get('host', '')}{port}/{known.get('dbname', '')}"


def parse_url(url: str, place: Place | None = None) -> Place:
    """The place in `postgresql://…?table_prefix=…&notify=…&migrate=…`. Raises ConfigurationError."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    rest = urlencode([pair for pair in options if pair[0] not in _OURS])
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, rest, ""))
    found = Place(bare) if place is None else replace(place, url=bare)
    for key, value in options:
        if key == "table_prefix":
            found = replace(found, table_prefix=value)
        elif key == "notify":
            found = replace(found, notify=_as_switch(key, value))
        elif key == "migrate":
            found = replace(found, migrate=_as_switch(key, value))
    return found


def _as_switch(key: str, value: str) -> bool:
    if value.lower() not in _SWITCH:
        raise ConfigurationError(f"{key}={value!r} in the URL is neither true nor false", setting=key)
    return _SWITCH[value.lower()]


def _parameters(url: str, setting: str) -> dict[str, Any]:
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # The text of that error may repeat a password, so it is neither shown nor kept as a cause.
        given = None
    if given is None:
        raise ConfigurationError(
            f"the {setting} cannot be read; write postgresql://user:password@host:5432/database, with %40 for an @ and "
            "%2F for a / in the password, and only options that libpq knows",
            setting=setting,
        )
    return {**_KEPT_ALIVE, **given}
