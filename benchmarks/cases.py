"""Every case: one system on one broker with the settings that are printed beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

PRODUCING = ("single", "gathered", "bulk")
WORKING = ("drain", "latency", "idle")
MEASURES = (*PRODUCING, *WORKING, "claims")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One system on one broker.

    `settings` is what its adapter is given; `filling` replaces some of it while the queue of a drain is filled.
    """

    name: str
    broker: str  # one of `benchmarks.brokers.BROKERS`
    peer: str  # adapter and environment
    durability: str  # "full": an acknowledged message survives a power cut; "relaxed": it may not
    measures: tuple[str, ...]
    settings: Mapping[str, Any]
    filling: Mapping[str, Any] = field(default_factory=dict)


def _ours(name: str, durability: str, measures: tuple[str, ...], **settings: Any) -> Case:
    level = {"full": "full", "relaxed": "off"}[durability]
    return Case(
        name=name,
        broker="sqlite",
        peer="reinhardt",
        durability=durability,
        measures=measures,
        settings={"options": {"durability": level}, **settings},
        filling={"options": {"durability": "normal"}},
    )


def _huey(name: str, durability: str, measures: tuple[str, ...], *, consumer: str, **storage: Any) -> Case:
    return Case(
        name=name,
        broker="sqlite",
        peer="huey",
        durability=durability,
        measures=measures,
        settings={"storage": storage, "consumer": consumer.split()},
        filling={"storage": {"fsync": False}},
    )


_HUEY_FAST = "--worker-type thread --workers 1 --delay 0.001 --max-delay 0.001 --no-periodic"

CASES = (
    _ours("sqlite/reinhardt", "full", (*MEASURES,), worker={}),
    _huey("sqlite/huey", "full", ("single", *WORKING), consumer="--worker-type process --workers 1"),
    _ours("sqlite/reinhardt-fast", "full", WORKING, worker={"concurrency": 100}),
    _huey("sqlite/huey-fast", "full", ("single", *WORKING), consumer=_HUEY_FAST, fsync=True, results=False),
    _ours("sqlite/reinhardt-relaxed", "relaxed", (*PRODUCING, "drain"), worker={"concurrency": 100}),
    _huey("sqlite/huey-relaxed", "relaxed", ("single", "drain"), consumer=_HUEY_FAST, fsync=False, results=False),
)


def chosen(patterns: list[str]) -> tuple[Case, ...]:
    """The cases whose name fits one of the shell patterns, or all. Raises ValueError for one that fits none."""
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in CASES):
            raise ValueError(f"no case is called {pattern}; there are {', '.join(case.name for case in CASES)}")
    return tuple(case for case in CASES if not patterns or any(fnmatchcase(case.name, one) for one in patterns))
