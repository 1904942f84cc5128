"""One claimed message → one outcome: open, look up, fill, decode, run, encode. No polling.

`Runner.run` walks a message through these steps in order. A step of a workflow is filled with the results of others,
for which alone the backend is asked. What the end of a run means, and how one that is under way is stopped from
outside, is in `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from reinhardt_tasks.context import TaskContext, current_context
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendError, ConfigurationError, SerializationError
from reinhardt_tasks.failure import judge, refusal
from reinhardt_tasks.handle import Place
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ENVELOPE_VERSION, Claim, Envelope, Outcome, Report, decode_envelope
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.run import BadResultError, Cause, Mode, Run, ended, forget_cancel, own_task, unknown
from reinhardt_tasks.workflow.builtin import BUILT_IN, PLACE
from reinhardt_tasks.workflow.expression import WHOLE
from reinhardt_tasks.workflow.fetching import NotYetError
from reinhardt_tasks.workflow.filling import Fixed, filled
from reinhardt_tasks.workflow.shelf import Shelf

if TYPE_CHECKING:
    from reinhardt_tasks.config import QueueConfig
    from reinhardt_tasks.lifespan import Provider
    from reinhardt_tasks.middleware import Middleware
    from reinhardt_tasks.task import Task


log = logging.getLogger("reinhardt_tasks.worker")

_PAUSE: Final = 1.0
"""Seconds a step is left alone whose inputs could not be read, or are not there yet: so many more at each claim."""
_LONGEST_PAUSE: Final = 15.0


class Tasks(Place, Protocol):
    """What a runner needs of a queue, which is above it."""

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

    __slots__ = ("decode", "encode", "function", "injected", "is_built_in", "mode", "strategy", "task", "timeout")

    def __init__(self, task: Task[Any, Any], max_retries: int, values: Mapping[Provider[Any], object]) -> None:
        self.task = task
        self.function: Callable[..., Any] = task.function
        self.decode = task.arguments.decode
        self.encode = task.returns.encode
        self.timeout = task.options.timeout
        self.is_built_in = BUILT_IN.find(task.name) is task
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
    """Runs claimed messages of one queue, with the values of its lifespan providers.

    Results that fill steps are read from `backend`, or from the queue's own of the running loop.
    """

    def __init__(
        self,
        queue: Tasks,
        *,
        values: Mapping[Provider[Any], object],
        pools: Pools | None = None,
        backend: TaskBackend | None = None,
    ) -> None:
        self._queue = queue
        self._place: Place = queue if backend is None else Fixed(queue.seal, backend)
        self._values = {**values, PLACE: self._place}
        self._shelf = Shelf()
        self._pools = pools or LoopPools()
        self._open = queue.seal.open
        self._close = queue.seal.close
        self._prepared: dict[str, Prepared] = {}
        self.last_reports: deque[Report] = deque(maxlen=MAX_BATCH)
        """Progress that was told right before its task ended; whoever exchanges takes it from here."""
        self.running: set[Run] = set()
        """What is running now. Twice the same message, where its lease was lost and it was claimed here again."""
        self.filling: set[TaskId] = set()
        """The steps whose inputs are being read, before they run."""

    async def run(self, claim: Claim) -> Outcome:
        """The outcome of one claim. Raises only what must end the worker (its own cancellation)."""
        try:
            envelope = _envelope_in(self._open(claim.body))
            if envelope.v > ENVELOPE_VERSION:
                return unknown(claim, f"its envelope is of version {envelope.v}, newer than this worker")
            if envelope.i != claim.id:
                raise SerializationError("the envelope belongs to another message", where="envelope")
            prepared = self._prepared.get(envelope.n) or self._prepare(envelope.n)
            if prepared is None:
                return unknown(claim, f"no task {envelope.n!r} is registered here")
            if envelope.w is not None and WHOLE not in envelope.w:
                return await self._run_filled(claim, envelope, prepared)
            arguments = envelope.a if prepared.mode == "process" else prepared.decode(envelope.a)
        except SerializationError as error:
            return Outcome.failure(claim, refusal(error))
        except ConfigurationError as error:
            return Outcome.failure(claim, judge(RetryStrategy.no_retry(), error).record)
        return await self._run(claim, envelope, prepared, arguments)

    def is_built_in(self, claim: Claim) -> bool:
        """Whether a claim is of a task that holds workflows together, not of the queue's own."""
        try:
            return _envelope_in(self._open(claim.body)).n in BUILT_IN.tasks
        except SerializationError:
            return False

    async def _run_filled(self, claim: Claim, envelope: Envelope, prepared: Prepared) -> Outcome:
        """Run a step with the results that it takes. Raises SerializationError for what does not fit."""
        self.filling.add(claim.id)
        try:
            arguments = await filled(
                self._place,
                prepared.task,
                envelope,
                encoded=prepared.mode == "process",
                shelf=self._shelf,
                find=self._queue.find,
            )
        except NotYetError:
            return _later(claim)
        except BackendError as error:
            log.warning("results_unavailable task_id=%s error=%s", claim.id, error)
            return Outcome.release(claim, _PAUSE)
        except SerializationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the step's end, not ours
            return Outcome.failure(claim, judge(RetryStrategy.no_retry(), error).record)
        finally:
            self.filling.discard(claim.id)
        return await self._run(claim, envelope, prepared, arguments)

    async def _run(self, claim: Claim, envelope: Envelope, prepared: Prepared, arguments: Any) -> Outcome:
        """Run the task of a message that could be read; each in a contextvars.Context of its own."""
        context = TaskContext(claim, envelope)
        surroundings = contextvars.copy_context()
        surroundings.run(current_context.set, context)
        run = Run(claim, context, own_task(), mode=prepared.mode, strategy=prepared.strategy)
        timer = self._limit(run, prepared.timeout if envelope.t is None else envelope.t)
        self.running.add(run)
        try:
            encoded = await within(surroundings, self._call(run, prepared, arguments))
        except BaseException as error:  # noqa: BLE001 - what user code raises is the message's end, not ours
            is_early = prepared.is_built_in and isinstance(error, NotYetError)
            return _later(claim) if is_early else ended(run, error)
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
        """The encoded result of the task, run where it is to run, inside the middleware.

        Tasks that only hold workflows together are none of its business.
        """
        middleware = () if prepared.is_built_in else self._queue.middleware
        if prepared.mode == "process" and not middleware:
            return await self._pools.run_in_process(run, prepared, arguments)
        if middleware:
            value = await _wrapped(middleware, run.context, lambda: self._invoke(run, prepared, arguments))
        else:
            value = await self._invoke(run, prepared, arguments)
        try:
            return prepared.encode(value)
        except SerializationError as error:
            raise BadResultError(error) from error

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

    def _prepare(self, name: str) -> Prepared | None:
        task = self._queue.find(name) or BUILT_IN.find(name)
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


def _later(claim: Claim) -> Outcome:
    """Leave a message alone for a while, a longer one each time."""
    return Outcome.release(claim, min(_LONGEST_PAUSE, _PAUSE * claim.number))


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
            value, error = await asyncio.get_running_loop().run_in_executor(executor, context.run, _came_to, call)
        finally:
            executor.shutdown(wait=False)
        if error is not None:
            raise error
        return value

    async def run_in_process(self, run: Run, prepared: Prepared, arguments: bytes) -> bytes:
        """See Pools; here in a thread, so that tests need no processes."""
        call = _in_thread(prepared, *prepared.decode(arguments))
        return prepared.encode(await self.run_in_thread(run, call, contextvars.copy_context()))


def _came_to(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `call` returned or raised; a future would refuse a StopIteration and never be done."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
        return None, error
