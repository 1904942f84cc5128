"""One claimed message → one outcome: open, look up, decode, run, encode. No polling, no backend.

`Runner.run` walks a message through these steps in order; each way it can end is one small function below it. A run
that is under way can be stopped from outside (`Run.stop`): by its time limit, an order to cancel, a shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from reinhardt_tasks.context import TaskContext, current_context
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import (
    ConfigurationError,
    SerializationError,
    TaskCancelledError,
    TaskTimeoutError,
)
from reinhardt_tasks.failure import Failure, judge, refusal, type_name
from reinhardt_tasks.message import (
    ENVELOPE_VERSION,
    Claim,
    Envelope,
    ErrorRecord,
    Outcome,
    OutcomeKind,
    Progress,
    Reason,
    Report,
    decode_envelope,
)
from reinhardt_tasks.retry import RetryStrategy

if TYPE_CHECKING:
    from reinhardt_tasks.codec import Seal
    from reinhardt_tasks.config import QueueConfig
    from reinhardt_tasks.lifespan import Provider
    from reinhardt_tasks.middleware import Middleware
    from reinhardt_tasks.task import Task

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

    def __init__(self, claim: Claim, context: TaskContext, slot: asyncio.Task[Any], prepared: Prepared) -> None:
        self.claim = claim
        self.context = context
        self.slot = slot
        self.mode = prepared.mode
        self.strategy = prepared.strategy
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
        progress = self.told = self.context.newest_progress or Progress(0.0)
        return Report(self.claim.id, self.claim.number, progress.encode(), self.claim.locator)


class Tasks(Protocol):
    """What a runner needs of a queue, which is above it."""

    @property
    def seal(self) -> Seal:
        """Opens envelopes, closes results."""

    @property
    def config(self) -> QueueConfig:
        """How often a task without a strategy of its own is retried."""

    @property
    def middleware(self) -> tuple[Middleware, ...]:
        """What runs around each task, the first of them outermost."""

    def find(self, name: str) -> Task[Any, Any] | None:
        """The task called `name`."""


class Pools(Protocol):
    """Where tasks run that do not run on the loop."""

    async def run_in_thread(self, run: Run, call: Callable[[], Any], context: contextvars.Context) -> Any:
        """`call()` in a thread, inside `context`."""

    async def run_in_process(self, run: Run, prepared: Prepared, arguments: bytes) -> bytes:
        """The encoded result of the task in a process of its own. Raises RemoteFailureError when it raised."""


class Prepared:
    """A task with all that is the same for each of its messages worked out once."""

    __slots__ = ("decode", "encode", "function", "injected", "mode", "strategy", "task", "timeout")

    def __init__(self, task: Task[Any, Any], max_retries: int, values: Mapping[Provider[Any], object]) -> None:
        self.task = task
        self.function: Callable[..., Any] = task.function
        self.decode = task.arguments.decode
        self.encode = task.returns.encode
        self.timeout = task.options.timeout
        self.strategy = task.options.retry or RetryStrategy.exponential_backoff(max_retries=max_retries)
        self.mode: Mode = _mode(task)
        self.injected = {} if self.mode == "process" else _injected(task, values)


def _in_thread(prepared: Prepared, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """What a thread has to call; a coroutine function gets a loop of its own there."""
    function = prepared.function
    if prepared.task.is_async:
        return lambda: asyncio.run(function(*args, **kwargs))
    return lambda: function(*args, **kwargs)


def _mode(task: Task[Any, Any]) -> Mode:
    """Where the task runs: as it says, else on the loop if it is async, in a thread if not."""
    if task.options.runs_in != "auto":
        return task.options.runs_in
    return "loop" if task.is_async else "thread"


def _injected(task: Task[Any, Any], values: Mapping[Provider[Any], object]) -> dict[str, object]:
    """The worker's values for the parameters that take them from providers."""
    missing = [name for name, provider in task.providers.items() if provider not in values]
    if missing:
        raise ConfigurationError(
            f"task {task.name} takes parameter {missing[0]!r} from a provider that this worker's queue does not have; "
            "make it with @queue.lifespan on the queue the worker runs"
        )
    return {name: values[provider] for name, provider in task.providers.items()}


