"""A thread that owns one connection and does what coroutines hand it, several jobs at a time."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

R = TypeVar("R")
C = TypeVar("C")


class Job(NamedTuple):
    """Something to do with the connection, and who waits for it."""

    work: Callable[[Any], Any]
    future: asyncio.Future[Any]


class Stop(NamedTuple):
    """The request to end, and who waits for that."""

    future: asyncio.Future[Any] | None


class Answer(NamedTuple):
    """What became of one job: a value, or an error."""

    future: asyncio.Future[Any]
    value: object = None
    error: BaseException | None = None


class Crew(Protocol):
    """Who does the jobs of a lane, in its thread."""

    def work(self, jobs: Sequence[Job]) -> list[Answer]:
        """Do the jobs. Errors are answers; nothing is raised."""

    def close(self) -> None:
        """Let go of the connection."""


class Lane(Generic[C]):
    """A thread with a crew, which is given a `C` for each job. `gate` is held while it works."""

    def __init__(self, name: str, crew: Crew, gate: threading.Lock) -> None:
        self._crew = crew
        self._gate = gate
        self._jobs: queue.SimpleQueue[Job | Stop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[C], R]) -> R:
        """What `work` returns or raises in the thread."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._jobs.put(Job(work, future))
        return await future

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be done."""
        return self._jobs.empty()

    async def close(self) -> None:
        """Finish what was handed in, close the connection, end the thread."""
        ended = asyncio.get_running_loop().create_future()
        self._jobs.put(Stop(ended))
        await ended
        self._thread.join()

    def stop(self, timeout: float) -> None:
        """As `close`, without a loop; for the end of the interpreter. Gives up after `timeout` seconds."""
        self._jobs.put(Stop(None))
        self._thread.join(timeout)

    # In the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stops: list[Stop] = []
        while not stops:
            asked = self._collect()
            stops = [item for item in asked if isinstance(item, Stop)]
            jobs = [item for item in asked if isinstance(item, Job)]
            if jobs:
                with self._gate:
                    answers = self._crew.work(jobs)
                deliver(answers)
        with self._gate:
            self._crew.close()
        deliver([Answer(stop.future) for stop in stops if stop.future is not None])

    def _collect(self) -> list[Job | Stop]:
        """All that is waiting; at least one."""
        jobs = [self._jobs.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs


def deliver(answers: Sequence[Answer]) -> None:
    """Answer futures from another thread, with one wake-up of each event loop."""
    loops = {answer.future.get_loop() for answer in answers}
    for loop in loops:
        mine = answers if len(loops) == 1 else [answer for answer in answers if answer.future.get_loop() is loop]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_answer, mine)


def _answer(answers: Sequence[Answer]) -> None:
    for future, value, error in answers:
        if future.done():  # its caller has gone
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
