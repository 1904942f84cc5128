"""How the parts of a message are timed.

Those inside a call of the backend are timed where they happen, once a call; those of a single message, which cost less
than a clock does, are timed apart, many in a row, on the same objects.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from reinhardt_tasks import TaskQueue
from reinhardt_tasks.message import Claim, decode_envelope
from reinhardt_tasks.runner import Runner

T = TypeVar("T")
TEXT = "x" * 100
_ROUNDS = 50_000


class Line(NamedTuple):
    """One line of the table: a part and what it costs, in microseconds a message."""

    part: str
    microseconds: float


def queue_on(url: str) -> tuple[TaskQueue, Any]:
    """A queue at `url` with a task that does nothing."""
    queue = TaskQueue(url)

    @queue.task(name="noop")
    async def noop(number: int, text: str) -> None:
        """Does nothing."""

    return queue, noop


async def in_the_runner(queue: TaskQueue, noop: Any) -> tuple[float, list[Line]]:
    """What the runner costs, and its steps, each timed alone."""
    message = noop.message(1, TEXT)
    claim = Claim(message.id, 1, message.body)
    envelope = decode_envelope(message.body)
    steps = [
        Line("open and decode the envelope", each(lambda: decode_envelope(queue.seal.open(message.body)))),
        Line("decode the arguments", each(functools.partial(noop.arguments.decode, envelope.a))),
        Line("encode the result", each(functools.partial(noop.returns.encode, None))),
    ]
    whole = await each_awaited(functools.partial(Runner(queue, values={}).run, claim))
    return whole, [*steps, Line("the rest of the runner", whole - sum(step.microseconds for step in steps))]


def indented(lines: Sequence[Line]) -> list[Line]:
    """The same lines, one level further in."""
    return [Line(f"  {part}", cost) for part, cost in lines]


def each(step: Callable[[], object]) -> float:
    """Microseconds of processor time of one call."""
    began = time.thread_time()
    for _ in range(_ROUNDS):
        step()
    return 1e6 * (time.thread_time() - began) / _ROUNDS


async def each_awaited(step: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of processor time of one awaited call."""
    began = time.thread_time()
    for _ in range(_ROUNDS):
        await step()
    return 1e6 * (time.thread_time() - began) / _ROUNDS


class Stopwatch:
    """`with Stopwatch() as watch`: seconds of the clock, of this thread's processor time, and of the process's."""

    def __enter__(self) -> Self:
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall, self.thread, self.process = (now - then for now, then in zip(self._now(), self._began, strict=True))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), time.thread_time(), time.process_time()


class Timed:
    """`with Timed(clock, spent, (owner, name), …)`: calls of these functions add the seconds they take to `spent`."""

    def __init__(self, clock: Callable[[], float], spent: Counter[str], *places: tuple[Any, str]) -> None:
        self._clock = clock
        self._spent = spent
        self._places = [(owner, name, getattr(owner, name)) for owner, name in places]

    def __enter__(self) -> None:
        for owner, name, original in self._places:
            setattr(owner, name, self._watched(name, original))

    def __exit__(self, *raised: object) -> None:
        for owner, name, original in self._places:
            setattr(owner, name, original)

    def _watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            began = self._clock()
            try:
                return original(*args, **kwargs)
            finally:
                self._spent[name] += self._clock() - began

        return watched


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop where it is installed, as a worker does."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
