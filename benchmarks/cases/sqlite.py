"""The cases on SQLite."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.case import PRODUCING, PROJECT, WORKING, Case


def _ours(name: str, durability: str, measures: tuple[str, ...], **settings: Any) -> Case:
    level = {"full": "full", "relaxed": "off"}[durability]
    return Case(
        name=name,
        broker="sqlite",
        peer=PROJECT,
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
    _ours("sqlite/reinhardt", "full", (*PRODUCING, *WORKING, "claims"), worker={}),
    _huey("sqlite/huey", "full", ("single", *WORKING), consumer="--worker-type process --workers 1"),
    _ours("sqlite/reinhardt-fast", "full", WORKING, worker={"concurrency": 100}),
    _huey("sqlite/huey-fast", "full", ("single", *WORKING), consumer=_HUEY_FAST, fsync=True, results=False),
    _ours("sqlite/reinhardt-relaxed", "relaxed", (*PRODUCING, "drain"), worker={"concurrency": 100}),
    _huey("sqlite/huey-relaxed", "relaxed", ("single", "drain"), consumer=_HUEY_FAST, fsync=False, results=False),
)
