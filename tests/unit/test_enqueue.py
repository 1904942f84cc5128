"""Everything that can be enqueued, alone or among many, and the options given at the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import ArgumentError, ConfigurationError, DuplicateTaskError, OptionError, QueueError
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.message import AnyMessage, Outcome, Put, decode_envelope
from reinhardt_tasks.middleware import Middleware
from reinhardt_tasks.options import EnqueueOptions
from reinhardt_tasks.queue import TaskQueue
from tests.work import Hands

KEY = "k" * 32
NINE = datetime(2030, 1, 1, 9, tzinfo=UTC)


class Counted(MemoryBackend):
    """Notes how many messages each put had, over all its siblings."""

    def __init__(self, sizes: list[int] | None = None) -> None:
        super().__init__()
        self.sizes: list[int] = [] if sizes is None else sizes

    def sibling(self) -> Counted:
        other = Counted(self.sizes)
        other._store = self._store
        return other

    async def put(self, messages: Sequence[AnyMessage], **others: Any) -> list[Put]:
        self.sizes.append(len(messages))
        await asyncio.sleep(0)  # a far backend takes a while
        return await super().put(messages, **others)


class Letters:
    """A queue with a function and a class, over a counting backend."""

    def __init__(self, config: QueueConfig | None = None, *, middleware: Sequence[Middleware] = ()) -> None:
        self.backend = Counted()
        self.queue = TaskQueue(self.backend, config, middleware=middleware)

        @self.queue.task(priority=2)
        def send(to: str) -> date: ...

        @self.queue.task(priority=3)
        class Post(TaskExecutor):
            name: str
            id: int = 0
            priority: int = 0
            queue: str = ""

            async def execute(self) -> date: ...

        self.send = send
        self.post = Post


async def test_a_message_sent_twice_is_stored_once() -> None:
    """The same value under the same id: safe to repeat after an error that leaves open what happened."""
    letters = Letters()
    message = letters.send.message("ada")
    first, second = await letters.queue.enqueue(message), await letters.queue.enqueue(message, on_duplicate="raise")
    assert (first.created, second.created, second.id) == (True, False, message.id)


async def test_fields_travel_whatever_they_are_called() -> None:
    """Name, id, priority and queue of a class are payload; the task's own stand in the decorator."""
    letters = Letters()
    handle = await letters.queue.enqueue(letters.post(name="n", id=7, priority=9, queue="q"))
    claim = await Hands(await letters.queue.backend()).take()
    inside = decode_envelope(letters.queue.seal.open(claim.body))
    task = letters.queue.find(inside.n)
    assert task is not None
    assert (claim.id, inside.p, inside.q) == (handle.id, 3, "default")
    _, kwargs = task.arguments.decode(inside.a)
    assert letters.post(**kwargs) == letters.post(name="n", id=7, priority=9, queue="q")


async def test_a_class_is_run_as_an_instance_made_of_its_fields() -> None:
    """What the worker calls is the class's `execute`."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    class Add(TaskExecutor):
        one: int
        two: int = 2

        async def execute(self) -> int:
            return self.one + self.two

    task = next(iter(queue.tasks.values()))
    assert await task.function(one=1) == 3


async def test_a_class_may_take_a_provider() -> None:
    """Its field is filled in by the worker, and refused at enqueue."""
    queue = TaskQueue(MemoryBackend())

    @queue.lifespan
    async def pool() -> AsyncIterator[list[int]]:
        yield []

    @queue.task
    class Save(TaskExecutor):
        row: int
        db: list[int] = Depends(pool)

        async def execute(self) -> list[int]:
            return [*self.db, self.row]

    assert (await queue.enqueue(Save(row=1))).created
    with pytest.raises(ArgumentError, match="'db'"):
        await queue.enqueue(Save(row=1, db=[2]))
    assert await Save(row=1, db=[2]).execute() == [2, 1]
    assert next(iter(queue.tasks.values())).providers == {"db": pool}


async def test_a_class_that_is_not_registered_is_named() -> None:
    """A subclass of a registered one is a class of its own."""
    letters = Letters()

    class Special(letters.post):  # type: ignore[name-defined]
        pass

    with pytest.raises(ConfigurationError, match=r"Special.*@queue\.task"):
        await letters.queue.enqueue(Special(name="n"))
    with pytest.raises(ConfigurationError, match="Special"):
        await letters.queue.enqueue_many([Special(name="n")])


@pytest.mark.parametrize("kind", ["message", "executor"])
async def test_options_may_be_given_at_the_door(kind) -> None:
    """In place of the message's own, in its envelope as well as beside it."""
    letters = Letters(QueueConfig(secret_keys=[KEY]))
    item = letters.send.message("ada") if kind == "message" else letters.post(name="n")
    options = EnqueueOptions(queue="fast", priority=9, timeout=None, headers={"a": "1"}, unique_key="k", delay=0.5)
    handle = await letters.queue.enqueue(item, **options)
    again = await letters.queue.enqueue(letters.send.message("bob"), unique_key="k")
    assert again.created is (kind == "executor")
    backend = await letters.queue.backend()
    record = (await backend.get([handle.id], body=True))[0]
    assert record is not None
    assert (record.queue, record.priority, record.unique_key) == ("fast", 9, "k")
    inside = decode_envelope(letters.queue.seal.open(record.body or b""))
    assert (inside.i, inside.q, inside.p, inside.t, inside.h) == (handle.id, "fast", 9, 0.0, {"a": "1"})


