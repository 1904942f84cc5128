"""The thread that looks at the database for all coroutines that wait, when a bell rings or a moment has come."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw

from reinhardt_tasks.backends.sqlite.bell import Ear, log_of
from reinhardt_tasks.backends.sqlite.connection import open_reader
from reinhardt_tasks.backends.sqlite.faults import translated
from reinhardt_tasks.backends.sqlite.lane import Answer, deliver
from reinhardt_tasks.backends.sqlite.place import FileIdentity
from reinhardt_tasks.backends.sqlite.reader import snapshot
from reinhardt_tasks.backends.sqlite.watch import EndWatch, Glance, Watch, WorkWatch
from reinhardt_tasks.errors import BackendError

NET: Final = 0.25
"""Seconds between two looks where the bells can be heard: a net, should one be missed."""
_QUICKEST: Final = 0.001
_SLOWEST: Final = 0.05
"""Seconds between two looks where they cannot: from the first, after something changed, growing to the second."""
_SHARE: Final = 50
_LONGEST_PAUSE: Final = 0.01
"""After a look that took t seconds, rung looks pause for _SHARE × t, at most this: busy neighbours cost little."""


class Pace:
    """When to look next. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self._poll = _SLOWEST

    def looked(self, started: float, ended: float, *, rung: bool, changed: bool) -> None:
        """A look was taken, because a bell rang or not, and some still wait."""
        if rung:
            self.not_before = ended + min(_SHARE * (ended - started), _LONGEST_PAUSE)
        self._poll = _QUICKEST if changed else min(2 * self._poll, _SLOWEST)

    def hurry(self) -> None:
        """Somebody has just come: what they wait for may come soon."""
        self._poll = _QUICKEST

    def longest(self, *, hearing: bool) -> float:
        """Seconds until the next look, if nothing rings."""
        return NET if hearing else self._poll


