"""A case: one system on one broker with the settings that are printed beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROJECT = "reinhardt"  # the peer that is this project

PRODUCING = ("single", "gathered", "bulk")
WORKING = ("drain", "latency", "idle")
COMPOSED = ("chain", "group")
MEASURES = (
    *("single", "gathered", "bulk", "sync", "drain", "drain2", "latency", "idle", "memory", "claims"),
    *COMPOSED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One system on one broker.

    `settings` is what its adapter is given. `filling` replaces some of it while the queue of a drain is filled; `pair`
    where two worker processes are asked for, of a system that starts both by one command (None: two commands).
    """

    name: str
    broker: str  # one of `benchmarks.brokers.BROKERS`
    peer: str  # adapter and environment
    durability: str  # "full": an acknowledged message survives a power cut; "relaxed": it may not
    measures: tuple[str, ...]
    settings: Mapping[str, Any]
    filling: Mapping[str, Any] = field(default_factory=dict)
    pair: Mapping[str, Any] | None = None
