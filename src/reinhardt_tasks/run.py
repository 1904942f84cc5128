"""One run of a message: watched while its task runs, stopped from outside, and judged at its end.

Whatever the end is, it is one outcome; each way to it is one small function.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from reinhardt_tasks.context import TaskContext
from reinhardt_tasks.errors import SerializationError, TaskCancelledError, TaskTimeoutError
from reinhardt_tasks.failure import Failure, judge, type_name
from reinhardt_tasks.message import Claim, ErrorRecord, Outcome, OutcomeKind, Progress, Reason, Report
from reinhardt_tasks.retry import RetryStrategy

MAX_UNKNOWNS: Final = 10
"""How often a message whose task nobody knows is left for other workers before it becomes a dead letter."""
_LEAVING: Final = 1.0
"""Seconds a message waits at least whose task could not be stopped: only when its process is gone may it run again."""
_UNKNOWN_FIRST_DELAY: Final = 1.75
_UNKNOWN_MAX_DELAY: Final = 900.0


class Cause(Enum):
    """Why a run is stopped from outside."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


Mode = Literal["loop", "thread", "process"]


class RemoteFailureError(Exception):
    """The task raised in another process; `failure` is its verdict, made where the exception was."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.record.message)
        self.failure = failure


class Run:
    """One message while its task runs: what others need to name it, watch it and stop it.

    `ask` is set where a task can be asked to end before it is made to (in a process): it returns how many seconds it is
    then given.
    """

    __slots__ = (
        "ask", "cause", "claim", "context", "disowned", "mode", "over", "slot", "started", "stopped", "strategy",
        "timeout", "told",
    )  # fmt: skip

    def __init__(
        self, claim: Claim, context: TaskContext, slot: asyncio.Task[Any], *, mode: Mode, strategy: RetryStrategy
    ) -> None:
        self.claim = claim
        self.context = context
        self.slot = slot
        self.mode = mode
        self.strategy = strategy
        self.timeout: float | None = None
        self.ask: Callable[[], float] | None = None
        self.cause: Cause | None = None
        self.started = time.monotonic()
        self.stopped = 0.0
        self.over = False
        self.disowned = False
        """Whether the lease it began under is lost."""
        self.told: Progress | None = None

    def stop(self, cause: Cause) -> None:
        """Tell the task to end, once: an async one is cancelled, a process asked or killed, a thread only told."""
        if self.cause is not None:
            return
        self.cause = cause
        self.stopped = time.monotonic()
        patience = self.tell()
        if self.mode == "thread":
            return
        if patience and cause is Cause.CANCEL:
            asyncio.get_running_loop().call_later(patience, self._end)
        else:
            self._end()

    def tell(self) -> float:
        """Let the task know that it is to end; how many seconds it may take where it can be made to."""
        self.context.cancel()
        return 0.0 if self.ask is None else self.ask()

    def _end(self) -> None:
        if not self.over:
            self.slot.cancel()

    def overdue(self, grace: float, now: float) -> bool:
        """Whether the task was told to end more than `grace` seconds ago (twice that where it was asked first)."""
        return self.cause is not None and now - self.stopped > (grace if self.ask is None else 2 * grace)

    def untold(self) -> bool:
        """Whether the task has told of progress that was not reported yet."""
        return self.context.newest_progress is not self.told

    def report(self) -> Report:
        """The newest progress, which counts as told from now on."""
        self.told = self.context.newest_progress
        return self.newest_report()

    def newest_report(self) -> Report:
        """The newest progress, told or not."""
        progress = self.context.newest_progress or Progress(0.0)
        return Report(self.claim.id, self.claim.number, progress.encode(), self.claim.locator)


# How it ends ----------------------------------------------------------------------------------------------------------


class BadResultError(Exception):
    """What the task returned cannot be stored; the task did run."""

    def __init__(self, error: SerializationError) -> None:
        super().__init__(str(error))
        self.error = error


def unknown_delay(unknowns: int) -> float:
    """Seconds a message is left alone after `unknowns` workers did not know its task: 10 times take half an hour."""
    return min(_UNKNOWN_MAX_DELAY, _UNKNOWN_FIRST_DELAY * 2.0 ** min(unknowns, MAX_UNKNOWNS))


def ended(run: Run, error: BaseException) -> Outcome:
    """The outcome of a run that ended with `error`: what stopped it from outside outweighs what it raised."""
    if run.cause is not None:
        return _stopped(run, error.__traceback__)
    if _ends_worker(run, error):
        raise error
    if run.context.cancelled and _is_heeding(error):
        return Outcome.release(run.claim)
    return _failed(run.claim, run.strategy, error)


def abandoned(run: Run) -> Outcome:
    """The outcome of a run that does not end although it was told to; its process must end within a second then."""
    outcome = _stopped(run, None)
    again = outcome.kind in (OutcomeKind.RETRY, OutcomeKind.RELEASE)
    return msgspec.structs.replace(outcome, delay=max(outcome.delay, _LEAVING)) if again else outcome


def unknown(claim: Claim, why: str) -> Outcome:
    """Leave the message for another worker, with growing delays; in the end it is a dead letter."""
    if claim.unknowns >= MAX_UNKNOWNS:
        text = f"{why}, nor was it known to the workers that met this message {claim.unknowns} times before"
        return Outcome.failure(claim, ErrorRecord("TaskNotFoundError", text, "", Reason.UNKNOWN_TASK))
    return Outcome.release(claim, unknown_delay(claim.unknowns), unknown=True)


def _ends_worker(run: Run, error: BaseException) -> bool:
    """Whether `error` comes from outside the task: its slot is cancelled, or closed by an event loop at its end."""
    if isinstance(error, asyncio.CancelledError):
        return run.slot.cancelling() > 0
    return isinstance(error, GeneratorExit) and not _is_stepping(run.slot)


def _is_stepping(slot: asyncio.Task[Any]) -> bool:
    """Whether the event loop is running a step of `slot` now."""
    try:
        return asyncio.current_task() is slot
    except RuntimeError:
        return False


def _is_heeding(error: BaseException) -> bool:
    """Whether `error` is what `raise_if_cancelled` raises, here or in another process."""
    if isinstance(error, RemoteFailureError):
        return error.failure.record.type == type_name(TaskCancelledError(""))
    return isinstance(error, TaskCancelledError)


def _stopped(run: Run, where: TracebackType | None) -> Outcome:
    """The outcome of a run that was told to end and did not return a result."""
    if run.cause is Cause.TIMEOUT:
        limit = TaskTimeoutError(f"task {run.context.name} ran longer than its limit of {run.timeout:g} s")
        return _failed(run.claim, run.strategy, limit.with_traceback(where))
    if run.cause is Cause.CANCEL:
        return Outcome.cancelled(run.claim, cancelled_record("while it ran"))
    return Outcome.release(run.claim)


def cancelled_record(when: str) -> ErrorRecord:
    """The error of a message that was cancelled by an order; `when` tells how far it had come."""
    return ErrorRecord(type_name(TaskCancelledError("")), f"the message was cancelled {when}", "", Reason.CANCELLED)


def _failed(claim: Claim, strategy: RetryStrategy, error: BaseException) -> Outcome:
    """A retry while the strategy has one left for this kind of error, else a dead letter."""
    if isinstance(error, BadResultError):
        record = ErrorRecord(type_name(error.error), str(error), "", Reason.BAD_RESULT)
        return Outcome.failure(claim, record)
    failure = error.failure if isinstance(error, RemoteFailureError) else judge(strategy, error)
    record = failure.record
    if not failure.retryable:
        return Outcome.failure(claim, record)
    if claim.attempts < strategy.max_retries:
        delay = strategy.delay(claim.attempts + 1) if failure.after is None else failure.after
        return Outcome.retry(claim, delay, record)
    if strategy.max_retries and record.reason is Reason.FAILED:
        record = ErrorRecord(record.type, record.message, record.traceback, Reason.RETRIES_SPENT)
    return Outcome.failure(claim, record)


def own_task() -> asyncio.Task[Any]:
    """The asyncio task that calls this."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a message is run inside an asyncio task")
    return task


def forget_cancel(slot: asyncio.Task[Any]) -> None:
    """What was to be cancelled in `slot` has ended; it goes on with the next."""
    while slot.cancelling():
        slot.uncancel()
