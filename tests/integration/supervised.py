"""A supervisor and its workers, as programs of their own, that do what a test tells them by signals.

`supervised.py watch DIRECTORY OPTIONS…` is the supervisor; it starts `supervised.py work DIRECTORY`. Workers append
what they do to `DIRECTORY/events`, as `INDEX PID EVENT`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

from reinhardt_tasks.worker.lifeline import INDEX_VARIABLE, follow_supervisor
from reinhardt_tasks.worker.reload import SourceWatch
from reinhardt_tasks.worker.supervisor import Supervisor

EXIT_BY_SIGNAL = {signal.SIGUSR1: 3, signal.SIGUSR2: 1, signal.SIGHUP: 0, signal.SIGQUIT: 2}
"""What a worker exits with when it gets one of these."""


def tell(directory: Path, event: str) -> None:
    """One line, whole, among those of the others."""
    with (directory / "events").open("a") as events:
        events.write(f"{os.environ[INDEX_VARIABLE]} {os.getpid()} {event}\n")


def leave(directory: Path, code: int) -> None:
    """End at once."""
    tell(directory, f"exit {code}")
    os._exit(code)


async def work(directory: Path) -> None:
    """Live until a signal or the end of the supervisor says what to do."""
    loop = asyncio.get_running_loop()
    for number, code in EXIT_BY_SIGNAL.items():
        loop.add_signal_handler(number, leave, directory, code)
    stop = asyncio.Event()
    told = partial(tell, directory, "told") if (directory / "stubborn").exists() else stop.set
    loop.add_signal_handler(signal.SIGTERM, told)
    loop.add_signal_handler(signal.SIGINT, tell, directory, "interrupted")
    follow_supervisor(partial(leave, directory, 50))
    tell(directory, "start")
    await stop.wait()
    tell(directory, "stop")


def watch(directory: Path, options: argparse.Namespace) -> int:
    """Supervise."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", filename=directory / "log")
    program = options.program or [sys.executable, __file__, "work", str(directory)]
    sources = SourceWatch([Path(options.reload)], interval=0.05) if options.reload else None
    supervisor = Supervisor(
        lambda _: program, options.count, shutdown_timeout=options.timeout, margin=0.0, sources=sources
    )
    return supervisor.run_sync()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["watch", "work"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--reload")
    parser.add_argument("--program", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.part == "watch":
        sys.exit(watch(given.directory, given))
    asyncio.run(work(given.directory))
