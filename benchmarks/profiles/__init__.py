"""Where the time of one message of this project goes, by broker; runs in this project's interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.guard import Guard
from benchmarks.profiles.parts import Line
from benchmarks.profiles.postgres import profile as postgres
from benchmarks.profiles.redis import profile as redis
from benchmarks.profiles.sqlite import profile as sqlite

PROFILES: Mapping[str, Callable[[int, Guard], Sequence[Line]]] = {
    "sqlite": sqlite,
    "redis": redis,
    "postgres": postgres,
}
"""Broker → the parts of a message, measured with so many of them."""
