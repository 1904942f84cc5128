"""A program whose worker processes die where they are told to, and are replaced at once, by forking.

`mortals.py LIVES`, where LIVES is JSON: for each worker its name, the queues it serves, its slots, and the deaths that
its lives come to, one after the other, each a point and the number of the passing. The life after the last has no end.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn, TypedDict

from reinhardt_tasks.worker import Worker, WorkerConfig
from tests.integration.apps.deaths import Death
from tests.integration.apps.flows import queue
from tests.integration.site import LEASE


class Life(TypedDict):
    """What one worker is told."""

    name: str
    queues: list[str]
    slots: int
    deaths: list[tuple[str, int]]


def begin(life: Life) -> int:
    """A process that lives it; its id."""
    return os.fork() or live(life)


def live(life: Life) -> NoReturn:
    """Work until death."""
    if life["deaths"]:
        Death(life["name"], *life["deaths"][0]).await_worker(type(queue.connect()))
    config = WorkerConfig(
        queues=life["queues"], concurrency=life["slots"], prefetch=0, lease=LEASE, poll_interval=0.5, scheduler=False
    )
    Worker(queue, config).run_sync()
    os._exit(0)


def main(lives: list[Life]) -> None:
    """Have a worker live each of them, again and again; the test ends it."""
    queue.connect()  # what that imports, all of them share
    running = {begin(life): life for life in lives}
    while running:
        pid, status = os.wait()
        life = running.pop(pid)
        if os.WIFSIGNALED(status):
            successor: Life = {**life, "deaths": life["deaths"][1:]}
            running[begin(successor)] = successor


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
