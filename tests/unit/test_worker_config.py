"""A worker's settings are checked when they are made, and say what is wrong with them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.worker import Worker, WorkerConfig


def test_the_defaults_are_the_promised_numbers():
    """What the documents say."""
    config = WorkerConfig()
    assert (config.concurrency, config.poll_interval, config.queues, config.prefetch) == (4, 1.0, (), None)
    assert (config.lease, config.shutdown_timeout, config.processes) == (30.0, 25.0, 1)


def test_durations_may_be_timedeltas():
    """They are kept as seconds."""
    config = WorkerConfig(lease=timedelta(minutes=1), shutdown_timeout=timedelta(), grace=timedelta(seconds=2))
    assert (config.lease, config.shutdown_timeout, config.grace) == (60.0, 0.0, 2.0)


def test_queues_may_be_any_sequence():
    """Their order is kept: it decides within a priority."""
    assert WorkerConfig(queues=["b", "a"]).queues == ("b", "a")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 2.0}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": None}, "concurrency"),
        ({"processes": 0}, "processes"),
        ({"prefetch": -1}, "prefetch"),
        ({"max_tasks": 0}, "max_tasks"),
        ({"max_memory": "1 GiB"}, "max_memory"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child"),
        ({"lease": 0.1}, "lease"),
        ({"lease": float("inf")}, "lease"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"shutdown_timeout": -1}, "shutdown_timeout"),
        ({"shutdown_timeout": None}, "shutdown_timeout"),
        ({"grace": "5"}, "grace"),
        ({"queues": "mail"}, "mail"),
        ({"queues": ["no such name"]}, "no such name"),
        ({"queues": [7]}, "7"),
    ],
)
def test_what_cannot_work_is_refused(settings, names):
    """By an error that names it."""
    with pytest.raises(ConfigurationError, match=names):
        WorkerConfig(**settings)


@pytest.mark.parametrize("settings", [{"prefetch": 0}, {"grace": 0}, {"max_tasks": 1}, {"lease": 0.3}])
def test_the_edges_are_allowed(settings):
    """Each is the least there is."""
    WorkerConfig(**settings)


def test_one_worker_is_one_process():
    """Several are started by the command line, which is what the error says."""
    with pytest.raises(ConfigurationError, match="--processes N"):
        Worker(TaskQueue(MemoryBackend()), WorkerConfig(processes=2))