class Runner:
    """Runs claimed messages of one queue, with the values of its lifespan providers."""

    def __init__(self, queue: Tasks, *, values: Mapping[Provider[Any], object], pools: Pools | None = None) -> None:
        self._queue = queue
        self._values = values
        self._pools = pools or LoopPools()
        self._open = queue.seal.open
        self._close = queue.seal.close
        self._prepared: dict[str, Prepared] = {}
        self.last_reports: deque[Report] = deque(maxlen=MAX_BATCH)
        """Progress that was told right before its task ended; whoever exchanges takes it from here."""
        self.running: set[Run] = set()
        """What is running now. Twice the same message, where its lease was lost and it was claimed here again."""

    async def run(self, claim: Claim) -> Outcome:
        """The outcome of one claim. Raises only what must end the worker (its own cancellation)."""
        try:
            envelope = _envelope_in(self._open(claim.body))
            if envelope.v > ENVELOPE_VERSION:
                return self._unknown(claim, f"its envelope is of version {envelope.v}, newer than this worker")
            if envelope.i != claim.id:
                raise SerializationError("the envelope belongs to another message", where="envelope")
            prepared = self._prepared.get(envelope.n) or self._prepare(envelope.n)
            if prepared is None:
                return self._unknown(claim, f"no task {envelope.n!r} is registered here")
            arguments = envelope.a if prepared.mode == "process" else prepared.decode(envelope.a)
        except SerializationError as error:
            return Outcome.failure(claim, refusal(error))
        except ConfigurationError as error:
            return Outcome.failure(claim, judge(RetryStrategy.no_retry(), error).record)
        return await self._run(claim, envelope, prepared, arguments)

    async def _run(self, claim: Claim, envelope: Envelope, prepared: Prepared, arguments: Any) -> Outcome:
        """Run the task of a message that could be read; each in a contextvars.Context of its own."""
        context = TaskContext(claim, envelope)
        surroundings = contextvars.copy_context()
        surroundings.run(current_context.set, context)
        run = Run(claim, context, own_task(), prepared)
        timer = self._limit(run, prepared.timeout if envelope.t is None else envelope.t)
        self.running.add(run)
        try:
            encoded = await within(surroundings, self._call(run, prepared, arguments))
        except BaseException as error:  # noqa: BLE001 - what user code raises is the message's end, not ours
            return _raised(run, error)
        finally:
            run.over = True
            self.running.discard(run)
            if run.untold():
                self.last_reports.append(run.report())
            if timer is not None:
                timer.cancel()
            if run.cause is not None:
                forget_cancel(run.slot)
        return Outcome.success(claim, self._close(encoded, claim.id))

    async def _call(self, run: Run, prepared: Prepared, arguments: Any) -> bytes:
        """The encoded result of the task, run where it is to run, inside the middleware."""
        middleware = self._queue.middleware
        if prepared.mode == "process" and not middleware:
            return await self._pools.run_in_process(run, prepared, arguments)
        if middleware:
            value = await _wrapped(middleware, run.context, lambda: self._invoke(run, prepared, arguments))
        else:
            value = await self._invoke(run, prepared, arguments)
        try:
            return prepared.encode(value)
        except SerializationError as error:
            raise _BadResultError(error) from error

    async def _invoke(self, run: Run, prepared: Prepared, arguments: Any) -> Any:
        """Call the task's function with its decoded arguments."""
        if prepared.mode == "process":
            return prepared.task.returns.decode(await self._pools.run_in_process(run, prepared, arguments))
        args, kwargs = arguments
        if prepared.injected:
            kwargs = {**prepared.injected, **kwargs}
        function = prepared.function
        if prepared.mode == "thread":
            call = _in_thread(prepared, args, kwargs)
            return await self._pools.run_in_thread(run, call, contextvars.copy_context())
        return await function(*args, **kwargs) if prepared.task.is_async else function(*args, **kwargs)

    @staticmethod
    def abandon(run: Run) -> Outcome:
        """The outcome of a run that does not end although it was told to; its process must end within a second then."""
        outcome = _stopped(run, None)
        again = outcome.kind in (OutcomeKind.RETRY, OutcomeKind.RELEASE)
        return msgspec.structs.replace(outcome, delay=max(outcome.delay, _LEAVING)) if again else outcome

    def _prepare(self, name: str) -> Prepared | None:
        task = self._queue.find(name)
        if task is None:
            return None
        prepared = Prepared(task, self._queue.config.max_retries, self._values)
        self._prepared[name] = prepared
        return prepared

    @staticmethod
    def _limit(run: Run, timeout: float | None) -> asyncio.TimerHandle | None:
        """The timer that stops the run at its time limit; 0 and None are no limit."""
        if not timeout or not timeout > 0:  # nan is neither: the loop could not sort its timers
            return None
        run.timeout = timeout
        return asyncio.get_running_loop().call_later(timeout, run.stop, Cause.TIMEOUT)

    @staticmethod
    def _unknown(claim: Claim, why: str) -> Outcome:
        """Leave the message for another worker, with growing delays; in the end it is a dead letter."""
        if claim.unknowns >= MAX_UNKNOWNS:
            text = f"{why}, nor was it known to the workers that met this message {claim.unknowns} times before"
            return Outcome.failure(claim, ErrorRecord("TaskNotFoundError", text, "", Reason.UNKNOWN_TASK))
        return Outcome.release(claim, unknown_delay(claim.unknowns), unknown=True)


