"""The cases on Redis: every peer at its defaults and at its fastest, on servers with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases.case import PRODUCING, PROJECT, WORKING, Case

_FAST = ("drain", "drain2")


def _case(
    name: str, peer: str, measures: tuple[str, ...], *, pair: Mapping[str, Any] | None = None, **settings: Any
) -> Case:
    return Case(
        name=f"redis/{name}",
        broker="redis",
        peer=peer,
        durability="relaxed",
        measures=measures,
        settings=settings,
        pair=pair,
    )


def _ours(name: str, measures: tuple[str, ...], **worker: Any) -> Case:
    return _case(name, PROJECT, measures, worker=worker)


def _taskiq(name: str, measures: tuple[str, ...], options: str = "") -> Case:
    def worker(processes: int) -> list[str]:
        return f"--workers {processes} --max-async-tasks 100 {options}".split()

    return _case(name, "taskiq", measures, worker=worker(1), pair={"worker": worker(2)})


def _dramatiq(name: str, measures: tuple[str, ...], threads: int, **environment: str) -> Case:
    def worker(processes: int) -> list[str]:
        return f"--processes {processes} --threads {threads}".split()

    return _case(name, "dramatiq", measures, worker=worker(1), environment=environment, pair={"worker": worker(2)})


def _saq(name: str, measures: tuple[str, ...], concurrency: int, *, ops: int, **job: Any) -> Case:
    queue, worker = {"max_concurrent_ops": ops}, {"concurrency": concurrency}
    return _case(name, "saq", measures, queue=queue, job=job, worker=worker)


def _huey(name: str, measures: tuple[str, ...], consumer: str, **storage: Any) -> Case:
    return _case(name, "huey", measures, consumer=consumer.split(), storage=storage)


def _celery(name: str, measures: tuple[str, ...], worker: str, prefetch: int) -> Case:
    conf = {"worker_prefetch_multiplier": prefetch}
    return _case(name, "celery", measures, worker=worker.split(), conf=conf)


def _bullmq(name: str, measures: tuple[str, ...], job: Mapping[str, Any], **worker: Any) -> Case:
    return _case(name, "bullmq", measures, worker=worker, job=job, client={})


_PLAIN = ("single", *WORKING)
_ASYNC = ("single", "gathered", *WORKING)

# At its fastest a peer has the measures in which it differs from itself at its defaults.
CASES = (
    _ours("reinhardt", (*PRODUCING, "sync", *WORKING, "drain2", "memory", "claims")),
    _taskiq("taskiq", _ASYNC),
    _dramatiq("dramatiq", _PLAIN, threads=8),
    _saq("saq", (*_ASYNC, "memory"), 10, ops=20),
    _huey("huey", _PLAIN, "--worker-type process --workers 1"),
    _celery("celery", _PLAIN, "--pool prefork --concurrency 1", prefetch=4),
    _bullmq("bullmq", (*PRODUCING, *WORKING, "memory"), {}, concurrency=10),
    _ours("reinhardt-fast", _FAST, concurrency=100),
    _taskiq("taskiq-fast", _FAST, "--no-parse --max-prefetch 100 --ack-type when_received"),
    _dramatiq("dramatiq-fast", _FAST, threads=1, dramatiq_queue_prefetch="1000"),
    _saq("saq-fast", ("single", "gathered", "drain"), 100, ops=100, ttl=-1),
    _huey(
        "huey-fast",
        ("single", "drain", "latency"),
        "--worker-type thread --workers 1 --delay 0.001",
        results=False,
    ),
    _celery(
        "celery-fast",
        ("drain",),
        "--pool solo --without-gossip --without-mingle --without-heartbeat",
        prefetch=1000,
    ),
    _bullmq("bullmq-fast", _FAST, {"removeOnComplete": True}, concurrency=100),
)
