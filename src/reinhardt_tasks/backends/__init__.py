"""Which backend a URL names: `connect`. Each is imported when it is asked for."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Final, Protocol, cast

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import ConfigurationError

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
_BACKENDS: Final = {
    "dummy": "dummy:DummyBackend",
    "immediate": "immediate:ImmediateBackend",
    "memory": "memory:MemoryBackend",
    "postgres": "postgres:PostgresBackend",
    "postgresql": "postgres:PostgresBackend",
    "redis": "redis:RedisTaskBackend",
    "redis+cluster": "redis:RedisTaskBackend",
    "redis+sentinel": "redis:RedisTaskBackend",
    "redis+unix": "redis:RedisTaskBackend",
    "rediss": "redis:RedisTaskBackend",
    "rediss+cluster": "redis:RedisTaskBackend",
    "rediss+sentinel": "redis:RedisTaskBackend",
    "sqlite": "sqlite:SqliteBackend",
}
_PLANNED: Final = frozenset({"amqp", "amqps"})


class _FromUrl(Protocol):
    def from_url(self, url: str) -> TaskBackend: ...


def connect(url: str) -> TaskBackend:
    """The backend that `url` names, not opened.

    `sqlite:///relative.db` or `sqlite:////absolute.db` (with `?durability=normal` or `off`); `redis://host:port/database`
    and its kin (see `backends.redis.place`); `postgresql://user@host/database` (see `backends.postgres.place`);
    `memory://`, `immediate://` and `dummy://`, of which each call gives one with a store of its own.

    Raises ConfigurationError for a scheme that is not known, a package that is not installed, or a URL that its backend
    cannot use. What follows the scheme may hold a password, so that no error shows it.
    """
    scheme, separator, _ = url.partition("://")
    known = ", ".join(f"{name}://" for name in sorted(_BACKENDS))
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(
            f"the URL has no scheme. Write sqlite:///tasks.db for a file, or one of {known}", setting="url"
        )
    if scheme in _PLANNED:
        raise ConfigurationError(
            f"{scheme}:// is not available in this version of reinhardt-tasks; there is {known}", setting="url"
        )
    if scheme not in _BACKENDS:
        raise ConfigurationError(f"no backend is called {scheme!r}; there is {known}", setting="url")
    return _imported(scheme).from_url(url)


def _imported(scheme: str) -> _FromUrl:
    """The class for a scheme. The extra that brings what it needs has the name of its module."""
    module, _, name = _BACKENDS[scheme].partition(":")
    try:
        return cast("_FromUrl", getattr(import_module(f"{__name__}.{module}"), name))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == __name__.partition(".")[0]:
            raise
        raise ConfigurationError(
            f"{scheme}:// needs the package {missing!r}, which is not installed. "
            f"Type: pip install 'reinhardt-tasks[{module}]'",
            setting="url",
        ) from error
