"""Where tasks with `runs_in="process"` run: warm children, one pipe each, killable; a dead one costs one message."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reinhardt_tasks.errors import ConfigurationError, TaskError
from reinhardt_tasks.failure import Failure
from reinhardt_tasks.run import RemoteFailureError
from reinhardt_tasks.task import Task
from reinhardt_tasks.worker.frames import (
    Answer,
    Cancel,
    Leave,
    Logged,
    ProcessCall,
    Progressed,
    Raised,
    Refused,
    Returned,
    Setup,
    Start,
    decode_from_child,
    frame,
)
from reinhardt_tasks.worker.origin import origin_of, setup_for
from reinhardt_tasks.worker.pipe import Pipe
from reinhardt_tasks.worker.remote_log import log_again
from reinhardt_tasks.worker.spawned import Spawned, describe_end, this_python

__all__ = ["ChildDiedError", "ProcessCall", "ProcessPool"]

_log = logging.getLogger("reinhardt_tasks.worker")

_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; from reinhardt_tasks.worker.child import main; main(int(sys.argv[1]))"
)
_KILL_PATIENCE: Final = 5.0
"""Seconds to wait until a killed child is gone; it takes that long only when it hangs in the kernel."""

OnProgress = Callable[[bytes], None]


@dataclass(eq=False, kw_only=True)
class ChildDiedError(TaskError):
    """The process `pid` ended in the middle of task `name`; `code` is its exit code, or minus the signal's number."""

    says = "The process that ran task {name} {end}. Look for os._exit, a crash in native code, or too little memory."

    name: str | None = None
    pid: int | None = None
    code: int | None = None
    end: str = "died"


