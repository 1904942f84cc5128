"""Workflows without a worker: run inside the enqueue, captured, drained, and by code without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from msgspec.structs import replace

from reinhardt_tasks import (
    BackendUnavailableError,
    ChainStatus,
    ConfigurationError,
    ExecutionFailedError,
    MemoryBackend,
    Middleware,
    OptionError,
    PayloadTooLargeError,
    QueueConfig,
    QueueError,
    RetryStrategy,
    TaskChainBuilder,
    TaskDAG,
    TaskError,
    TaskGroup,
    TaskId,
    TaskQueue,
    TaskStatus,
)
from reinhardt_tasks.context import TaskContext
from reinhardt_tasks.contract import HELD_TTL
from reinhardt_tasks.message import (
    AnyMessage,
    OutcomeKind,
    Reason,
    Record,
    decode_envelope,
    encode_envelope,
)
from reinhardt_tasks.middleware import Next
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.step import Step
from reinhardt_tasks.testing import StillClock, capture, drain
from reinhardt_tasks.workflow import Workflow
from reinhardt_tasks.workflow.fetching import fetch
from reinhardt_tasks.workflow.plan import planned
from tests.workshop import claim_of, error_in, outcome_of, work_off

queue = TaskQueue("immediate://", QueueConfig(secret_keys=["s" * 32]))


@queue.task
async def add(number: int, other: int = 1) -> int:
    """Two numbers."""
    return number + other


@queue.task
async def total(numbers: list[int]) -> int:
    """Many numbers."""
    return sum(numbers)


@queue.task(retry=RetryStrategy.no_retry())
async def fail(number: int) -> int:
    """Always."""
    raise ValueError(f"{number} is no good")


@queue.task
def errors(ends: tuple[Path | TaskError, ...], *, most: int) -> int:
    """How many of them are errors, in a thread."""
    assert isinstance(ends, tuple)
    return min(most, sum(isinstance(end, TaskError) for end in ends))


@queue.task(runs_in="process")
def elsewhere(ends: list[int | TaskError]) -> int:
    """How many there are."""
    return len(ends)


async def test_immediate_runs_a_workflow_inside_the_enqueue() -> None:
    """Whatever its shape, with signed envelopes and results; a time limit that is not waited for ends nothing."""
    chain = TaskChainBuilder(timeout=60).add(add.message(1)).add(TaskGroup([add.step(1), add.step(2)], total.step()))
    handle = await queue.enqueue(chain.build())
    assert await handle.chain_status() is ChainStatus.COMPLETED
    assert await handle.result() == 7
    many = await queue.enqueue(TaskGroup([add.message(1) for _ in range(1_100)], total.step()))
    assert await many.result() == 2_200
    failed = await queue.enqueue(TaskChainBuilder().add(fail.message(3)).add(add.step()).build())
    assert isinstance(await failed.outcome(), ExecutionFailedError)
    assert await failed.chain_status() is ChainStatus.FAILED


async def test_errors_reach_any_parameter_that_is_a_series() -> None:
    """As the kind of series that is declared, beside arguments of its own; not in another process, which is said."""
    members = [fail.message(1), fail.message(2)]
    counted = await queue.enqueue(TaskGroup(members, errors.step(most=9), return_errors=True))
    assert await counted.result() == 2
    refused = await queue.enqueue(TaskGroup([fail.message(1), add.message(1)], elsewhere.step(), return_errors=True))
    with pytest.raises(ExecutionFailedError, match="given errors as values, and those do not travel to a process"):
        await refused.result()
    taken = await queue.enqueue(TaskGroup([add.message(1), add.message(1)], elsewhere.step(), return_errors=True))
    assert await taken.result() == 2


@queue.task
async def distinct(ends: set[int]) -> int:
    """How many."""
    return len(ends)


async def test_errors_need_a_series_to_stand_in() -> None:
    """In a set they have no place, which is said; without errors a set is as good."""
    good = await queue.enqueue(TaskGroup([add.message(1), add.message(1)], distinct.step(), return_errors=True))
    assert await good.result() == 1
    bad = await queue.enqueue(TaskGroup([add.message(1), fail.message(1)], distinct.step(), return_errors=True))
    with pytest.raises(ExecutionFailedError, match="read as a set; declare the parameter as a list or a tuple"):
        await bad.result()


@dataclass
class Ends:
    """Results by name, as a graph gives them."""

    good: list[int]
    bad: int = 0


class Pair(NamedTuple):
    """Results, by position and by name."""

    first: int
    second: int = 0


@queue.task
async def collect(ends: Ends) -> int:
    """How many."""
    return len(ends.good)


@queue.task
async def pair(ends: Pair) -> int:
    """Their sum."""
    return sum(ends)


@queue.task
async def by_name(ends: dict[str, list[int | TaskError]]) -> list[str]:
    """What each is."""
    return [type(end).__name__ for end in ends["good"]]


@pytest.mark.parametrize(("take", "kind"), [(collect.step(), "Ends"), (by_name.step(), None)])
async def test_errors_are_never_left_out(take: Step[Any, Any], kind: str | None) -> None:
    """Where a class takes the results, errors among them have no place: the step fails. A dict keeps them."""
    dag = TaskDAG("ends")
    dag.add("good", TaskGroup([add.message(1), fail.message(1)], return_errors=True))
    handle = await queue.enqueue(TaskChainBuilder().add(dag).add(take).build())
    if kind is None:
        assert await handle.result() == ["int", "ExecutionFailedError"]
        return
    with pytest.raises(ExecutionFailedError, match=f"read as a {kind}; declare the parameter") as failed:
        await handle.result()
    assert failed.value.reason == "bad_payload"


async def test_errors_are_no_fields_of_a_tuple_with_names() -> None:
    """That is the step's failure like any other, not the worker's."""
    handle = await queue.enqueue(TaskGroup([fail.message(1), add.message(1)], pair.step(), return_errors=True))
    with pytest.raises(ExecutionFailedError, match="read as a Pair; declare the parameter") as failed:
        await handle.result()
    assert failed.value.reason == "bad_payload"


@queue.task
async def now() -> datetime:
    """A moment with a zone."""
    return datetime(2026, 1, 2, tzinfo=UTC)


@queue.task
async def letters(text: str) -> int:
    """How many."""
    return len(text)


@queue.task
async def anything(value):
    """What it was given."""
    return value


@pytest.mark.parametrize("take", [letters.step(), anything.step()])
async def test_a_result_that_does_not_fit_is_told_with_what_returned_it(take: Step[Any, Any]) -> None:
    """The step before, what it declares, and what is declared here; nothing about damage."""
    handle = await queue.enqueue(TaskChainBuilder().add(now.message()).add(take).build())
    with pytest.raises(
        ExecutionFailedError, match=r"filled by what comes before it, \S+\.now, which returns"
    ) as failed:
        await handle.result()
    assert "`datetime.datetime`, and is declared" in str(failed.value)
    assert "damaged" not in str(failed.value)
    assert failed.value.reason == "bad_payload"


async def test_a_captured_workflow_is_noted() -> None:
    """Its messages, with what they will be given left out; results that are set are the workflow's."""
    with capture(queue) as outbox:
        dag = TaskDAG()
        dag.add("a", add.message(5))
        dag.add("b", add, kwargs={"other": 7}, after={"number": "a"})
        handle = await queue.enqueue(dag)
        assert outbox.calls(add) == [{"number": 5, "other": 1}, {"other": 7}]
        assert await handle.result() == {"b": None}
        outbox.set_result(add, 3)
        assert await handle.result() == {"b": 3}


