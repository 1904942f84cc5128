"""One claimed message becomes one outcome, whatever its bytes, its task and its task's exceptions are."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import msgspec
import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.codec import ValueCodec
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import current_task
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.message import (
    AnyMessage,
    Envelope,
    OutcomeKind,
    Reason,
    encode_envelope,
)
from reinhardt_tasks.middleware import Middleware
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.run import MAX_UNKNOWNS, unknown_delay
from reinhardt_tasks.runner import Runner
from tests.workshop import claim_of, error_in, outcome_of

NO_RETRY = RetryStrategy.no_retry()


def make_queue(**settings: Any) -> TaskQueue:
    """A queue whose backend is not needed here."""
    return TaskQueue(MemoryBackend(), QueueConfig(**settings))


# Success --------------------------------------------------------------------------------------------------------------


async def test_what_a_task_returns_is_its_result():
    """Encoded by its annotation."""
    queue = make_queue()

    @queue.task
    async def doubled(numbers: tuple[int, ...]) -> set[int]:
        return {2 * number for number in numbers}

    outcome = await outcome_of(queue, doubled.message((1, 2)))
    assert outcome.kind is OutcomeKind.SUCCESS
    assert ValueCodec(set[int], where="the result").decode(outcome.payload) == {2, 4}


async def test_a_result_is_sealed_for_its_own_message():
    """With keys, it opens under no other id."""
    queue = make_queue(secret_keys=["a key that is long enough to be one"])

    @queue.task
    async def seven() -> int:
        return 7

    message = seven.message()
    outcome = await outcome_of(queue, message)
    assert ValueCodec(int, where="the result").decode(queue.seal.open(outcome.payload, message.id)) == 7
    with pytest.raises(Exception, match="signature"):
        queue.seal.open(outcome.payload, TaskId.new())


@pytest.mark.parametrize("runs_in", ["auto", "thread", "loop", "process"])
async def test_a_plain_function_runs_where_it_says(runs_in):
    """On the loop, in a thread; without a worker also what is meant for a process runs in a thread."""
    queue = make_queue()
    seen: list[int] = []

    @queue.task(runs_in=runs_in)
    def located(one: int, *, two: int = 2) -> int:
        seen.append(threading.get_ident())
        return one + two

    assert (await outcome_of(queue, located.message(1))).kind is OutcomeKind.SUCCESS
    assert (seen == [threading.get_ident()]) is (runs_in == "loop")


async def test_a_coroutine_function_may_run_in_a_thread():
    """On a loop of its own there."""
    queue = make_queue()
    here = asyncio.get_running_loop()
    loops: list[object] = []

    @queue.task(runs_in="thread")
    async def located() -> None:
        loops.append(asyncio.get_running_loop())
        assert current_task().attempt == 1

    assert (await outcome_of(queue, located.message())).kind is OutcomeKind.SUCCESS
    assert loops[0] is not here


async def test_what_a_provider_gives_is_the_worker_s():
    """A task gets the value that its runner was given; the message does not carry it."""
    queue = make_queue()

    @queue.lifespan
    async def pool():
        yield "never opened here"

    @queue.task
    async def read(key: str, db: str = Depends(pool)) -> str:
        return f"{db}/{key}"

    outcome = await Runner(queue, values={pool: "pool"}).run(claim_of(read.message("k")))
    assert ValueCodec(str, where="the result").decode(outcome.payload) == "pool/k"


async def test_a_provider_the_queue_lacks_is_named():
    """The message fails with what to do about it; the runner goes on."""
    other = make_queue()

    @other.lifespan
    async def pool():
        yield 1

    queue = make_queue()

    @queue.task
    async def read(db: int = Depends(pool)) -> None: ...

    outcome = await outcome_of(queue, read.message())
    assert outcome.kind is OutcomeKind.FAILURE
    assert "'db'" in error_in(outcome).message
    assert "@queue.lifespan" in error_in(outcome).message


# What cannot be run ---------------------------------------------------------------------------------------------------


def enveloped(**changes: Any) -> AnyMessage:
    """A message of task `app.gone` whose envelope has `changes`."""
    id = TaskId.new()
    fields: dict[str, Any] = {"i": bytes(id), "n": "app.gone", "q": "default", "a": b"\x80", **changes}
    return msgspec.structs.replace(_message(), id=id, body=encode_envelope(Envelope(**fields)))


def _message() -> AnyMessage:
    queue = make_queue()

    @queue.task
    async def nothing() -> None: ...

    return nothing.message()


async def test_an_unknown_task_is_left_for_others_with_growing_delays():
    """No attempt spent; the message counts how often it was met by workers that do not know it."""
    queue = make_queue()
    outcomes = [await outcome_of(queue, enveloped(), unknowns=count) for count in range(MAX_UNKNOWNS)]
    assert {(outcome.kind, outcome.unknown) for outcome in outcomes} == {(OutcomeKind.RELEASE, True)}
    delays = [outcome.delay for outcome in outcomes]
    assert delays == sorted(delays)
    assert 1 <= delays[0] <= 5
    assert 25 * 60 <= sum(delays) <= 35 * 60


async def test_a_task_that_nobody_ever_knew_becomes_a_dead_letter():
    """After half an hour of being passed around, and never as a success."""
    outcome = await outcome_of(make_queue(), enveloped(), unknowns=MAX_UNKNOWNS)
    assert outcome.kind is OutcomeKind.FAILURE
    error = error_in(outcome)
    assert (error.type, error.reason) == ("TaskNotFoundError", Reason.UNKNOWN_TASK)
    assert "app.gone" in error.message


def test_the_wait_for_others_is_bounded():
    """Whatever the counter says."""
    assert unknown_delay(10_000) == unknown_delay(1_000_000) <= 900


async def test_a_newer_envelope_is_left_for_newer_workers():
    """This one may not know what it means."""
    outcome = await outcome_of(make_queue(), enveloped(v=2))
    assert (outcome.kind, outcome.unknown) == (OutcomeKind.RELEASE, True)


async def test_a_newer_envelope_of_another_shape_is_left_for_newer_workers():
    """Its version is read before anything else is."""
    body = msgspec.msgpack.encode({"v": 2, "i": 5, "n": ["other", "shape"]})
    outcome = await outcome_of(make_queue(), msgspec.structs.replace(_message(), body=body))
    assert (outcome.kind, outcome.unknown) == (OutcomeKind.RELEASE, True)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x00" * 40, b"\x91" * 3000, b"cos\nsystem\n(S'true'\ntR."])
async def test_bytes_that_are_no_envelope_are_a_bad_payload(body):
    """A dead letter, not retried; the worker goes on."""
    outcome = await outcome_of(make_queue(), msgspec.structs.replace(_message(), body=body))
    assert outcome.kind is OutcomeKind.FAILURE
    assert error_in(outcome).reason is Reason.BAD_PAYLOAD


async def test_an_envelope_under_another_id_is_a_bad_payload():
    """It was copied from another message."""
    message = msgspec.structs.replace(enveloped(), id=TaskId.new())
    assert error_in(await outcome_of(make_queue(), message)).reason is Reason.BAD_PAYLOAD


@pytest.mark.parametrize("arguments", [b"", b"\xc1", b"\x81\xa5wrong\x01", b"\x81\xa6number\xa1x"])
async def test_arguments_that_do_not_fit_are_a_bad_payload(arguments):
    """Whatever was written into the broker."""
    queue = make_queue()

    @queue.task(name="app.gone")
    async def counted(number: int) -> None: ...

    outcome = await outcome_of(queue, enveloped(a=arguments))
    assert outcome.kind is OutcomeKind.FAILURE
    assert error_in(outcome).reason is Reason.BAD_PAYLOAD


class Odd(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise LookupError("below zero")


async def test_an_argument_class_that_raises_when_it_is_made_is_a_bad_payload():
    """User code that runs while the arguments are decoded cannot hurt the worker."""
    queue = make_queue()

    @queue.task
    async def take(odd: Odd) -> None: ...

    message = take.message(Odd(1))
    raw = queue.seal.open(message.body).replace(b"\xa6number\x01", b"\xa6number\xff")
    outcome = await outcome_of(queue, msgspec.structs.replace(message, body=queue.seal.close(raw)))
    assert error_in(outcome).reason is Reason.BAD_PAYLOAD
    assert "below zero" in error_in(outcome).message


async def test_a_wrong_signature_is_never_run():
    """A dead letter that says so."""
    ran: list[int] = []

    def signing(key: str) -> tuple[TaskQueue, Any]:
        queue = make_queue(secret_keys=[key * 8])

        @queue.task(name="app.touch")
        async def touch() -> None:
            ran.append(1)

        return queue, touch

    queue, _ = signing("right")
    _, forged = signing("wrong")
    outcome = await outcome_of(queue, forged.message())
    assert outcome.kind is OutcomeKind.FAILURE
    assert error_in(outcome).reason is Reason.BAD_SIGNATURE
    assert ran == []


async def test_a_result_that_cannot_be_encoded_is_a_bad_result():
    """The task did run, so it is not run again for that."""
    queue = make_queue()
    runs: list[int] = []

    @queue.task
    async def typed() -> int:
        runs.append(1)
        return "text"  # type: ignore[return-value]

    outcome = await outcome_of(queue, typed.message())
    assert outcome.kind is OutcomeKind.FAILURE
    assert error_in(outcome).reason is Reason.BAD_RESULT
    assert runs == [1]


@pytest.mark.parametrize("timeout", [float("nan"), -1.0])
async def test_a_time_limit_that_is_none_does_not_disturb(timeout):
    """Only a forged envelope holds one; nan would put the loop's timers out of order."""
    queue = make_queue()

    @queue.task(name="app.gone")
    async def nothing() -> None:
        await asyncio.sleep(0)

    assert (await outcome_of(queue, enveloped(t=timeout))).kind is OutcomeKind.SUCCESS


