"""A task: called here it runs here; `message` makes a value of a call, `using` gives it options."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import (
    ArgumentError,
    DuplicateTaskError,
    OptionError,
    PayloadTooLargeError,
    QueueError,
    UnencodableError,
)
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.lifespan import Dependency, Depends
from reinhardt_tasks.message import AnyMessage, Envelope, decode_envelope
from reinhardt_tasks.queue import TaskQueue

NINE = datetime(2030, 1, 1, 9, tzinfo=UTC)


def envelope(queue: TaskQueue, message: AnyMessage) -> Envelope:
    """What a worker finds in `message`."""
    return decode_envelope(queue.seal.open(message.body))


def call(queue: TaskQueue, message: AnyMessage) -> dict[str, Any]:
    """The arguments a worker calls the function with, by parameter."""
    task = queue.find(message.name)
    assert task is not None
    args, kwargs = task.arguments.decode(envelope(queue, message).a)
    bound = inspect.signature(task.function).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


async def test_calling_a_task_runs_its_function_here() -> None:
    """Nothing is enqueued."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    async def double(x: int) -> int:
        return 2 * x

    @queue.task
    def half(x: int) -> float:
        return x / 2

    assert await double(4) == 8
    assert half(4) == 2
    assert await (await queue.backend()).find() == []


def test_a_message_is_the_whole_call_as_a_value() -> None:
    """Everything a worker and a backend need is in it; arguments arrive as they left."""
    queue = TaskQueue(MemoryBackend(), QueueConfig(name="main", max_losses=5, result_ttl=60))

    @queue.task(priority=7)
    def resize(path: str, width: int = 800, *, tags: set[str]) -> None: ...

    message = resize.message("a.png", tags={"x"})
    assert (message.name, message.queue, message.priority) == (resize.name, "main", 7)
    assert (message.max_losses, message.result_ttl, message.delay, message.run_at) == (5, 60.0, 0.0, None)
    inside = envelope(queue, message)
    assert (inside.i, inside.n, inside.q, inside.p, inside.t, inside.h) == (
        message.id,
        resize.name,
        "main",
        7,
        None,
        None,
    )
    assert call(queue, message) == {"path": "a.png", "width": 800, "tags": {"x"}}
    assert resize.message("a.png", tags=set()).id != message.id


def test_options_of_one_call_count_for_that_call() -> None:
    """`using` makes another task of the same name; the first is left as it was."""
    queue = TaskQueue(MemoryBackend())

    @queue.task(priority=2, queue="slow")
    def send(to: str) -> None: ...

    fast = send.using(priority=9, queue="fast", delay=60).using(timeout=3, headers={"trace": "1"}, unique_key="k")
    assert type(fast) is type(send)
    assert (fast.name, fast.priority, fast.queue) == (send.name, 9, "fast")
    assert (send.priority, send.queue) == (2, "slow")
    message = fast.using(unique_for=5).message("ada")
    assert (message.queue, message.priority, message.delay) == ("fast", 9, 60.0)
    assert (message.unique_key, message.unique_for) == ("k", 5.0)
    inside = envelope(queue, message)
    assert (inside.q, inside.p, inside.t, inside.h) == ("fast", 9, 3.0, {"trace": "1"})
    assert envelope(queue, send.using(timeout=None).message("ada")).t == 0.0
    assert send.using(run_at=NINE).message("ada").run_at == NINE.timestamp()
    plain = send.message("ada")
    assert (plain.queue, plain.delay, plain.unique_key, envelope(queue, plain).t) == ("slow", 0.0, None, None)


