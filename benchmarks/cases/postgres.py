"""The cases on PostgreSQL: every peer at its defaults and at its fastest, on servers with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases.case import PRODUCING, PROJECT, WORKING, Case

_FAST = ("drain", "drain2")


def _case(name: str, peer: str, measures: tuple[str, ...], **settings: Any) -> Case:
    return Case(
        name=f"postgres/{name}",
        broker="postgres",
        peer=peer,
        durability="full",
        measures=measures,
        settings=settings,
    )


def _ours(name: str, measures: tuple[str, ...], **worker: Any) -> Case:
    return _case(name, PROJECT, measures, worker=worker)


def _procrastinate(name: str, measures: tuple[str, ...], **worker: Any) -> Case:
    return _case(name, "procrastinate", measures, worker=worker)


def _pgqueuer(name: str, measures: tuple[str, ...], **worker: Any) -> Case:
    return _case(name, "pgqueuer", measures, worker=worker)


def _saq(name: str, measures: tuple[str, ...], concurrency: int, **job: Any) -> Case:
    return _case(name, "saq", measures, queue={}, job=job, worker={"concurrency": concurrency})


def _pg_boss(name: str, measures: tuple[str, ...], *, notify: bool, **worker: Any) -> Case:
    queue = {"notify": notify}
    return _case(name, "pg-boss", measures, client={"useListenNotify": notify}, queue=queue, worker=worker)


def _graphile(name: str, measures: tuple[str, ...], **worker: Any) -> Case:
    return _case(name, "graphile-worker", measures, worker=worker)


_BATCHED: Mapping[str, Any] = {"localQueue": {"size": 500}, "completeJobBatchDelay": 0, "failJobBatchDelay": 0}

# Fewer measures than elsewhere, where a peer says nothing new: a server is started for every repeat.
CASES = (
    _ours("reinhardt", (*PRODUCING, *WORKING, "claims")),
    _procrastinate("procrastinate", ("single", "gathered", *WORKING), concurrency=10),
    _pgqueuer("pgqueuer", (*PRODUCING, *WORKING), batch_size=10),
    _saq("saq", ("single", *WORKING), 10),
    _pg_boss("pg-boss", ("single", "bulk", *WORKING), notify=True, batchSize=10, burstWhenBatchFull=True),
    _graphile("graphile-worker", (*PRODUCING, *WORKING), concurrentJobs=10),
    _ours("reinhardt-fast", _FAST, concurrency=100),
    _procrastinate("procrastinate-fast", ("drain",), concurrency=100, delete_jobs="always"),
    _pgqueuer("pgqueuer-fast", ("drain",), batch_size=500),
    _saq("saq-fast", ("drain",), 100, ttl=-1),
    _pg_boss(
        "pg-boss-fast",
        _FAST,
        notify=False,
        batchSize=500,
        burstWhenBatchFull=True,
        localConcurrency=2,
        pollingIntervalSeconds=0.5,
    ),
    _graphile("graphile-worker-fast", _FAST, concurrentJobs=24, **_BATCHED),
)