# Surroundings ---------------------------------------------------------------------------------------------------------

seen = contextvars.ContextVar("seen", default="nothing")


@pytest.mark.parametrize("runs_in", ["loop", "thread"])
async def test_each_message_has_context_variables_of_its_own(runs_in):
    """What one sets, in the task or in the middleware around it, neither the next nor the worker sees."""
    found: list[str] = []

    class Marking(Middleware):
        async def on_run(self, task, call_next):
            found.append(f"around: {seen.get()}")
            seen.set("middleware")
            return await call_next()

    queue = TaskQueue(MemoryBackend(), middleware=[Marking()])

    @queue.task(runs_in=runs_in)
    async def marking() -> None:
        found.append(f"in: {seen.get()}")
        seen.set("task")

    for _ in range(2):
        await outcome_of(queue, marking.message())
    assert found == ["around: nothing", "in: middleware"] * 2
    assert seen.get() == "nothing"


async def test_outside_its_task_there_is_no_current_one():
    """Neither before nor after a run in the same asyncio task."""
    queue = make_queue()

    @queue.task
    async def named() -> str:
        return current_task().name

    outcome = await outcome_of(queue, named.message())
    assert ValueCodec(str, where="the result").decode(outcome.payload).endswith("named")
    with pytest.raises(QueueError):
        current_task()


