"""What the demo is asked to do, and who follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo is asked to do. `limit` files at most (None: all); `fresh` forgets an interrupted run."""

    directory: Path
    workers: int = 2
    limit: int | None = None
    kill: bool = False
    fresh: bool = False


class Audience(Protocol):
    """Who follows the run."""

    def say(self, line: str) -> None:
        """Something happened."""

    def count(self, done: int, total: int) -> None:
        """So many messages have ended by now."""
