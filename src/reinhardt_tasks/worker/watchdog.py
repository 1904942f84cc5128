"""Says which task blocks the event loop, and where: a thread that looks whether the loop still ticks."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

_log = logging.getLogger("reinhardt_tasks.watchdog")
_MOST_FRAMES: Final = 40


class Sign(Enum):
    """What one look at the loop may find."""

    BLOCKED = "blocked"
    FREE = "free"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sign and how long, in seconds: blocked so far, blocked in all, or the whole process not running."""

    sign: Sign
    seconds: float


class LoopWatch:
    """Decides from three clocks whether the loop is blocked; holds no thread and reads no clock (pure).

    `limit`: seconds the loop may be blocked. `interval`: seconds from one tick of the loop, and one look, to the next.
    A look that comes late means that the looking thread could not run either. Then the processor time tells two cases
    apart: used up, so code that holds the GIL blocks everything; or not, so the whole process was stopped or starved,
    and no task is to blame.
    """

    def __init__(self, *, limit: float, interval: float, now: float, cpu: float) -> None:
        self._limit = limit
        self._interval = interval
        self._tick = now
        self._due = now + interval
        self._looked = now
        self._cpu = cpu
        self._blocked = False

    def look(self, *, now: float, tick: float, cpu: float) -> Finding | None:
        """What there is to say at `now`, when the loop last ticked at `tick` and the process has used `cpu` seconds."""
        asleep, used = now - self._looked, cpu - self._cpu
        self._looked, self._cpu = now, cpu
        if asleep > self._limit + self._interval and used < asleep / 2:
            return self._stalled(now, tick, asleep)
        if tick != self._tick:
            return self._ticked(tick)
        if self._blocked or now - self._due <= self._limit:
            return None
        self._blocked = True
        return Finding(Sign.BLOCKED, now - self._due)

    def _stalled(self, now: float, tick: float, asleep: float) -> Finding:
        self._tick = tick
        self._due = max(now, tick) + self._interval
        self._blocked = False
        return Finding(Sign.STALLED, asleep)

    def _ticked(self, tick: float) -> Finding | None:
        """The loop runs. A block that began and ended between two looks is told by its end alone."""
        late = tick - self._due
        self._tick = tick
        self._due = tick + self._interval
        self._blocked, was_blocked = False, self._blocked
        return Finding(Sign.FREE, late) if was_blocked or late > self._limit else None


class Watchdog:
    """Logs one warning when the loop is blocked for more than `limit` seconds, and how long it was once it is free.

    `running` is asked, from another thread, what the asyncio task that blocks the loop is working on (None: the loop is
    not inside a task); the warning quotes its answer and the stack of the loop's thread.
    """

    def __init__(
        self, running: Callable[[asyncio.Task[Any] | None], str], *, limit: float = 1.0, interval: float = 0.25
    ) -> None:
        self._running = running
        self._limit = limit
        self._interval = interval
        self._tick = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Watch the running loop, which is the calling thread's, until `stop`."""
        loop = asyncio.get_running_loop()
        self._beat(loop)
        watch = LoopWatch(limit=self._limit, interval=self._interval, now=self._tick, cpu=time.process_time())
        arguments = (watch, loop, threading.get_ident())
        threading.Thread(target=self._keep_looking, args=arguments, name="reinhardt-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer. To be called on the loop."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tick = time.monotonic()
        self._timer = loop.call_later(self._interval, self._beat, loop)

    def _keep_looking(self, watch: LoopWatch, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stopped.wait(self._interval):
            found = watch.look(now=time.monotonic(), tick=self._tick, cpu=time.process_time())
            if found is not None:
                self._tell(found, loop, thread)

    def _tell(self, found: Finding, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        match found.sign:
            case Sign.BLOCKED:
                stack = stack_of(thread)  # at once: what follows takes time, and the loop may move on
                task = self._ask(asyncio.current_task(loop))
                _log.warning("event_loop_blocked seconds=%.1f task=%s\n%s", found.seconds, task, stack)
            case Sign.FREE:
                _log.warning("event_loop_free blocked_for=%.1f", found.seconds)
            case Sign.STALLED:
                _log.warning("process_stalled seconds=%.1f (it was stopped, or given no processor time)", found.seconds)

    def _ask(self, task: asyncio.Task[Any] | None) -> str:
        try:
            return self._running(task)
        except Exception as error:  # noqa: BLE001 - it reads what another thread is changing; the stack is worth more
            return f"(unknown: {error!r})"


def stack_of(thread: int) -> str:
    """The innermost frames of the thread with the ident `thread` as text; empty when it has ended."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented; there is no other way to see another thread
    return "" if frame is None else "".join(traceback.format_stack(frame, _MOST_FRAMES))
