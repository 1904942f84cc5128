"""Where a Redis server is: what a URL names, its password kept out of every text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reinhardt_tasks.backends.redis.connection import Address, Credentials

Kind = Literal["server", "sentinel", "cluster"]
"""How the server is found: it is the one named, sentinels know it, or the nodes of a cluster do."""

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_SCHEMES: Final[Mapping[str, tuple[Kind, bool]]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "redis+unix": ("server", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A server to be spoken to, and how it is found. As text: a URL without user and password."""

    scheme: str
    kind: Kind
    seeds: tuple[Address, ...]
    credentials: Credentials = field(repr=False)
    service: str = ""
    sentinel: Credentials = field(default=Credentials(), repr=False)

    def __str__(self) -> str:
        if self.scheme == "redis+unix":
            return f"{self.scheme}://{self.seeds[0]}"
        parts = [",".join(map(str, self.seeds)), self.service, str(self.credentials.database or "")]
        return f"{self.scheme}://{'/'.join(part for part in parts if part)}"
