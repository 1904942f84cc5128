"""The single-message doors: `enqueue`, `dequeue`, `update_status`, `get_status`."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reinhardt_tasks.errors import (
    BackendTaskNotFoundError,
    BackendUnavailableError,
    LeaseLostError,
    TransitionError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Exchange, Put
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, LONG, Stage, ids, message, promise, underway

_DOOR_LEASE = 30.0
"""The lease under which `dequeue` works, in seconds."""


class Door:
    """One message at a time."""

    @promise()
    async def test_enqueue_stores_one_message(self, stage: Stage) -> None:
        """And says which id stands for it."""
        put = message()
        assert await stage.backend.enqueue(put) == Put(put.id, created=True)
        assert await stage.backend.enqueue(put) == Put(put.id, created=False)
        assert await stage.backend.get_status(put.id) is TaskStatus.PENDING

    @promise()
    async def test_dequeue_claims_the_next_message(self, stage: Stage) -> None:
        """The most urgent one of the queues asked for; None when there is none."""
        low, high = await stage.put_one(priority=1), await stage.put_one(priority=8)
        await stage.put_one(queue="other", priority=9)
        given = [await stage.backend.dequeue(["default"]) for _ in range(3)]
        assert [claim and claim.id for claim in given] == [high.id, low.id, None]
        assert await stage.statuses(low, high) == [TaskStatus.RUNNING] * 2

    @promise()
    async def test_dequeue_registers_one_worker(self, stage: Stage) -> None:
        """All claims of one instance stand under one lease."""
        await stage.put_new(2)
        for _ in range(2):
            await stage.backend.dequeue()
        (worker,) = await stage.backend.workers()
        assert (worker.claims, worker.beat.lease) == (2, _DOOR_LEASE)

    @promise()
    async def test_dequeue_waits_for_a_message(self, stage: Stage) -> None:
        """A message put by another instance ends the wait."""
        other = await stage.another()
        waiting = await underway(other.dequeue(timeout=LONG))
        put = await stage.put_one()
        async with asyncio.timeout(LONG):
            claim = await waiting
        assert claim is not None
        assert claim.id == put.id

    @promise()
    async def test_dequeue_gives_up_after_its_timeout(self, stage: Stage) -> None:
        """None, and nothing is held."""
        assert await stage.backend.dequeue(timeout=0.05) is None
        assert [worker.claims for worker in await stage.backend.workers()] == [0]

    @promise()
    async def test_every_end_of_a_claim(self, stage: Stage) -> None:
        """`update_status` settles what `dequeue` gave, with its payload; no other worker can have it then."""
        for status, payload in (
            (TaskStatus.SUCCESS, b"r"),
            (TaskStatus.FAILURE, ERROR.encode()),
            (TaskStatus.CANCELLED, ERROR.encode()),
            (TaskStatus.RETRY, ERROR.encode()),
            (TaskStatus.PENDING, b""),
        ):
            put = await stage.put_one(queue=status)
            assert await stage.backend.dequeue([status]) is not None
            await stage.backend.update_status(put.id, status, payload=payload)
            record = await stage.record(put)
            assert record.status is status
            assert (record.result or record.error or b"") == payload
            assert record.attempts == (status in {TaskStatus.FAILURE, TaskStatus.RETRY})

    @promise()
    async def test_what_was_given_back_is_given_again(self, stage: Stage) -> None:
        """A release and a retry come round; what they were is known by then."""
        await stage.put_one()
        attempts = []
        for status in (TaskStatus.PENDING, TaskStatus.RETRY, TaskStatus.SUCCESS):
            claim = await stage.backend.dequeue()
            assert claim is not None
            attempts.append(claim.attempts)
            await stage.backend.update_status(claim.id, status)
        assert attempts == [0, 0, 1]

    @promise()
    async def test_a_claim_cannot_end_as_running(self, stage: Stage) -> None:
        """A TransitionError, and the claim is still held."""
        put = await stage.put_one()
        await stage.backend.dequeue()
        with pytest.raises(TransitionError):
            await stage.backend.update_status(put.id, TaskStatus.RUNNING)
        await stage.backend.update_status(put.id, TaskStatus.SUCCESS, payload=b"r")
        assert await stage.status(put) is TaskStatus.SUCCESS

    @promise()
    async def test_a_lost_claim_cannot_be_ended(self, stage: Stage) -> None:
        """When the lease ran out the outcome is dropped, and the caller is told that it lost the message."""
        put = await stage.put_one()
        await stage.backend.dequeue()
        await stage.advance(_DOOR_LEASE * 2 / 3)
        await stage.sweep()
        await stage.advance(_DOOR_LEASE / 2)
        await stage.sweep()
        with pytest.raises(LeaseLostError) as caught:
            await stage.backend.update_status(put.id, TaskStatus.SUCCESS, payload=b"late")
        assert caught.value.task_id == str(put.id)
        assert await stage.status(put) is TaskStatus.PENDING

    @promise()
    async def test_without_a_claim_it_is_an_operator_s_move(self, stage: Stage) -> None:
        """Guarded by the table of transitions."""
        put = await stage.put_one()
        with pytest.raises(TransitionError):
            await stage.backend.update_status(put.id, TaskStatus.SUCCESS)
        await stage.backend.update_status(put.id, TaskStatus.CANCELLED)
        assert await stage.status(put) is TaskStatus.CANCELLED
        with pytest.raises(BackendTaskNotFoundError):
            await stage.backend.update_status(TaskId.new(), TaskStatus.CANCELLED)

    @promise()
    async def test_closing_gives_back_what_is_held(self, stage: Stage) -> None:
        """At once, with nothing counted, and no worker stays behind that would have to be given up."""
        put = await stage.put_new(2)
        other = stage.backend.sibling()
        async with other:
            for _ in range(2):
                await other.dequeue()
        assert await stage.statuses(*put) == [TaskStatus.PENDING] * 2
        assert [(await stage.record(item)).losses for item in put] == [0, 0]
        assert await stage.backend.workers() == []

    @promise()
    async def test_what_an_unanswered_dequeue_was_given_comes_again(self, stage: Stage) -> None:
        """What it gave is not held for ever by a caller that does not know of it: it comes with the next calls."""
        put = await stage.put_new(2)
        other = await stage.another()
        exchange = other.exchange

        async def unanswered(*args: Any, **kwargs: Any) -> Exchange:
            await exchange(*args, **kwargs)
            raise BackendUnavailableError("the line broke", backend=other.name)

        other.exchange = unanswered  # type: ignore[method-assign]
        with pytest.raises(BackendUnavailableError):
            await other.dequeue()
        other.exchange = exchange  # type: ignore[method-assign]
        claims = [await other.dequeue() for _ in range(3)]
        assert [claim and claim.id for claim in claims] == [*ids(put), None]

    @promise()
    async def test_callers_at_the_same_time_get_a_message_each(self, stage: Stage) -> None:
        """Each of them its own to end."""
        put = await stage.put_new(5)
        claims = await asyncio.gather(*(stage.backend.dequeue() for _ in put))
        assert sorted(claim.id for claim in claims if claim) == ids(put)
        for item in put:
            await stage.backend.update_status(item.id, TaskStatus.SUCCESS)
