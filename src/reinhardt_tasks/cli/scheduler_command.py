"""`scheduler`: fires the schedules of TARGET's queue, and runs no tasks."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib.metadata import version
from pathlib import Path

from reinhardt_tasks.cli import worker_options as options
from reinhardt_tasks.cli.logs import set_up_logging
from reinhardt_tasks.cli.place import needed_target, refuse_inside
from reinhardt_tasks.cli.screen import print_error
from reinhardt_tasks.cli.settings import read_project, worker_settings
from reinhardt_tasks.cli.target import find_queue
from reinhardt_tasks.cli.text import count
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.scheduler import Scheduler


def scheduler(
    *,
    target: options.Target = None,
    log_level: options.Level = None,
) -> None:
    """Fire schedules until SIGTERM or Ctrl-C. Every worker does so too; this one runs no tasks.

    Any number of them may run: each firing happens once.
    """
    project = read_project(Path.cwd())
    set_up_logging(worker_settings({"log-level": log_level}, os.environ, project).log_level)
    found = find_queue(needed_target(target, project), imports=project.imports)
    refuse_inside(found.queue.url)
    print_error(f"reinhardt-tasks {version('reinhardt-tasks')}: scheduler for {found.target} at {found.queue.url}")
    print_error(f"  {count(len(found.queue.schedules), 'schedule')} in the code")
    asyncio.run(_run(found.queue))


async def _run(queue: TaskQueue) -> None:
    made = Scheduler(queue)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, made.stop)
    await made.run()
