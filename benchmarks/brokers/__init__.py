"""Where messages live during one measurement: a broker of its own, empty, gone when the measurement ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.brokers.broker import Broker
from benchmarks.brokers.postgres import postgres
from benchmarks.brokers.rabbitmq import rabbitmq
from benchmarks.brokers.redis import redis
from benchmarks.brokers.sqlite import sqlite
from benchmarks.guard import Guard

BROKERS: Mapping[str, Callable[[Guard, Path, str], AbstractContextManager[Broker]]] = {
    "sqlite": sqlite,
    "redis": redis,
    "postgres": postgres,
    "rabbitmq": rabbitmq,
}
"""Broker → what starts one, with its files in an empty directory, at a durability ("full" or "relaxed")."""