async def test_a_new_moment_takes_the_place_of_the_old_one() -> None:
    """A message with a delay may be given a moment instead."""
    letters = Letters()
    message = letters.send.using(delay=60, unique_key="k", unique_for=5, timeout=3).message("ada")
    handle = await letters.queue.enqueue(message, run_at=NINE)
    info = await handle.info()
    assert info.scheduled_for == NINE
    record = (await (await letters.queue.backend()).get([handle.id], body=True))[0]
    assert record is not None
    assert record.unique_key == "k"
    assert decode_envelope(record.body or b"").t == 3.0


async def test_mistaken_options_at_the_door_are_refused() -> None:
    """As at `using`."""
    letters = Letters()
    with pytest.raises(OptionError, match="unique_for needs"):
        await letters.queue.enqueue(letters.send.message("ada"), unique_for=5)
    with pytest.raises(OptionError, match="nope"):
        await letters.queue.enqueue(letters.send.message("ada"), nope=5)  # type: ignore[call-overload]


async def test_a_duplicate_may_be_an_error_at_the_door() -> None:
    """For any kind of item."""
    letters = Letters()
    first = await letters.queue.enqueue(letters.post(name="n"), unique_key="k")
    with pytest.raises(DuplicateTaskError) as caught:
        await letters.queue.enqueue(letters.post(name="n"), unique_key="k", on_duplicate="raise")
    assert (caught.value.existing_id, caught.value.unique_key) == (str(first.id), "k")


async def test_what_cannot_be_enqueued_is_refused_with_a_hint() -> None:
    """The usual slips are known."""
    letters, queue = Letters(), Letters().queue

    @queue.task
    async def work() -> None: ...

    slips = [(work, "message"), (work(), "called, not enqueued"), (letters.post, "instance"), ("work", "message")]
    for item, hint in slips:
        with pytest.raises(ArgumentError, match=hint):
            await queue.enqueue(item)  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="called, not enqueued"):
        await queue.enqueue_many([work()])  # type: ignore[list-item]


async def test_many_messages_leave_five_hundred_at_a_time() -> None:
    """In order, of either kind, consumed as they leave."""
    letters = Letters()
    made = 0

    def items() -> Iterator[Any]:
        nonlocal made
        for number in range(1203):
            made += 1
            assert made - sum(letters.backend.sizes) <= 500
            yield letters.send.message(str(number)) if number % 2 else letters.post(name=str(number))

    handles = await letters.queue.enqueue_many(items())
    assert letters.backend.sizes == [500, 500, 203]
    assert len({handle.id for handle in handles}) == 1203
    assert all(handle.created for handle in handles)
    assert await letters.queue.enqueue_many([]) == []


async def test_handles_of_many_read_their_own_tasks_results() -> None:
    """Typed by each message's task; without it here, as plain values."""
    letters = Letters()
    handles = await letters.queue.enqueue_many([letters.send.message("ada")])
    stranger = TaskQueue(letters.backend)
    handles += await stranger.enqueue_many([letters.send.message("bob")])
    hands = Hands(await letters.queue.backend())
    for _ in range(2):
        claim = await hands.take()
        await hands.settle(Outcome.success(claim, letters.send.returns.encode(date(2030, 1, 2))))
    assert [await handle.result() for handle in handles] == [date(2030, 1, 2), "2030-01-02"]


async def test_an_error_among_many_tells_how_many_are_stored() -> None:
    """What left before it is safe; its own batch is not stored."""
    letters = Letters()
    with pytest.raises(ArgumentError) as caught:
        await letters.queue.enqueue_many(
            letters.send.message("a" if number != 700 else number)  # type: ignore[arg-type]
            for number in range(1000)
        )
    assert caught.value.__notes__ == ["The 500 messages before this batch are stored."]
    assert letters.backend.sizes == [500]


async def test_many_share_one_transaction() -> None:
    """`connection` goes to the backend with each batch."""
    letters, mine = Letters(), object()
    handles = await letters.queue.enqueue_many([letters.send.message("a")], connection=mine)
    assert letters.backend.connection_of(handles[0].id) is mine


async def test_concurrent_enqueues_share_round_trips() -> None:
    """A hundred at once need one, the function's and the door's alike."""
    letters = Letters()
    first = [letters.send.enqueue(str(number)) for number in range(50)]
    second = [letters.queue.enqueue(letters.post(name=str(number))) for number in range(50)]
    handles = await asyncio.gather(*first, *second)
    assert len({handle.id for handle in handles}) == 100
    assert letters.backend.sizes == [100]


async def test_a_handle_from_an_id_reads_what_it_is_told_to() -> None:
    """A type, or plain values."""
    letters = Letters()
    sent = await letters.send.enqueue("ada")
    hands = Hands(await letters.queue.backend())
    await hands.settle(Outcome.success(await hands.take(), letters.send.returns.encode(date(2030, 1, 2))))
    assert await letters.queue.handle(str(sent.id)).result() == "2030-01-02"
    assert await letters.queue.handle(sent.id, type=date).result() == date(2030, 1, 2)
    with pytest.raises(ConfigurationError):
        letters.queue.handle(sent.id, type=type)
    with pytest.raises(ValueError, match="no task id"):
        letters.queue.handle("seven")


def test_the_blocking_doors_need_no_loop() -> None:
    """One or many."""
    letters = Letters()
    assert letters.queue.enqueue_sync(letters.post(name="n"), priority=1).info_sync().priority == 1
    assert len(letters.queue.enqueue_many_sync(letters.send.message(str(number)) for number in range(3))) == 3


async def test_the_blocking_doors_name_the_form_to_await() -> None:
    """Inside a loop."""
    letters = Letters()
    with pytest.raises(QueueError, match=r"await queue\.enqueue\("):
        letters.queue.enqueue_sync(letters.post(name="n"))
    with pytest.raises(QueueError, match=r"await queue\.enqueue_many"):
        letters.queue.enqueue_many_sync([])