class Child:
    """One child process, and the message it works on, if any."""

    def __init__(self, setup: Setup) -> None:
        """Start it. Raises OSError when the system refuses."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # By the thread of the loop: when the thread that started it ends, a child is killed.
                self.process = Spawned(child_command(theirs.fileno()), fds=[theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        self.served = 0
        self._parting = False
        self._working_on: Start | None = None
        self._on_progress: OnProgress | None = None
        self._answer: asyncio.Future[Answer | None] | None = None
        self._pipe = Pipe(ours, on_frame=self._hear, on_end=self._hung_up)
        self.process.on_end(self._bury)
        self._pipe.send(frame(setup))

    @property
    def busy(self) -> bool:
        """Whether it works on a message."""
        return self._working_on is not None

    @property
    def usable(self) -> bool:
        """Whether it lives and may be given a message, as far as the system knows this very moment."""
        return not self._parting and not self.process.poll()

    async def perform(self, start: Start, on_progress: OnProgress | None) -> bytes:
        """Run one message; see ProcessPool.run."""
        self.served += 1
        self._working_on, self._on_progress = start, on_progress
        self._answer = asyncio.get_running_loop().create_future()
        self._pipe.send(frame(start))
        try:
            answer = await self._answer
        except asyncio.CancelledError:
            await self.destroy()
            raise
        finally:
            self._working_on, self._on_progress, self._answer = None, None, None
        return self._result(answer, start.call.name)

    def cancel(self, id: bytes) -> bool:
        """Tell the task of message `id` that it is cancelled; False if it does not run here."""
        if self._working_on is None or self._working_on.call.id != id:
            return False
        self._pipe.send(frame(Cancel(id)))
        return True

    async def retire(self, grace: float) -> None:
        """Let it close what its providers opened and end, within `grace` seconds; then it is killed."""
        self._parting = True
        self._pipe.send(frame(Leave()))
        if await self.process.wait(grace) is None:
            _log.warning("child_killed pid=%d reason='it did not end within %g s'", self.process.pid, grace)
            await self.destroy()

    async def destroy(self) -> None:
        """Kill it, and wait until it is gone."""
        self._parting = True
        self.process.kill()
        await self.process.wait(_KILL_PATIENCE)

    def _result(self, answer: Answer | None, name: str) -> bytes:
        match answer:
            case Returned():
                return answer.result
            case Raised():
                raise RemoteFailureError(Failure.decode(answer.failure))
            case Refused():
                raise ConfigurationError(answer.why)
            case None:
                code = self.process.code or 0
                raise ChildDiedError(name=name, pid=self.process.pid, code=code, end=describe_end(code))

    def _hear(self, content: bytes) -> None:
        """Take what the child says. Raises ValueError for what no child says."""
        said = decode_from_child(content)
        match said:
            case Progressed():
                self._tell_progress(said)
            case Logged():
                log_again(said, pid=self.process.pid)
            case _:
                self._settle(said)

    def _tell_progress(self, said: Progressed) -> None:
        if self._on_progress is None or self._working_on is None or self._working_on.call.id != said.id:
            return
        try:
            self._on_progress(said.progress)
        except Exception:  # noqa: BLE001 - a caller's own; else the loop would stop reading in the middle
            _log.exception("progress_callback_failed task=%s", self._working_on.call.name)

    def _settle(self, answer: Answer | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _hung_up(self) -> None:
        """A child that can be heard no more is of no use, unless it is just leaving."""
        if not self._parting:
            self._parting = True
            self.process.kill()

    def _bury(self) -> None:
        """It has ended: read what it said last, then tell whoever still waits for an answer."""
        self._parting = True
        self._pipe.receive_rest()
        self._pipe.close()
        self._settle(None)


class ProcessPool:
    """Up to `size` children, each started when there is a message and none is free, and kept for the next one.

    They end with this process, however it ends. One is replaced after `max_tasks_per_child` messages (None: never).
    `target`, as `module:attribute`, is where children find the queue and in it the task; without one they look where
    the task is defined. Belongs to one loop.
    """

    def __init__(self, size: int, *, target: str | None = None, max_tasks_per_child: int | None = None) -> None:
        if size < 1:
            raise ValueError(f"a process pool has at least one process, not {size!r}")
        self._target = target
        self._max_tasks = max_tasks_per_child
        self._places = asyncio.Semaphore(size)
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the children there are now, those that are just ending included."""
        return sorted(child.process.pid for child in self._children)

    async def run(
        self, task: Task[Any, Any], arguments: bytes, call: ProcessCall, *, on_progress: OnProgress | None = None
    ) -> bytes:
        """The encoded result of `task`, called with the encoded `arguments` in a child.

        `on_progress` is given each progress the task tells, encoded. Cancelling the caller kills the child: it is dead
        when the cancellation comes through. Raises RemoteFailureError when the task raised, ChildDiedError when its
        process ended, ConfigurationError when the task is not found there, OSError when no process can be started, and
        RuntimeError after `close`.
        """
        start = Start(call, origin_of(task), arguments)
        async with self._places:
            child = self._take()
            try:
                return await child.perform(start, on_progress)
            finally:
                self._put_back(child)

    def cancel(self, id: bytes) -> bool:
        """Set `current_task().cancelled` in the task of message `id`; False if it does not run here."""
        told = [child.cancel(id) for child in self._children]  # all: it may run twice here, after a lost lease
        return any(told)

    async def close(self, grace: float) -> None:
        """End all children: those at work at once, the others by asking, for up to `grace` seconds. None is left."""
        self._closed = True
        self._idle.clear()
        ends = [child.destroy() if child.busy else child.retire(grace) for child in self._children]
        await asyncio.gather(*ends)

    def _take(self) -> Child:
        """A free child, started now if there is none."""
        if self._closed:
            raise RuntimeError("this process pool is closed")
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                return child
        return self._start()

    def _start(self) -> Child:
        child = Child(setup_for(self._target))
        self._children.add(child)
        child.process.on_end(lambda: self._children.discard(child))
        _log.debug("child_started pid=%d", child.process.pid)
        return child

    def _put_back(self, child: Child) -> None:
        if self._closed or not child.usable:
            return
        if self._max_tasks is not None and child.served >= self._max_tasks:
            parting = asyncio.create_task(child.retire(_KILL_PATIENCE))
            self._retiring.add(parting)
            parting.add_done_callback(self._retiring.discard)
        else:
            self._idle.append(child)


def child_command(descriptor: int) -> list[str]:
    """The command line of a child: this Python with the options and the import path of this process."""
    return [*this_python(), "-c", _PROGRAM, str(descriptor), *map(os.fspath, sys.path)]
