"""The cases of workflows: this project on every broker, and Celery's canvas on Redis, with results stored there too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases.case import COMPOSED, PROJECT, Case

_FULL: Mapping[str, Mapping[str, Any]] = {"sqlite": {"options": {"durability": "full"}}, "postgres": {}, "redis": {}}
_FILLING: Mapping[str, Mapping[str, Any]] = {"sqlite": {"options": {"durability": "normal"}}}


def _case(name: str, broker: str, peer: str, settings: Mapping[str, Any]) -> Case:
    return Case(
        name=f"workflow/{broker}-{name}",
        broker=broker,
        peer=peer,
        durability="relaxed" if broker == "redis" else "full",
        measures=COMPOSED,
        settings=settings,
        filling=_FILLING.get(broker, {}) if peer == PROJECT else {},
    )


def _ours(broker: str) -> tuple[Case, Case]:
    options = _FULL[broker]
    return (
        _case("reinhardt", broker, PROJECT, {**options, "worker": {}}),
        _case("reinhardt-fast", broker, PROJECT, {**options, "worker": {"concurrency": 100}}),
    )


def _celery(name: str, worker: str, prefetch: int) -> Case:
    conf = {"worker_prefetch_multiplier": prefetch}
    return _case(name, "redis", "celery", {"worker": worker.split(), "conf": conf, "results": True})


CASES = (
    *_ours("sqlite"),
    *_ours("redis"),
    _celery("celery", "--pool prefork --concurrency 1", prefetch=4),
    _celery("celery-fast", "--pool solo --without-gossip --without-mingle --without-heartbeat", prefetch=1000),
    *_ours("postgres"),
)