def test_a_mistaken_option_is_found_where_it_is_given() -> None:
    """At `using`, before there is any call."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send(to: str) -> None: ...

    with pytest.raises(OptionError, match="prioritaet"):
        send.using(prioritaet=9)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="unique_for needs a unique_key"):
        send.using(unique_for=5)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((), {}, ArgumentError, "'to'"),
        (("ada", 1, 2), {}, ArgumentError, "too many"),
        (("ada",), {"cc": "x"}, ArgumentError, "'cc'"),
        ((5,), {}, ArgumentError, "'to'"),
        (("ada", object()), {}, UnencodableError, "'body'"),
        (("x" * 3000,), {}, PayloadTooLargeError, "2000"),
    ],
)
def test_a_call_that_cannot_run_fails_at_the_callers(args, kwargs, error, says) -> None:
    """Naming task and parameter, with nothing stored; each is an error of its own class."""
    queue = TaskQueue(MemoryBackend(), QueueConfig(max_size=2000))

    @queue.task
    def send(to: str, body: Any = None) -> None: ...

    with pytest.raises(error, match=says) as caught:
        send.message(*args, **kwargs)
    assert send.name in str(caught.value)


def unique_queue() -> tuple[TaskQueue, Any]:
    """A queue with a task that is unique by its arguments."""
    queue = TaskQueue(MemoryBackend())

    @queue.task(unique=True)
    def fetch(url: str, depth: int = 1, *more: int, slow: bool = False, **others: int) -> None: ...

    return queue, fetch


def test_one_call_written_in_several_ways_is_one_key() -> None:
    """By position, by name, with or without the defaults."""
    _, fetch = unique_queue()
    calls = [fetch.message("u"), fetch.message(url="u"), fetch.message("u", 1), fetch.message(slow=False, url="u")]
    assert len({message.unique_key for message in calls}) == 1
    others = [fetch.message("v"), fetch.message("u", 2), fetch.message("u", slow=True), fetch.message("u", 1, 7)]
    assert len({message.unique_key for message in [*calls, *others, fetch.message("u", a=7)]}) == 6


async def test_a_second_unique_call_gets_the_first_ones_handle() -> None:
    """`created` tells; asked to, it is an error that names the first."""
    _, fetch = unique_queue()
    first, second = await fetch.enqueue("u"), await fetch.enqueue("u")
    assert (first.created, second.created, second.id) == (True, False, first.id)
    with pytest.raises(DuplicateTaskError) as caught:
        await fetch.using(on_duplicate="raise").enqueue("u")
    assert caught.value.existing_id == str(first.id)
    assert (await fetch.using(on_duplicate="raise").enqueue("v")).created


def test_a_function_may_make_the_key() -> None:
    """From the arguments of the call; a key given with `using` counts for more."""
    queue = TaskQueue(MemoryBackend())

    @queue.task(unique=lambda user, **_: f"user-{user}")
    def greet(user: int, text: str) -> None: ...

    assert greet.message(7, text="hi").unique_key == "user-7"
    assert greet.using(unique_key="mine").message(7, "hi").unique_key == "mine"
    assert greet.using(unique_for=5).message(7, text="hi").unique_for == 5.0


def test_a_function_that_makes_no_key_is_told() -> None:
    """The error names the task."""
    queue = TaskQueue(MemoryBackend())

    @queue.task(unique=lambda user: user)
    def greet(user: int) -> None: ...

    with pytest.raises(OptionError, match=r"greet: its `unique` function"):
        greet.message(7)


async def test_a_class_may_be_unique_by_a_function_of_its_instance() -> None:
    """Or by its fields."""
    queue = TaskQueue(MemoryBackend())

    @queue.task(unique=lambda email: email.to)
    class Send(TaskExecutor):
        to: str
        text: str = ""

        async def execute(self) -> None: ...

    first, second = await queue.enqueue(Send(to="ada", text="a")), await queue.enqueue(Send(to="ada", text="b"))
    assert (second.id, second.created) == (first.id, False)


def test_what_concerns_the_sending_is_no_part_of_a_message() -> None:
    """The error says where to pass it."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send() -> None: ...

    with pytest.raises(OptionError, match=r"queue\.enqueue\(message, connection=…\)"):
        send.using(connection=object()).message()
    with pytest.raises(OptionError, match="on_duplicate"):
        send.using(on_duplicate="raise").message()


async def test_a_transaction_reaches_the_backend() -> None:
    """`using(connection=…)` on the call."""
    backend, mine = MemoryBackend(), object()
    queue = TaskQueue(backend)

    @queue.task
    def send() -> None: ...

    handle = await send.using(connection=mine).enqueue()
    assert backend.connection_of(handle.id) is mine


def provided() -> tuple[TaskQueue, Any]:
    """A task with a provider between its parameters."""
    queue = TaskQueue(MemoryBackend())

    @queue.lifespan
    async def pool() -> AsyncIterator[list[str]]:
        yield []

    @queue.task
    async def save(row: str, db: list[str] = Depends(pool), table: str = "t") -> list[str]:
        db.append(f"{table}.{row}")
        return db

    return queue, save


def test_what_a_provider_gives_is_not_sent() -> None:
    """And nobody may send it; what stands behind it is passed by name."""
    queue, save = provided()
    arrived = call(queue, save.message("r", table="u"))
    assert (arrived["row"], arrived["table"]) == ("r", "u")
    assert isinstance(arrived["db"], Dependency)
    for wrong in ({"db": []}, {"db": None}):
        with pytest.raises(ArgumentError, match="'db'"):
            save.message("r", **wrong)
    with pytest.raises(ArgumentError, match="'db'"):
        save.message("r", [])


async def test_a_direct_call_brings_its_own_value() -> None:
    """As tests do; without one the error says so instead of handing the marker to the function."""
    _, save = provided()
    assert await save("r", db=["x"]) == ["x", "t.r"]
    assert await save("r", []) == ["t.r"]
    with pytest.raises(ArgumentError, match=r"Pass db=…"):
        await save("r")


async def test_a_handle_is_had_from_an_id_alone() -> None:
    """In any form; the task knows how its result reads."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def now() -> datetime: ...

    sent = await now.enqueue()
    for form in (sent.id, sent.id.uuid, str(sent.id)):
        assert now.handle(form) == sent
    with pytest.raises(ValueError, match="no task id"):
        now.handle("7")
    assert now.handle(TaskId.new()).created is False


def test_blocking_enqueue_works_without_a_loop() -> None:
    """From plain code, and the handle's blocking side with it."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send(to: str) -> None: ...

    handle = send.using(priority=1).enqueue_sync("ada")
    assert handle.created
    assert handle.info_sync().priority == 1
    with pytest.raises(ArgumentError, match="'to'"):
        send.enqueue_sync()  # type: ignore[call-arg]


async def test_blocking_enqueue_inside_a_loop_names_the_form_to_await() -> None:
    """It would block the loop; nothing is stored."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send() -> None: ...

    with pytest.raises(QueueError, match=r"await send\.enqueue"):
        send.enqueue_sync()
    assert await (await queue.backend()).find() == []


@pytest.mark.parametrize("field", ["name", "id", "priority", "queue", "options", "message", "self"])
def test_a_parameter_may_have_any_name(field) -> None:
    """Nothing of the task's own stands in the way."""
    queue = TaskQueue(MemoryBackend())
    namespace: dict[str, Any] = {}
    exec(f"def work({field}: int, other: int = 0) -> None: ...", namespace)  # noqa: S102
    work = queue.task(name="work")(namespace["work"])
    assert work.message(**{field: 3}).name == "work"
