"""Tasks for the tests of the process pool; children import them from here."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from reinhardt_tasks.context import TaskContext, current_task
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.retry import Retry, RetryStrategy
from reinhardt_tasks.worker.child import Line
from reinhardt_tasks.worker.frames import FromChild

registry = TaskRegistry()
process = registry.task(runs_in="process")


@dataclass
class Point:
    x: int
    y: int


@process
def mirrored(point: Point) -> Point:
    """Typed values travel both ways."""
    return Point(point.y, point.x)


@process
def pid() -> int:
    """Who runs it."""
    return os.getpid()


@process
async def awaited(text: str) -> str:
    """A coroutine function, in a child."""
    await asyncio.sleep(0)
    return text.upper()


@process
def echoed(text: str) -> str:
    """As large as the caller likes."""
    return text


@registry.task(runs_in="process")
class Shout(TaskExecutor):
    text: str

    async def execute(self) -> str:
        """A task as a class."""
        return f"{self.text}!"


@process
def described() -> dict[str, str | int | list[str] | None]:
    """What current_task() says there."""
    task = current_task()
    when = task.scheduled_for
    return {
        "id": str(task.id),
        "name": task.name,
        "attempt": task.attempt,
        "losses": task.losses,
        "scheduled_for": when.isoformat() if when else None,
        "headers": [f"{name}={value}" for name, value in task.headers.items()],
    }


@process
def missing(key: str) -> str:
    """Raises."""
    raise LookupError(f"no row {key}")


@registry.task(runs_in="process", retry=RetryStrategy(give_up_on=(LookupError,)))
def missing_for_good(key: str) -> str:
    """Raises what its strategy does not retry."""
    raise LookupError(f"no row {key}")


@process
def later() -> None:
    """Asks to be run again."""
    raise Retry(after=5)


@process
async def leaving() -> None:
    """What would end a program ends only the message."""
    sys.exit(3)


@process
def misdeclared() -> int:
    """Returns something else than it says."""
    return "text"  # type: ignore[return-value]


@process
def exiting(code: int) -> None:
    """Takes its process with it."""
    os._exit(code)


@process
def crashing() -> None:
    """As a crash in native code would."""
    os.kill(os.getpid(), signal.SIGSEGV)


@process
def hanging_up() -> None:
    """Closes what is not its own."""
    os.closerange(3, 1024)


@process
def dying_of_the_answer(started: Path, go_on: Path) -> str:
    """Its process ends as soon as the answer, almost all that a pipe holds, is in it."""
    say = Line.say

    def say_and_die(line: Line, said: FromChild) -> None:
        say(line, said)
        os._exit(9)

    Line.say = say_and_die
    started.write_text(f"{os.getpid()}\n")
    ticker = threading.Event()
    while not go_on.exists():
        ticker.wait(0.005)
    return "the answer " * 12_000


@process
def babbling() -> None:
    """Writes into the pipe what is no frame, and then does not let anybody else run."""
    (pipe,) = [number for number in range(3, 64) if Path(f"/proc/self/fd/{number}").is_socket()]
    os.write(pipe, b"\xff" * 64)
    re.fullmatch("(a+)+", "a" * 60 + "b")


@process
def printing(text: str) -> None:
    """Standard output is a file or a pipe here, so what is written to it waits in a buffer."""
    sys.stdout.write(text)


@process
def hanging(started: Path) -> None:
    """Never returns; says who it is."""
    started.write_text(f"{os.getpid()}\n")
    threading.Event().wait()


@process
def hogging(started: Path) -> None:
    """Holds the GIL for longer than anyone waits."""
    started.write_text(f"{os.getpid()}\n")
    re.fullmatch("(a+)+", "a" * 60 + "b")


@process
def told_to_end(started: Path) -> str:
    """Runs until it is cancelled."""
    started.write_text(f"{os.getpid()}\n")
    ticker = threading.Event()
    while not current_task().cancelled:
        ticker.wait(0.005)
    return "told"


@process
def stepping(steps: int) -> None:
    """Reports each step."""
    for step in range(1, steps + 1):
        current_task().progress(step, steps, f"step {step}")


@process
def stepping_for(seconds: float) -> float:
    """Reports as often as it can for that long; how long it really took."""
    began = time.monotonic()
    step = 0
    while (took := time.monotonic() - began) < seconds:
        current_task().progress(step := step + 1)
    return took


REMEMBERED: list[TaskContext] = []


@process
def remembering() -> None:
    """Leaves its context behind, as a thread that goes on would."""
    REMEMBERED.append(current_task())


@process
def reporting_for_another() -> None:
    """Reports the progress of a message that has ended."""
    REMEMBERED.pop().progress(99)


@process
def reporting_once_more(go_on: Path) -> None:
    """Reports twice in a row and then is silent until it is told to go on."""
    current_task().progress(1)
    current_task().progress(2)
    ticker = threading.Event()
    while not go_on.exists():
        ticker.wait(0.005)


@process
def open_files() -> list[str]:
    """What this process holds open, standard streams left out."""
    found = []
    for descriptor in range(3, 1024):
        try:
            found.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        except FileNotFoundError:
            continue
    return found


@process
def surroundings() -> dict[str, list[str]]:
    """What a program in a child sees of the program that started the worker."""
    return {
        "argv": sys.argv,
        "path": [str(entry) for entry in sys.path],
        "stdin": [str(Path("/proc/self/fd/0").readlink())],
        "blocked": sorted(number.name for number in map(signal.Signals, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    }


@process
def signalled() -> str:
    """Ctrl-C and SIGTERM reach a whole process group; a child leaves them to the worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return "alive"


@process
def terminated_program() -> int:
    """How a program that the task starts takes SIGTERM."""
    import subprocess

    program = subprocess.Popen(["/bin/sleep", "600"])
    program.terminate()
    return program.wait()


@process
def logging_something() -> int:
    """Through the task's own logger and an application's; the level that is worth logging."""
    current_task().log.warning("row %d is odd", 7, extra={"table": "users", "where": Path("/etc")})
    logging.getLogger("shop").debug("too little to be told")
    try:
        raise LookupError("gone")
    except LookupError:
        logging.getLogger("shop").exception("looked in vain")
    logging.getLogger("shop.quiet").error("nobody asked")
    return logging.getLogger().level


OPENED: list[str] = []


@registry.lifespan
async def connection() -> AsyncIterator[list[str]]:
    """Opened once per child; says on standard output when it is closed."""
    loop = asyncio.get_running_loop()
    OPENED.append("connection")
    yield [f"connection {len(OPENED)}", str(id(loop))]
    sys.stdout.write(f"closed {asyncio.get_running_loop() is loop}\n")


@registry.lifespan
async def broken() -> AsyncIterator[None]:
    """Cannot be opened."""
    raise ConnectionRefusedError("no one there")
    yield


@process
async def uses_connection(using: list[str] = Depends(connection)) -> bool:
    """Whether the connection was opened once, on the loop that runs the task."""
    return using == ["connection 1", str(id(asyncio.get_running_loop()))]


@process
def uses_connection_plainly(number: int, using: list[str] = Depends(connection)) -> list[str | int]:
    """A plain function may have one as well."""
    return [number, using[0]]


@process
def uses_broken(using: None = Depends(broken)) -> None:
    """Never gets there."""


def made_in_a_function() -> object:
    """A task that no other process can find."""

    @TaskRegistry().task(runs_in="process")
    def hidden() -> None: ...

    return hidden