async def test_drain_runs_a_workflow_to_its_end() -> None:
    """Each message once."""
    with queue.override("memory://"):
        handle = await queue.enqueue(TaskChainBuilder().add(add.message(1)).add(add.step()).add(add.step()).build())
        assert await drain(queue) == 3
        assert await handle.result() == 4
        assert (await handle.info()).result == 4
        assert [step.status async for step in handle.watch()] == [TaskStatus.SUCCESS]


def test_workflows_have_a_blocking_face() -> None:
    """Enqueued, watched, cancelled and requeued by code without an event loop."""
    with queue.override("memory://"):
        handle = queue.enqueue_sync(TaskGroup([add.message(1), add.message(2)], total.step()))
        assert handle.chain_status_sync() is ChainStatus.PENDING
        assert len(handle.tree_sync().nodes) == 3
        assert handle.cancel_sync() is True
        assert handle.chain_status_sync() is ChainStatus.FAILED
        assert handle.requeue_sync() == 3
        assert handle.chain_status_sync() is ChainStatus.PENDING
        assert handle.current_sync() == []
    assert queue.enqueue_sync(TaskGroup([])).result_sync() == []


class Away(MemoryBackend):
    """A backend that cannot be read."""

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """Raises BackendUnavailableError."""
        raise BackendUnavailableError(backend="away", place="nowhere")


def second_of(workflow: Workflow[Any]) -> AnyMessage:
    """The message of the second step."""
    return planned(workflow, queue.seal, queue.config).messages[1]


async def test_a_step_whose_inputs_cannot_be_read_now_is_given_back() -> None:
    """No attempt is spent; it is tried again a second later."""
    step = second_of(TaskChainBuilder().add(add.message(1)).add(add.step()).build())
    outcome = await Runner(queue, values={}, backend=Away()).run(claim_of(step))
    assert (outcome.kind, outcome.delay) == (OutcomeKind.RELEASE, 1.0)


class Counting(MemoryBackend):
    """A backend that counts how many records are read."""

    reads: ClassVar[list[int]] = []

    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """See TaskBackend.get."""
        self.reads.append(len(ids))
        return await super().get(ids, body=body)


