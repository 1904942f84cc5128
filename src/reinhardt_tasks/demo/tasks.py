"""The demo as an application: its queue, which learns its URL from the environment, and its one task."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec.structs import replace

from reinhardt_tasks.demo.sources import FileFacts, measure
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy

WEEK = 7 * 86_400.0

queue = TaskQueue()


@queue.task(
    name="demo.index",
    runs_in="process",
    timeout=60,
    retry=RetryStrategy.exponential_backoff(max_retries=2, initial_delay=0.25, max_delay=1.0),
    result_ttl=WEEK,
)
def index(root: Path, path: str) -> FileFacts:
    """The facts of the file `path` below `root`. Fails, for good after two retries, for a file that is no Python."""
    began = time.perf_counter()
    facts = measure(path, (root / path).read_bytes())
    return replace(facts, seconds=time.perf_counter() - began)