async def test_timeouts_and_task_groups_work_inside_a_task():
    """The tools of asyncio rely on the current asyncio task and its cancellation."""
    queue = make_queue()

    @queue.task(timeout=20)
    async def grouped() -> list[str]:
        found = []
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            found.append("timeout")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
                group.create_task(_failing())
        except* ValueError:
            found.append("group")
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(_attempt())
        found.append(inner.result())
        return found

    outcome = await outcome_of(queue, grouped.message())
    assert ValueCodec(list[str], where="the result").decode(outcome.payload) == ["timeout", "group", "attempt 1"]


async def _failing() -> None:
    raise ValueError


async def _attempt() -> str:
    return f"attempt {current_task().attempt}"


async def test_middleware_is_around_each_run_in_order():
    """The first is the outermost; what it returns is the result."""
    book: list[str] = []

    class Layer(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def on_run(self, task, call_next):
            book.append(f"{self.name} before {task.name.rpartition('.')[2]}")
            value = await call_next()
            book.append(f"{self.name} after")
            return f"{self.name}({value})"

    queue = TaskQueue(MemoryBackend(), middleware=[Layer("outer"), Middleware(), Layer("inner")])

    @queue.task
    async def work() -> str:
        book.append("work")
        return "value"

    outcome = await outcome_of(queue, work.message())
    assert ValueCodec(str, where="the result").decode(outcome.payload) == "outer(inner(value))"
    assert book == ["outer before work", "inner before work", "work", "inner after", "outer after"]


@pytest.mark.parametrize("runs_in", ["loop", "thread", "process"])
async def test_middleware_sees_and_may_change_the_result_wherever_the_task_runs(runs_in):
    """It is handed the value itself, never its encoded form."""

    class Doubling(Middleware):
        async def on_run(self, task, call_next):
            return 2 * await call_next()

    queue = TaskQueue(MemoryBackend(), middleware=[Doubling()])

    @queue.task(runs_in=runs_in)
    def work() -> int:
        return 21

    outcome = await outcome_of(queue, work.message())
    assert ValueCodec(int, where="the result").decode(outcome.payload) == 42


async def test_an_error_of_a_middleware_is_the_message_s():
    """Raised before the task, the task is not run; behind it, the task's own error may be replaced."""
    ran: list[int] = []

    class Refusing(Middleware):
        async def on_run(self, task, call_next):
            raise PermissionError("not today")

    class Translating(Middleware):
        async def on_run(self, task, call_next):
            try:
                return await call_next()
            except ValueError as error:
                raise LookupError("translated") from error

    async def failing() -> None:
        ran.append(1)
        raise ValueError("original")

    for layer, type_name, runs in ((Refusing(), "PermissionError", 0), (Translating(), "LookupError", 1)):
        queue = TaskQueue(MemoryBackend(), middleware=[layer])
        outcome = await outcome_of(queue, queue.task(retry=NO_RETRY)(failing).message())
        assert (outcome.kind, error_in(outcome).type) == (OutcomeKind.FAILURE, type_name)
        assert len(ran) == runs


async def test_a_retried_message_knows_its_attempt():
    """Counted from the claim."""
    queue = make_queue()

    @queue.task
    async def counted() -> tuple[int, int]:
        return current_task().attempt, current_task().losses

    outcome = await outcome_of(queue, counted.message(), attempts=2, losses=1)
    assert ValueCodec(tuple[int, int], where="the result").decode(outcome.payload) == (3, 1)
