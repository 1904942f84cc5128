"""The immediate backend runs messages inside the call that stores them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reinhardt_tasks.backends.immediate import ImmediateBackend
from reinhardt_tasks.errors import QueueError, UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Claim, ErrorRecord, Message, Outcome
from reinhardt_tasks.status import TaskStatus

ERROR = ErrorRecord("ValueError", "it went wrong")


def message(name: str = "unit.task", **options) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name=name, body=name.encode(), **options)


class Runs:
    """A runner that notes each claim, and ends it as the next of its script says, or with success."""

    def __init__(self, *script: Callable[[Claim], Outcome]) -> None:
        self.claims: list[Claim] = []
        self._script = list(script)

    async def __call__(self, claim: Claim) -> Outcome:
        self.claims.append(claim)
        await asyncio.sleep(0)
        return self._script.pop(0)(claim) if self._script else Outcome.success(claim, b"result of " + claim.body)

    @property
    def bodies(self) -> list[bytes]:
        return [claim.body for claim in self.claims]


def bound(run: Callable[[Claim], Awaitable[Outcome]]) -> ImmediateBackend:
    """A backend that runs messages so."""
    backend = ImmediateBackend()
    backend.bind(run)
    return backend


async def statuses(backend: ImmediateBackend, *messages: AnyMessage) -> list[TaskStatus]:
    """How these messages stand."""
    return [await backend.get_status(item.id) for item in messages]


async def test_a_message_has_ended_when_it_is_stored() -> None:
    """Its result is there to be read, and to be waited for, without waiting."""
    runs, put = Runs(), message()
    backend = bound(runs)
    await backend.enqueue(put)
    record = await backend.wait_result(put.id, 0.0)
    assert record is not None
    assert (record.status, record.result, runs.bodies) == (TaskStatus.SUCCESS, b"result of unit.task", [b"unit.task"])


async def test_a_failure_is_recorded_and_not_raised() -> None:
    """The caller of `enqueue` is told by the record, as with every backend."""
    put = message()
    backend = bound(Runs(lambda claim: Outcome.failure(claim, ERROR)))
    await backend.enqueue(put)
    (record,) = await backend.get((put.id,))
    assert record is not None
    assert (record.status, ErrorRecord.decode(record.error or b"")) == (TaskStatus.FAILURE, ERROR)


async def test_retries_come_at_once() -> None:
    """With their counters, though their delay says an hour."""
    runs = Runs(*[lambda claim: Outcome.retry(claim, 3600.0, ERROR)] * 2)
    put = message()
    backend = bound(runs)
    await backend.enqueue(put)
    assert [claim.attempts for claim in runs.claims] == [0, 1, 2]
    assert await statuses(backend, put) == [TaskStatus.SUCCESS]


async def test_delays_are_noted_and_not_waited_for() -> None:
    """The run knows the moment it was meant for."""
    runs = Runs()
    backend = bound(runs)
    later, moment = message(delay=3600.0), message(run_at=4e9)
    await backend.put((later, moment))
    assert await statuses(backend, later, moment) == [TaskStatus.SUCCESS] * 2
    assert runs.claims[1].run_at == 4e9


async def test_parents_run_before_those_that_wait_for_them() -> None:
    """Within one put too, and a failure cancels the rest."""
    runs = Runs()
    backend = bound(runs)
    first = message("first", priority=0)
    second = message("second", priority=9, waits_on=(first.id,))
    await backend.put((first, second))
    assert runs.bodies == [b"first", b"second"]
    backend.bind(Runs(lambda claim: Outcome.failure(claim, ERROR)))
    third = message("third")
    fourth = message("fourth", waits_on=(third.id,))
    await backend.put((third, fourth))
    assert await statuses(backend, third, fourth) == [TaskStatus.FAILURE, TaskStatus.CANCELLED]


async def test_a_task_may_enqueue() -> None:
    """What a running task puts has run when its put returns."""
    seen: list[TaskStatus] = []
    inner = message("inner")

    async def run(claim: Claim) -> Outcome:
        if claim.body == b"outer":
            await backend.sibling().enqueue(inner)
            seen.append(await backend.get_status(inner.id))
        return Outcome.success(claim, b"r")

    backend = bound(run)
    await backend.enqueue(message("outer"))
    assert seen == [TaskStatus.SUCCESS]


async def test_concurrent_enqueues_each_return_when_their_own_has_ended() -> None:
    """Whichever of them happens to run it."""
    backend = bound(Runs())

    async def enqueue() -> TaskStatus:
        put = message()
        await backend.enqueue(put)
        return await backend.get_status(put.id)

    assert set(await asyncio.gather(*(enqueue() for _ in range(20)))) == {TaskStatus.SUCCESS}


async def test_threads_run_their_own_loops() -> None:
    """Siblings in other threads share the messages and the runner."""
    runs = Runs()
    backend = bound(runs)
    puts = [message() for _ in range(8)]
    await asyncio.gather(*(asyncio.to_thread(asyncio.run, backend.sibling().enqueue(put)) for put in puts))
    assert set(await statuses(backend, *puts)) == {TaskStatus.SUCCESS}
    assert len(runs.claims) == 8


async def test_what_was_held_up_runs_when_it_is_let_go() -> None:
    """By the start of its workflow, by resuming its queue, by a requeue, by a move."""
    runs = Runs()
    backend = bound(runs)
    end = TaskId.new()
    await backend.put([message("held", workflow=end, held=True)])
    await backend.pause("slow")
    await backend.put([message("paused", queue="slow")])
    assert runs.bodies == []
    await backend.start_workflow(end)
    await backend.resume("slow")
    assert runs.bodies == [b"held", b"paused"]
    backend.bind(Runs(lambda claim: Outcome.failure(claim, ERROR)))
    failed = message("failed")
    await backend.enqueue(failed)
    backend.bind(runs)
    assert await backend.requeue((failed.id,)) == [True]
    assert await statuses(backend, failed) == [TaskStatus.SUCCESS]


async def test_a_release_does_not_run_for_ever() -> None:
    """A message given back stays PENDING, and is run by the next call that runs anything."""
    runs = Runs(Outcome.release)
    backend = bound(runs)
    put = message()
    await backend.enqueue(put)
    assert await statuses(backend, put) == [TaskStatus.PENDING]
    await backend.enqueue(message())
    assert await statuses(backend, put) == [TaskStatus.SUCCESS]


async def test_a_cancelled_caller_loses_no_message() -> None:
    """The message it was running goes back, no attempt counted."""
    started = asyncio.Event()

    async def run(claim: Claim) -> Outcome:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    backend = bound(run)
    put = message()
    caller = asyncio.create_task(backend.enqueue(put))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    (record,) = await backend.get((put.id,))
    assert record is not None
    assert (record.status, record.attempts, record.losses) == (TaskStatus.PENDING, 0, 0)


async def test_without_a_runner_nothing_is_stored() -> None:
    """The error says where a runner comes from."""
    backend, put = ImmediateBackend(), message()
    with pytest.raises(QueueError, match="TaskQueue"):
        await backend.enqueue(put)
    assert await backend.get((put.id,)) == [None]


async def test_workers_are_refused() -> None:
    """There is nothing for them to do, and they are told where there is."""
    backend = bound(Runs())
    attempts = [
        lambda: backend.beat(Beat(worker="w", number=1)),
        lambda: backend.exchange("w", (), want=1, queues=None, sequence=1),
        lambda: backend.wait("w", None, 1.0),
        lambda: backend.drain("w"),
        backend.dequeue,
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedError, match="memory://") as caught:
            await attempt()
        assert caught.value.backend == "immediate"
    await backend.enqueue(message())
    assert await backend.workers() == []
