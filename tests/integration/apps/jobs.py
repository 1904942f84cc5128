"""An application whose tasks write down what they do, for tests with real worker processes.

Each entry is one line, `TIME ID ATTEMPT PID STAGE`, appended to the file BOOK at once: never to the store under test.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from reinhardt_tasks import Depends, RetryStrategy, TaskQueue, current_task

queue = TaskQueue()
NEVER = RetryStrategy.no_retry()
AT_ONCE = RetryStrategy.fixed_delay(0, max_retries=3)


def book() -> Path:
    """Where this test's entries go."""
    return Path(os.environ["BOOK"])


def gate() -> Path:
    """Whose presence lets `gated` tasks end."""
    return book().with_suffix(".open")


def note(stage: str) -> None:
    """One entry of the task that runs."""
    task = current_task()
    write(f"{task.id} {task.attempt} {os.getpid()} {stage}")


def write(entry: str) -> None:
    """One line, whole, among those of all other processes."""
    descriptor = os.open(book(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{time.monotonic()} {entry}\n".encode())
    finally:
        os.close(descriptor)


@queue.lifespan
async def connection() -> AsyncIterator[str]:
    """Says when it is opened and closed."""
    write(f"- 0 {os.getpid()} opened")
    yield "connection"
    write(f"- 0 {os.getpid()} closed")


@queue.task
async def quick(number: int) -> int:
    """Done at once."""
    note("run")
    return number


@queue.task
async def nothing(number: int) -> None:
    """Leaves no trace but its result."""


@queue.task
async def brief(seconds: float) -> None:
    """Waits a little; writes one entry."""
    note("run")
    await asyncio.sleep(seconds)


@queue.task
async def pausing(seconds: float) -> int:
    """Waits, as for something remote; its result is the process that did it."""
    note("begin")
    await asyncio.sleep(seconds)
    note("end")
    return os.getpid()


@queue.task
async def gated() -> None:
    """Waits until the test says that it may end: by a file beside the book."""
    note("begin")
    while not gate().exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    note("end")


@queue.task(queue="filler")
async def filler(content: str) -> None:
    """Takes room, and is never run."""


@queue.task
async def connected(seconds: float, db: str = Depends(connection)) -> str:
    """Uses what the worker has opened."""
    note("begin")
    await asyncio.sleep(seconds)
    note("end")
    return db


@queue.task
async def blocking(seconds: float) -> None:
    """Keeps the event loop from everything else."""
    note("begin")
    time.sleep(seconds)  # noqa: ASYNC251 - the fault that is tested
    note("end")


@queue.task(timeout=0.2, retry=NEVER)
async def leaking() -> None:
    """Leaves a thread of the event loop's own pool behind, which never ends."""
    note("begin")
    await asyncio.to_thread(time.sleep, 3600)


@queue.task(retry=AT_ONCE)
async def exiting() -> None:
    """Takes its worker with it, as a crash would."""
    note("begin")
    os._exit(9)


@queue.task(retry=AT_ONCE)
async def exiting_in_a_group() -> None:
    """Ends its worker by what would end a program, from an asyncio task of its own."""
    note("begin")
    async with asyncio.TaskGroup() as group:
        group.create_task(_leaving())


async def _leaving() -> None:
    sys.exit(0)


@queue.task(runs_in="process", retry=NEVER)
def exiting_in_a_child() -> None:
    """Takes the process of the pool with it."""
    note("begin")
    os._exit(9)


@queue.task(runs_in="process")
def quick_in_a_child(number: int) -> int:
    """Done at once, elsewhere."""
    note("run")
    return number


@queue.task(runs_in="process")
def pausing_in_a_child(seconds: float) -> None:
    """Waits, and heeds nothing."""
    note("begin")
    time.sleep(seconds)


@queue.task(runs_in="process")
def polling_in_a_child(seconds: float) -> None:
    """Waits, and asks now and then whether it should."""
    note("begin")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_task().raise_if_cancelled()
        time.sleep(0.01)


@queue.task(runs_in="process")
def stepping_in_a_child() -> None:
    """Says how far it is, and goes no further until it is cancelled."""
    note("begin")
    current_task().progress(1, 2, "half-way")
    polling_in_a_child.function(60)


@queue.task(runs_in="process", timeout=0.5, retry=NEVER)
def hanging_in_a_child(seconds: float) -> None:
    """Longer than it may."""
    note("begin")
    time.sleep(seconds)


@queue.task(retry=NEVER)
async def hungry(mebibytes: int) -> int:
    """Takes more memory than there may be."""
    note("begin")
    return len(bytearray(mebibytes << 20))


@queue.task(runs_in="process", retry=NEVER)
def hungry_in_a_child(mebibytes: int) -> int:
    """The same in a process of the pool."""
    note("begin")
    return len(bytearray(mebibytes << 20))


@queue.task(timeout=0.3, retry=AT_ONCE)
def endless() -> str:
    """The first run never ends; the next says whether the process of the first is gone."""
    note("begin")
    first = next(line.split() for line in book().read_text().splitlines() if str(current_task().id) in line)
    pid = int(first[3])
    if pid == os.getpid():
        while True:
            time.sleep(0.01)
    with suppress(FileNotFoundError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "gone" if state == "Z" else "alive"  # a zombie runs no more
    return "gone"
