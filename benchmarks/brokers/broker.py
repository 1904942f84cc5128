"""What the driver asks of a broker."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a server has spent and holds by now."""

    cpu_seconds: float
    commands: int  # served, without those that asked for a reading; of a database transactions
    memory: int  # bytes; of a database its files


class Broker(Protocol):
    """A broker of one measurement's own, while it lasts."""

    @property
    def address(self) -> str:
        """What its adapters are told (`benchmarks.adapter.Job`)."""

    @property
    def settings(self) -> Mapping[str, str]:
        """Version and settings as the server tells them, by name; none where each connection has its own."""

    def reading(self) -> Reading | None:
        """What its server says now; None where none runs."""

    def filling(self) -> AbstractContextManager[None]:
        """Around the filling of a queue that is to be drained: what the broker can do to have it done soon and well."""