class _Version(msgspec.Struct):
    """The one field of an envelope that no version of it will ever change."""

    v: int = ENVELOPE_VERSION


_read_version: Final = msgspec.msgpack.Decoder(_Version).decode


def _envelope_in(raw: bytes) -> Envelope:
    """The envelope in `raw`; of one of a newer shape, only the version. Raises SerializationError."""
    try:
        return decode_envelope(raw)
    except SerializationError:
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            version = _read_version(raw).v
            if version > ENVELOPE_VERSION:
                return Envelope(b"", "", "", b"", v=version)
        raise


class _BadResultError(Exception):
    """What the task returned cannot be stored; the task did run."""

    def __init__(self, error: SerializationError) -> None:
        super().__init__(str(error))
        self.error = error


def unknown_delay(unknowns: int) -> float:
    """Seconds a message is left alone after `unknowns` workers did not know its task: 10 times take half an hour."""
    return min(_UNKNOWN_MAX_DELAY, _UNKNOWN_FIRST_DELAY * 2.0 ** min(unknowns, MAX_UNKNOWNS))


def _raised(run: Run, error: BaseException) -> Outcome:
    """The outcome of a run that ended with `error`: what stopped it from outside outweighs what it raised."""
    if run.cause is not None:
        return _stopped(run, error.__traceback__)
    if _ends_worker(run, error):
        raise error
    if run.context.cancelled and _is_heeding(error):
        return Outcome.release(run.claim)
    return _failed(run.claim, run.strategy, error)


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
    if isinstance(error, _BadResultError):
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


@types.coroutine
def within(context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await `coroutine` with every step of it inside `context`, without the cost of an asyncio task of its own."""
    step: Callable[..., Any] = coroutine.send
    value: Any = None
    while True:
        try:
            waited_for = context.run(step, value)
        except StopIteration as stop:
            return stop.value
        try:
            value = yield waited_for
            step = coroutine.send
        except GeneratorExit:
            context.run(coroutine.close)
            raise
        except BaseException as error:  # noqa: BLE001 - handed on into the coroutine
            step, value = coroutine.throw, error


async def _wrapped(middleware: tuple[Any, ...], context: TaskContext, innermost: Callable[[], Awaitable[Any]]) -> Any:
    """`innermost` inside the middleware, the first of them outermost."""
    call = innermost
    for layer in reversed(middleware):
        call = _layer(layer, context, call)
    return await call()


def _layer(layer: Any, context: TaskContext, inner: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    return lambda: layer.on_run(context, inner)


class LoopPools:
    """Pools for running without a worker: a thread per call; tasks meant for a process run in a thread as well."""

    async def run_in_thread(self, run: Run, call: Callable[[], Any], context: contextvars.Context) -> Any:
        """See Pools."""
        # Not the loop's own executor: tasks that enqueue others in place, and wait, would use up its few threads.
        executor = ThreadPoolExecutor(1, thread_name_prefix="reinhardt-tasks-run")
        try:
            value, error = await asyncio.get_running_loop().run_in_executor(executor, context.run, _ended, call)
        finally:
            executor.shutdown(wait=False)
        if error is not None:
            raise error
        return value

    async def run_in_process(self, run: Run, prepared: Prepared, arguments: bytes) -> bytes:
        """See Pools; here in a thread, so that tests need no processes."""
        call = _in_thread(prepared, *prepared.decode(arguments))
        return prepared.encode(await self.run_in_thread(run, call, contextvars.copy_context()))


def _ended(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `call` returned or raised; a future would refuse a StopIteration and never be done."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
        return None, error
