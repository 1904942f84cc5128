"""The dummy backend notes what was enqueued, and says that it succeeded."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.dummy import DummyBackend
from reinhardt_tasks.errors import UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Message, Put
from reinhardt_tasks.status import TaskStatus


def message(name: str = "unit.task", **options) -> AnyMessage:
    """A fresh message."""
    return Message(id=TaskId.new(), name=name, body=b"body", **options)


async def test_what_was_put_is_noted() -> None:
    """In order, whatever its delay, for every sibling; a repeat is not noted again."""
    backend = DummyBackend()
    first, second = message(), message(delay=60.0, priority=9)
    await backend.put((first, second))
    assert await backend.sibling().put((first,)) == [Put(first.id, created=False)]
    assert backend.sibling().messages == [first, second]


async def test_everything_succeeds() -> None:
    """At once, with no result; what waits for it too."""
    backend = DummyBackend()
    parent = message()
    child = message(waits_on=(parent.id,), unique_key="k")
    await backend.put((parent, child))
    for record in (*await backend.get((parent.id, child.id)), await backend.wait_result(child.id, None)):
        assert record is not None
        assert (record.status, record.result, record.error) == (TaskStatus.SUCCESS, None, None)
    assert {record.status for record in await backend.find()} == {TaskStatus.SUCCESS}


async def test_a_test_may_set_results() -> None:
    """For a task by its name, for one message by its id, before or after it was put."""
    backend = DummyBackend()
    backend.set_result("a", b"of a")
    one, two, other = message("a"), message("a"), message("b")
    await backend.put((one, two, other))
    backend.sibling().set_result(two.id, b"of two")
    results = [record and record.result for record in await backend.get((one.id, two.id, other.id))]
    assert results == [b"of a", b"of two", None]
    waited = await backend.wait_result(one.id, 0.0)
    assert waited is not None
    assert waited.result == b"of a"
    assert [record.result for record in await backend.find(task="a")] == [b"of two", b"of a"]


async def test_an_unknown_message_has_not_succeeded() -> None:
    """Only what was put is there."""
    assert await DummyBackend().get((TaskId.new(),)) == [None]


async def test_a_connection_is_kept() -> None:
    """As by the memory backend."""
    backend, put, connection = DummyBackend(), message(), object()
    await backend.put((put,), connection=connection)
    assert backend.connection_of(put.id) is connection


async def test_workers_are_refused() -> None:
    """There is nothing for them to do, and they are told where there is."""
    with pytest.raises(UnsupportedError, match="memory://") as caught:
        await DummyBackend().dequeue()
    assert caught.value.backend == "dummy"