async def test_where_many_take_from_many_each_result_is_read_once() -> None:
    """By one worker, however many of its steps take them, be it at the same time; errors are in their places too."""
    chain = TaskChainBuilder().add(TaskGroup([add.message(1, 1) for _ in range(30)]))
    wide = chain.add(TaskGroup([total.step() for _ in range(20)], total.step())).build()
    with queue.override(Counting()):
        handle = await queue.enqueue(wide)
        await work_off(queue, concurrency=10)
        assert await handle.result() == 30 * 2 * 20
    assert sum(Counting.reads) == 1 + 30 + 20  # the gathering message, what it stands for, what the callback takes
    with queue.override("memory://"):
        group = TaskGroup([fail.message(1), fail.message(2)], TaskGroup([errors.step(most=9)] * 3), return_errors=True)
        taken = await queue.enqueue(group)
        await work_off(queue)
        assert await taken.result() == [2, 2, 2]


async def test_a_result_that_is_gone_fails_the_step_that_takes_it() -> None:
    """At once: the error says which, and what to do."""
    chain = TaskChainBuilder().add(add.message(1)).add(add.step()).build()
    step = second_of(chain)
    outcome = await Runner(queue, values={}, backend=MemoryBackend()).run(claim_of(step))
    error = error_in(outcome)
    assert outcome.kind is OutcomeKind.FAILURE
    assert f"the result of message {step.waits_on[0]}, which this step takes, is no longer kept" in error.message


async def test_results_that_are_too_large_together_fail_the_step() -> None:
    """Before all of them are read; the error says how large they are and what the limit is."""
    with queue.override("memory://"):
        handle = await queue.enqueue(TaskGroup([add.message(number) for number in range(200)], total.step()))
        await drain(queue)
        members = (await handle.tree()).end.parents
        with pytest.raises(PayloadTooLargeError, match=r"have \d+ bytes or more together; the limit is 100"):
            await fetch(queue, [bytes(member) for member in members], limit=100)
        fetched = await fetch(queue, [bytes(member) for member in members], limit=10_000)
        assert len(fetched.results) == 200


async def test_inputs_may_be_larger_than_what_may_be_enqueued() -> None:
    """A gathered list has a limit of its own; here it is forty times what one message may have."""
    small = TaskQueue("immediate://", QueueConfig(max_size=100))

    @small.task
    async def text() -> str:
        return "x" * 40

    @small.task
    def length(texts: list) -> int:
        return sum(map(len, texts))

    handle = await small.enqueue(TaskGroup([text.message() for _ in range(100)], length.step()))
    assert await handle.result() == 4_000


async def test_inputs_that_were_tampered_with_are_a_bad_payload() -> None:
    """Whatever stands there."""
    with queue.override("memory://"):
        step = second_of(TaskChainBuilder().add(add.message(1)).add(add.step()).build())
        envelope = decode_envelope(queue.seal.open(step.body))
        for strange in (7, [b"short"], {"a": None}):
            body = queue.seal.close(encode_envelope(replace(envelope, w={"number": strange})))
            error = error_in(await outcome_of(queue, replace(step, body=body)))
            assert error.reason is Reason.BAD_PAYLOAD


class Tenants(Middleware):
    """Lets pass only what says whose it is."""

    async def on_enqueue(self, message: AnyMessage, call_next: Next) -> None:
        if message.queue != "tenants":
            raise QueueError(f"message {message.id} goes to {message.queue}")
        await call_next()

    async def on_run(self, task: TaskContext, call_next: Next) -> object:
        assert task.headers["tenant"] == "a"
        return await call_next()


async def test_middleware_is_only_around_the_tasks_of_the_queue() -> None:
    """Not around what holds a workflow together, of which its author knows nothing."""
    own = TaskQueue("memory://", middleware=[Tenants()])

    @own.task
    async def three() -> int:
        return 3

    message = three.using(queue="tenants", headers={"tenant": "a"}).message
    async with own:
        handle = await own.enqueue(TaskGroup([message(), message()], timeout=60))
        await drain(own)
        assert await handle.result(timeout=0) == [3, 3]


def test_no_task_can_be_put_where_workflows_are_held_together() -> None:
    """Whichever way its queue is named."""
    with pytest.raises(ConfigurationError, match="holds workflows together"):
        QueueConfig(name="reinhardt_tasks")
    with pytest.raises(OptionError, match="holds workflows together"):
        add.using(queue="reinhardt_tasks")


async def test_a_workflow_that_was_dropped_half_way_is_not_taken_up_again() -> None:
    """Its producer came back too late: what was put is cancelled, and the rest could not make it whole."""
    clock = StillClock()
    own = TaskQueue(MemoryBackend(clock=clock))

    @own.task
    async def three() -> int:
        return 3

    group = TaskGroup([three.message() for _ in range(700)])
    plan = planned(group, own.seal, own.config)
    async with own:
        backend = await own.backend()
        await backend.put([replace(message, held=True) for message in plan.messages[:500]])
        clock.advance(HELD_TTL + 1)
        await backend.sweep()
        with pytest.raises(QueueError, match="build the workflow anew"):
            await own.enqueue(group)
        assert await backend.get([plan.id]) == [None]
