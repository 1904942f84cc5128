"""The cases on RabbitMQ: peers at their defaults, with confirmed publishing, and at their fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases.case import Case

_FAST = ("drain", "drain2")


def _case(
    name: str, peer: str, measures: tuple[str, ...], *, pair: Mapping[str, Any] | None = None, **settings: Any
) -> Case:
    return Case(
        name=f"rabbitmq/{name}",
        broker="rabbitmq",
        peer=peer,
        durability="full",
        measures=measures,
        settings=settings,
        pair=pair,
    )


def _taskiq(name: str, measures: tuple[str, ...], options: str = "") -> Case:
    def worker(processes: int) -> list[str]:
        return f"--workers {processes} --max-async-tasks 100 {options}".split()

    return _case(name, "taskiq", measures, worker=worker(1), queue={"qos": 100}, pair={"worker": worker(2)})


def _dramatiq(name: str, measures: tuple[str, ...], threads: int, *, confirmed: bool, **environment: str) -> Case:
    def worker(processes: int) -> list[str]:
        return f"--processes {processes} --threads {threads}".split()

    return _case(
        name,
        "dramatiq",
        measures,
        worker=worker(1),
        queue={"confirm_delivery": confirmed},
        environment=environment,
        pair={"worker": worker(2)},
    )


def _celery(name: str, measures: tuple[str, ...], worker: str, prefetch: int) -> Case:
    conf = {"worker_prefetch_multiplier": prefetch, "broker_transport_options": {"confirm_publish": True}}
    return _case(name, "celery", measures, worker=worker.split(), conf=conf)


# At its fastest a peer has the measures in which it differs from itself at its defaults.
CASES = (
    _taskiq("taskiq", ("single", "gathered", "drain", "drain2", "latency")),
    _dramatiq("dramatiq", ("single", "drain", "drain2", "latency"), threads=8, confirmed=True),
    _celery("celery", ("single", "drain", "latency"), "--pool prefork --concurrency 1", prefetch=4),
    _taskiq("taskiq-fast", _FAST, "--no-parse --max-prefetch 100 --ack-type when_received"),
    _dramatiq("dramatiq-fast", _FAST, threads=1, confirmed=False, dramatiq_queue_prefetch="1000"),
    _celery(
        "celery-fast",
        ("drain",),
        "--pool solo --without-gossip --without-mingle --without-heartbeat",
        prefetch=1000,
    ),
)
