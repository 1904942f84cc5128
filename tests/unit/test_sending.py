"""On the way to the backend: middleware around each message, batches in one trip, transactions by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.connections import Connections
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Message, Put
from reinhardt_tasks.middleware import Middleware, Next
from reinhardt_tasks.sending import Sender


class Noted(MemoryBackend):
    """Notes how many messages each put has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def put(self, messages: Sequence[AnyMessage], **others: Any) -> list[Put]:
        self.sizes.append(len(messages))
        return await super().put(messages, **others)


class Book(Middleware):
    """Writes what it sees into `lines`; refuses a message called `unwanted`, and drops one called `lost`."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines

    async def on_enqueue(self, message: AnyMessage, call_next: Next) -> None:
        self.lines.append(f"{self.name}>")
        if message.name == "unwanted":
            raise PermissionError("unwanted")
        if message.name != "lost":
            await call_next()
        self.lines.append(f"<{self.name}")


class Twice(Middleware):
    async def on_enqueue(self, message: AnyMessage, call_next: Next) -> None:
        await call_next()
        await call_next()


class OnlyRuns(Middleware):
    async def on_run(self, task: Any, call_next: Next) -> Any:
        return await call_next()


def message(name: str = "app.send") -> AnyMessage:
    """A message of the task `name`."""
    return Message(id=TaskId.new(), name=name, body=b"")


def sender(*middleware: Middleware, alone: bool = False) -> tuple[Sender, Noted]:
    """A sender and the backend behind it."""
    backend = Noted()
    return Sender(Connections(lambda: backend), middleware, alone=alone), backend


async def test_the_first_middleware_is_the_outermost() -> None:
    """Each does its part around the rest."""
    lines: list[str] = []
    sending, backend = sender(Book("a", lines), OnlyRuns(), Book("b", lines))
    one = message()
    assert await sending.one(one) == Put(one.id, created=True)
    assert lines == ["a>", "b>", "<b", "<a"]
    assert backend.sizes == [1]


async def test_a_batch_passes_the_middleware_one_by_one_and_is_stored_in_one_trip() -> None:
    """In order, whatever the middleware awaits."""
    lines: list[str] = []
    sending, backend = sender(Book("a", lines))
    messages = [message() for _ in range(500)]
    puts = await sending.many(messages)
    assert [put.id for put in puts] == [one.id for one in messages]
    assert backend.sizes == [500]
    assert lines == ["a>"] * 500 + ["<a"] * 500


async def test_without_middleware_a_batch_is_one_trip_too() -> None:
    """Nothing stands between."""
    sending, backend = sender(OnlyRuns())
    assert len(await sending.many([message() for _ in range(3)])) == 3
    assert backend.sizes == [3]


@pytest.mark.parametrize(("name", "error"), [("unwanted", PermissionError), ("lost", QueueError)])
async def test_a_refusal_stores_nothing_of_the_batch(name, error) -> None:
    """All or none; the caller gets the refusal itself."""
    sending, backend = sender(Book("a", []))
    with pytest.raises(error, match=name):
        await sending.many([message(), message(name), message()])
    assert backend.sizes == []


async def test_a_message_that_a_middleware_drops_is_an_error() -> None:
    """A message is stored or refused; it never just disappears."""
    sending, backend = sender(Book("a", []))
    with pytest.raises(QueueError, match="lost was not stored"):
        await sending.one(message("lost"))
    assert backend.sizes == []


async def test_the_rest_of_the_way_is_taken_once() -> None:
    """A second `call_next` is a mistake of the middleware and is told."""
    sending, backend = sender(Twice())
    with pytest.raises(QueueError, match="twice"):
        await sending.one(message())
    assert backend.sizes == [1]


async def test_a_transaction_is_handed_to_the_backend() -> None:
    """Such a message travels by itself, as only it belongs to that transaction."""
    sending, backend = sender()
    one, two, mine = message(), message(), object()
    await sending.one(one, mine)
    await sending.many([two], mine)
    assert backend.connection_of(one.id) is mine
    assert backend.connection_of(two.id) is mine


async def test_a_backend_that_runs_what_it_stores_may_enqueue_meanwhile() -> None:
    """With `alone` nothing waits for a trip that waits for it."""

    class Nested(Noted):
        async def put(self, messages: Sequence[AnyMessage], **others: Any) -> list[Put]:
            if messages[0].name == "parent":
                await sending.one(message("child"))
            return await super().put(messages, **others)

    backend = Nested()
    sending = Sender(Connections(lambda: backend), (), alone=True)
    await sending.one(message("parent"))
    assert backend.sizes == [1, 1]
