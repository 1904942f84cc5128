"""What a running task knows about its own message: `current_task()`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, SupportsFloat

from reinhardt_tasks.errors import QueueError, TaskCancelledError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Envelope, Progress

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_LONGEST_NOTE: Final = 1000
_logger = logging.getLogger("reinhardt_tasks.task")


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds `task_id`, `task` and `attempt` to every record, beside the fields given with it."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The message as it is; the record's own `extra` on top of the task's fields."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class TaskContext:
    """One run of a task from inside. `attempt` is 1 for the first run; `losses` counts workers that died under it."""

    __slots__ = ("_cancelled", "_headers", "_log", "_progress", "_run_at", "attempt", "id", "losses", "name")

    def __init__(self, claim: Claim, envelope: Envelope) -> None:
        self.id: TaskId = claim.id
        self.name: str = envelope.n
        self.attempt: int = claim.attempts + 1
        self.losses: int = claim.losses
        self._run_at = claim.run_at
        self._headers = envelope.h
        self._cancelled = False
        self._progress: Progress | None = None
        self._log: TaskLog | None = None

    @property
    def scheduled_for(self) -> datetime | None:
        """The instant the message was due, None when it was due as soon as it was enqueued."""
        return None if self._run_at is None else datetime.fromtimestamp(self._run_at, UTC)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers given to `using(headers=…)`; read only."""
        return _NO_HEADERS if self._headers is None else MappingProxyType(self._headers)

    @property
    def log(self) -> TaskLog:
        """The logger `reinhardt_tasks.task`, bound to this run."""
        if self._log is None:
            fields = {"task_id": str(self.id), "task": self.name, "attempt": self.attempt}
            self._log = TaskLog(_logger, fields)
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether the run was told to end: by `cancel`, its time limit, a worker that shuts down or lost its lease."""
        return self._cancelled

    def cancel(self) -> None:
        """Tell the task to end. The worker's to call; the task sees it in `cancelled`."""
        self._cancelled = True

    @property
    def newest_progress(self) -> Progress | None:
        """What `progress` was last told; the worker's to send on."""
        return self._progress

    def raise_if_cancelled(self) -> None:
        """Raise TaskCancelledError once this run was told to end. For tasks in threads, which nothing else can stop."""
        if self._cancelled:
            raise TaskCancelledError(task_id=str(self.id), name=self.name, reason="requested")

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the task is: `done` of `total`. A plain call: only the newest one is sent, by and by.

        A note is cut after 1,000 characters, and what is no valid Unicode in it is escaped. Raises ValueError for what
        is no finite number, and TypeError for a note that is no text.
        """
        if not isinstance(note, str):
            raise TypeError(f"progress takes text as its note, not {note!r}")
        told = note[:_LONGEST_NOTE].encode("utf-8", "backslashreplace").decode()
        self._progress = Progress(_finite(done), None if total is None else _finite(total), told, time.time())


def _finite(number: object) -> float:
    """`number` as a float, whatever kind of number it is. Raises ValueError unless it is a finite one."""
    try:
        value = float(number) if isinstance(number, SupportsFloat) else math.nan
    except OverflowError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"progress takes finite numbers, not {number!r}")
    return value


current_context: ContextVar[TaskContext] = ContextVar("reinhardt_tasks.current_task")
"""The run that the code at hand belongs to; set by the runner."""


def current_task() -> TaskContext:
    """The run of the task that calls this, on the loop, in a thread or in a process. Raises QueueError elsewhere."""
    context = current_context.get(None)
    if context is None:
        raise QueueError(
            "current_task() was called outside a task; call it from a task's function while a worker runs it"
        )
    return context