class Door:
    """Where other threads knock: the end of a pipe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.fd, self._knocker = os.pipe()
        except OSError as error:
            raise BackendError(f"nothing can be waited for: {error.strerror}", backend="sqlite") from error
        os.set_blocking(self.fd, False)
        os.set_blocking(self._knocker, False)

    def knock(self) -> None:
        """Wake the thread. A full pipe wakes it as well; once it has ended there is nobody to wake."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._knocker, b"\0")

    def clear(self) -> None:
        """Forget the knocks so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def close(self) -> None:
        """Nobody knocks any more."""
        with self._lock:
            self._closed = True
            os.close(self.fd)
            os.close(self._knocker)


class Watcher:
    """Answers watches from a thread of its own, which sleeps while nobody waits."""

    _file: FileIdentity

    def __init__(self, path: str, clock: Callable[[], float], gate: threading.Lock, *, ear: Ear | None = None) -> None:
        self.connection: apsw.Connection | None = None
        self._path = path
        self._clock = clock
        self._gate = gate
        self._fresh: deque[Watch] = deque()
        self._watches: list[Watch] = []
        self._moment: float | None = None
        self._deadline = 0.0
        self._version = -1
        self._pace = Pace()
        self._ear = ear or Ear()
        self._door = Door()
        self._stop: asyncio.Future[Any] | None = None
        self._stopping = self._nudged = self._rung = False
        self._thread = threading.Thread(target=self._run, name="sqlite-watcher", daemon=True)
        self._thread.start()

    async def wait(self, watch: Watch, timeout: float | None) -> Any:
        """The answer to `watch`; what it says of itself after `timeout` seconds."""
        if self._stopping:
            return watch.otherwise
        self._fresh.append(watch)
        self._door.knock()
        try:
            async with asyncio.timeout(timeout):
                return await watch.future
        except TimeoutError:
            return watch.otherwise

    def nudge(self) -> None:
        """Something was committed in this process; for a watcher that hears no bell."""
        if self._watches and not self._ear.hears(self._path):
            self._nudged = True
            self._door.knock()

    async def close(self) -> None:
        """Answer all who wait, end the thread."""
        self._stop = asyncio.get_running_loop().create_future()
        self._stopping = True
        self._door.knock()
        await self._stop
        self._thread.join()

    def stop(self, timeout: float) -> None:
        """As `close`, without a loop; for the end of the interpreter."""
        self._stopping = True
        self._door.knock()
        self._thread.join(timeout)

    # In the thread: when to look ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            everything = self._sleep()
            if not self._stopping:
                self._look(everything=everything)
        with self._gate:
            self._disconnect()
        self._ear.close()
        self._door.close()
        left = [*self._watches, *self._fresh]
        deliver([watch.at_close() for watch in left] + ([Answer(self._stop)] if self._stop else []))

    def _sleep(self) -> bool:
        """Wait until there is reason to look; whether at everything, not only for those who have just come."""
        if not self._watches:
            self._poll(None, self._door.fd)
            return False
        if self._nudged:
            self._nudged = self._rung = False
            return True
        pause = self._pace.not_before - time.monotonic()
        if pause > 0 and self._poll(pause, self._door.fd):
            return False
        ears = [] if self._ear.fd is None else [self._ear.fd]
        ready = self._poll(self._longest(), self._door.fd, *ears)
        self._rung = self._ear.fd in ready
        if self._rung:
            self._ear.drain()
        return ready != {self._door.fd}

    def _longest(self) -> float:
        on_ends = any(not watch.on_work for watch in self._watches)
        hearing = self._ear.hears(self._path) and (not on_ends or self._ear.hears(log_of(self._path)))
        longest = self._pace.longest(hearing=hearing)
        return min(longest, self._until_moment())

    def _until_moment(self) -> float:
        """Seconds until the next moment: by the store's clock, or, should that stand or jump, by ours."""
        if self._moment is None:
            return math.inf
        return max(0.0, min(self._moment - self._clock(), self._deadline - time.monotonic()))

    def _poll(self, timeout: float | None, *fds: int) -> set[int]:
        """Those of the file descriptors that are readable within `timeout` seconds. Knocks are forgotten."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if timeout is None else math.ceil(timeout * 1000))}
        if self._door.fd in ready:
            self._door.clear()
        return ready

    # In the thread: looking ---------------------------------------------------------------------------------------

    def _look(self, *, everything: bool) -> None:
        """Answer whom there is an answer for: among those who have just come, or among all."""
        started = time.monotonic()
        version = self._version
        fresh = [self._fresh.popleft() for _ in range(len(self._fresh))]
        if fresh:
            self._pace.hurry()
        try:
            with self._gate:
                answers = self._answers(fresh, everything=everything)
        except apsw.BusyError:  # another process repairs the log after a crash
            answers = []
            self._version = -1  # the next look is at everything
        except Exception as error:  # noqa: BLE001 - those who wait get it
            answers = self._failed(fresh, error)
        answered = {answer.future for answer in answers}
        waiting = (watch for watch in (*self._watches, *fresh) if watch.future not in answered)
        self._watches = [watch for watch in waiting if not watch.future.done()]
        self._adjust_ear()
        if everything and self._watches:
            self._pace.looked(started, time.monotonic(), rung=self._rung, changed=version != self._version)
        deliver(answers)

    def _answers(self, fresh: Sequence[Watch], *, everything: bool) -> list[Answer]:
        connection = self._connected()
        if any(not watch.on_work for watch in fresh):
            self._ear.listen(log_of(self._path))  # before the look, or an end between the two goes unheard
        looked = [*fresh, *(self._watches if everything and self._has_changed(connection) else ())]
        if not looked and self._until_moment() > 0:
            return []
        with snapshot(connection):
            glance = Glance(connection, self._clock())
            answers = [answer for watch in looked if (answer := watch.look(glance)) is not None]
            answers += glance.ended([watch for watch in looked if isinstance(watch, EndWatch) and watch.no])
            return answers + self._due(glance, [*self._watches, *fresh])

    def _connected(self) -> apsw.Connection:
        """A connection to the file that is there now, and an ear at it."""
        if self.connection is not None and self._file.has_changed():
            self._disconnect()
        if self.connection is None:
            self.connection = open_reader(self._path)
            self._file = FileIdentity(self._path)
            self._version = -1
            self._ear.listen(self._path)
        return self.connection

    def _has_changed(self, connection: apsw.Connection) -> bool:
        """Whether anybody has written since the last look at everything."""
        before = self._version
        self._version = int(connection.pragma("data_version"))
        return before != self._version

    def _due(self, glance: Glance, watches: Sequence[Watch]) -> list[Answer]:
        """Let those who wait for work look themselves once something is due; and note when that will be next."""
        workers = [watch for watch in watches if isinstance(watch, WorkWatch)]
        moment = glance.next_moment() if workers else None
        if moment is not None and moment != self._moment:
            self._deadline = time.monotonic() + moment - glance.now
        self._moment = moment
        if self._until_moment() > 0:
            return []
        self._moment = None
        return [Answer(watch.future, watch.otherwise) for watch in workers]

    def _failed(self, fresh: Sequence[Watch], error: Exception) -> list[Answer]:
        self._disconnect()
        fault = translated(error, self._path)
        return [watch.at_failure(fault) for watch in (*self._watches, *fresh)]

    def _adjust_ear(self) -> None:
        """Do not be woken by ends while nobody waits for one."""
        if not any(not watch.on_work for watch in self._watches):
            self._ear.ignore(log_of(self._path))

    def _disconnect(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(apsw.Error):
                self.connection.close()
            self.connection = None
            self._ear.ignore(self._path)
            self._ear.ignore(log_of(self._path))
