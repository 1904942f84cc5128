"""What the memory backend promises beyond the contract."""

from __future__ import annotations

import asyncio
import gc

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.backends.memory.entries import Entry
from reinhardt_tasks.errors import BackendTaskNotFoundError, ConfigurationError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Message, Outcome
from reinhardt_tasks.testing.clock import StillClock


def message(**options) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name="unit.task", body=b"body", **options)


async def drain(backend: MemoryBackend, want: int) -> list[TaskId]:
    """Claim and finish until nothing comes; the ids in order."""
    await backend.beat(Beat(worker="w", number=1))
    done, outcomes, number = [], [], 0
    while True:
        number += 1
        answer = await backend.exchange("w", outcomes, want=want, queues=None, sequence=number)
        if not answer.claims:
            return done
        done += [claim.id for claim in answer.claims]
        outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]


async def test_each_backend_is_a_store_of_its_own() -> None:
    """Two backends share nothing; a sibling shares everything."""
    first, second = MemoryBackend(), MemoryBackend()
    put = message()
    await first.enqueue(put)
    assert await second.get((put.id,)) == [None]
    assert (await first.sibling().get((put.id,)))[0] is not None


async def test_a_connection_is_kept_for_tests_to_look_at() -> None:
    """Code that enqueues inside a transaction needs no server in tests."""
    backend, connection, put, other = MemoryBackend(), object(), message(), message()
    await backend.put((put,), connection=connection)
    await backend.put((other,))
    assert backend.sibling().connection_of(put.id) is connection
    assert backend.connection_of(other.id) is None
    with pytest.raises(BackendTaskNotFoundError):
        backend.connection_of(TaskId.new())


async def test_the_url_takes_nothing_after_the_scheme() -> None:
    """A path would promise something that memory cannot keep."""
    assert isinstance(MemoryBackend.from_url("memory://"), MemoryBackend)
    with pytest.raises(ConfigurationError, match="memory://"):
        MemoryBackend.from_url("memory://host/path")


async def test_a_backlog_is_worked_off_in_order() -> None:
    """Thousands of messages of all priorities, each once, each in its place."""
    backend = MemoryBackend()
    messages = [message(priority=n % 10) for n in range(4000)]
    for start in range(0, 4000, 500):
        await backend.put(messages[start : start + 500])
    in_order = [item.id for priority in range(9, -1, -1) for item in messages if item.priority == priority]
    assert await drain(backend, 100) == in_order


async def test_cancelled_messages_leave_no_litter_behind() -> None:
    """A delayed message that is cancelled and deleted is gone, long before it would have been due."""
    backend = MemoryBackend(clock=StillClock())
    for _ in range(20):
        ids = [item.id for item in await put_many(backend, 500, delay=1e6)]
        await backend.cancel(ids)
        await backend.delete(ids)
    assert (await backend.check())["messages"] == "0"
    assert sum(isinstance(value, Entry) for value in gc.get_objects()) < 3000


async def test_a_clock_set_back_keeps_no_dead_worker_alive() -> None:
    """It is given up a lease later by the new time, not an hour later."""
    clock = StillClock()
    backend = MemoryBackend(clock=clock)
    await backend.beat(Beat(worker="dead", number=1, lease=30.0))
    clock.advance(-3600.0)
    for _ in range(2):
        await backend.sweep()
        clock.advance(21.0)
    assert [worker.suspected for worker in await backend.workers()] == [True]
    await backend.sweep()
    assert await backend.workers() == []


async def put_many(backend: MemoryBackend, count: int, **options) -> list[AnyMessage]:
    """Fresh messages, stored."""
    batch = [message(**options) for _ in range(count)]
    await backend.put(batch)
    return batch


async def test_a_waiting_loop_that_was_closed_disturbs_nobody() -> None:
    """A put goes through though a thread that waited for it has ended without a word."""
    backend = MemoryBackend()
    abandoned = []

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it would tell of the task that is left behind
        abandoned.append(loop.create_task(backend.sibling().wait("gone", None, 60.0)))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()

    await asyncio.to_thread(abandon)
    await backend.enqueue(message())
    assert not abandoned[0].done()
    assert await backend.wait("here", None, 5.0) is True
