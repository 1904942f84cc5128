"""The application's door: settings, included registries, everything that can be enqueued, connections and their end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.errors import (
    ArgumentError,
    ConfigurationError,
    QueueError,
    SignatureError,
)
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.message import AnyMessage, Envelope, decode_envelope
from reinhardt_tasks.middleware import Middleware
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.testing import drain

KEY = "k" * 32
NINE = datetime(2030, 1, 1, 9, tzinfo=UTC)


def envelope(queue: TaskQueue, message: AnyMessage) -> Envelope:
    """What a worker finds in `message`."""
    return decode_envelope(queue.seal.open(message.body))


# Settings -------------------------------------------------------------------------------------------------------------


def test_no_url_is_an_error_at_first_use_not_before(monkeypatch) -> None:
    """Never a silent default; the error says where to put one. Making the queue and its tasks needs none."""
    monkeypatch.delenv("REINHARDT_TASKS_URL", raising=False)
    queue = TaskQueue()

    @queue.task
    def send() -> None: ...

    assert repr(queue) == "<TaskQueue (no URL yet)>"
    with pytest.raises(ConfigurationError, match="REINHARDT_TASKS_URL"):
        send.enqueue_sync()
    with pytest.raises(ConfigurationError, match="REINHARDT_TASKS_URL"):
        queue.connect()
    monkeypatch.setenv("REINHARDT_TASKS_URL", "memory://")
    assert send.enqueue_sync().created
    assert queue.url == "memory://"


def test_a_url_that_leads_nowhere_is_refused_where_it_is_given() -> None:
    """When the queue is made, or configured."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        TaskQueue("nowhere://x")
    with pytest.raises(ConfigurationError, match="nowhere"):
        TaskQueue().configure("nowhere://x")


def test_configure_gives_the_queue_its_backend_before_first_use() -> None:
    """With other settings too; tasks registered before follow."""
    queue = TaskQueue()

    @queue.task
    def send() -> None: ...

    queue.configure("memory://")
    assert send.queue == "default"
    queue.configure(MemoryBackend(), QueueConfig(name="mail"))
    assert (send.queue, send.message().queue, queue.url) == ("mail", "mail", "memory://")
    assert send.enqueue_sync().created
    with pytest.raises(QueueError, match="in use already"):
        queue.configure("memory://")


def test_new_settings_count_for_the_next_message() -> None:
    """Also in a task that has made messages before, and in copies of it."""
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send() -> None: ...

    urgent = send.using(priority=9)
    first = urgent.message()
    queue.configure(MemoryBackend(), QueueConfig(secret_keys=[KEY], name="mail"))
    second = urgent.message()
    assert (first.queue, second.queue) == ("default", "mail")
    with pytest.raises(SignatureError):
        queue.seal.open(first.body)
    assert envelope(queue, second).n == send.name


def test_a_shown_queue_has_no_password(monkeypatch) -> None:
    """Neither in its repr nor in its url."""
    monkeypatch.setattr("reinhardt_tasks.route.connect", lambda _: MemoryBackend())
    queue = TaskQueue("redis://ada:secret@host/0")
    assert repr(queue) == "<TaskQueue redis://ada:***@host/0>"
    assert queue.url == "redis://ada:***@host/0"


def test_keys_may_come_from_the_environment(monkeypatch) -> None:
    """A queue that gives none takes those."""
    monkeypatch.setenv("REINHARDT_TASKS_SECRET_KEYS", KEY)
    queue = TaskQueue(MemoryBackend())

    @queue.task
    def send() -> None: ...

    assert queue.config.secret_keys == (KEY,)
    monkeypatch.delenv("REINHARDT_TASKS_SECRET_KEYS")
    assert TaskQueue(MemoryBackend(), QueueConfig(secret_keys=[KEY])).seal.open(send.message().body)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TaskQueue(3), "a URL, such as 'sqlite:///tasks.db', or a TaskBackend, not 3"),
        (lambda: TaskQueue("memory://", {"name": "mail"}), "a QueueConfig, not of type dict"),
        (lambda: TaskQueue(config="mail"), "a QueueConfig, not of type str"),
        (lambda: TaskQueue().configure("memory://", {}), "QueueConfig, not of type dict; write QueueConfig"),
        (lambda: TaskQueue().configure(None), "a TaskBackend, not None"),
        (lambda: TaskQueue().override(3).__enter__(), "a TaskBackend, not 3"),
        (lambda: TaskQueue().include(len), "takes a TaskRegistry, not <built-in function len>"),
        (lambda: TaskQueue(middleware=Middleware()), r"write middleware=\[…\]"),
    ],
)
def test_what_is_no_setting_is_refused_where_it_is_given(make, says) -> None:
    """With what may stand there; not by an AttributeError at the first message."""
    with pytest.raises(ConfigurationError, match=says):
        make()


async def test_one_item_is_not_many() -> None:
    """The slip is named, and the way to write it."""
    queue = TaskQueue("memory://")
    message = queue.task(name="send")(lambda: None).message()
    for item in (message, None):
        with pytest.raises(ArgumentError, match=r"pass \[message\], or call queue\.enqueue\(message\)"):
            await queue.enqueue_many(item)


def test_middleware_is_made_of_instances() -> None:
    """Passing the class is found at once."""
    with pytest.raises(ConfigurationError, match="instance"):
        TaskQueue(MemoryBackend(), middleware=[Middleware])  # type: ignore[list-item]
    layer = Middleware()
    assert TaskQueue(MemoryBackend(), middleware=[layer]).middleware == (layer,)


# Registries -----------------------------------------------------------------------------------------------------------


async def test_an_included_registrys_tasks_are_the_queues() -> None:
    """Those it has, and those it gets later; its providers too."""
    registry = TaskRegistry()

    @registry.lifespan
    async def pool() -> AsyncIterator[int]:
        yield 1

    @registry.task
    def early(db: int = Depends(pool)) -> None: ...

    queue = TaskQueue(MemoryBackend())
    queue.include(registry)
    queue.include(registry)

    @registry.task
    class Late(TaskExecutor):
        async def execute(self) -> None: ...

    assert set(queue.tasks) == set(registry.tasks)
    assert queue.find(early.name) is early
    assert (await early.enqueue()).created
    assert (await queue.enqueue(Late())).created
    assert queue.providers == (pool,)
    async with queue.lifespans() as values:
        assert values == {pool: 1}


def test_included_names_must_be_free() -> None:
    """Nothing is taken in when one is not; names registered later are checked against both."""
    queue, registry = TaskQueue(MemoryBackend()), TaskRegistry()
    queue.task(name="a")(lambda: None)
    registry.task(name="b")(lambda: None)
    registry.task(name="a")(lambda: None)
    with pytest.raises(ConfigurationError, match="two tasks are called a"):
        queue.include(registry)
    assert set(queue.tasks) == {"a"}
    other = TaskRegistry()
    queue.include(other)
    with pytest.raises(ConfigurationError, match="two tasks are called a"):
        other.task(name="a")(lambda: None)
    assert other.tasks == {}


def test_a_registry_belongs_to_one_queue() -> None:
    """Its tasks must know where to send their messages; a queue includes no queue."""
    registry, one, two = TaskRegistry(), TaskQueue(MemoryBackend()), TaskQueue(MemoryBackend())
    one.include(registry)
    with pytest.raises(ConfigurationError, match="one queue"):
        two.include(registry)
    with pytest.raises(ConfigurationError, match="one queue"):
        two.include(one)
    with pytest.raises(ConfigurationError, match="one queue"):
        one.include(one)


# Connections ----------------------------------------------------------------------------------------------------------


class Book(MemoryBackend):
    """Writes when it is opened and closed, over all its siblings."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def sibling(self) -> Book:
        other = Book(self.lines)
        other._store = self._store
        return other

    async def open(self) -> None:
        self.lines.append("open")

    async def close(self) -> None:
        await super().close()
        self.lines.append("close")


async def test_async_with_opens_and_closes() -> None:
    """Nested uses share one connection, and the last one closes it; a later use opens another."""
    lines: list[str] = []
    queue = TaskQueue(Book(lines))
    async with queue as same:
        assert same is queue
        async with queue:
            assert await queue.backend() is await queue.backend()
        assert lines == ["open"]
    assert lines == ["open", "close"]
    await queue.backend()
    assert lines == ["open", "close", "open"]
    await queue.close()
    await queue.close()
    assert lines == ["open", "close", "open", "close"]


def test_without_async_with_the_loop_closes() -> None:
    """First use opens, the end of `asyncio.run` closes."""
    lines: list[str] = []
    queue = TaskQueue(Book(lines))

    @queue.task
    def send() -> None: ...

    asyncio.run(send.enqueue())
    assert lines == ["open", "close"]


async def test_connect_gives_unopened_backends_on_the_same_messages() -> None:
    """For a worker's other threads; whoever asks opens and closes."""
    lines: list[str] = []
    queue = TaskQueue(Book(lines))

    @queue.task
    def send() -> None: ...

    other = queue.connect()
    assert lines == []
    handle = await send.enqueue()
    async with other:
        assert (await other.get([handle.id]))[0] is not None
    assert other is not await queue.backend()


async def test_override_swaps_the_backend_for_a_while() -> None:
    """For tests; it may be nested, and leaves everything as it was. A queue without URL needs none meanwhile."""
    queue = TaskQueue()

    @queue.task
    def send() -> None: ...

    with queue.override("memory://") as outer:
        await send.enqueue()
        with queue.override(MemoryBackend()) as inner:
            await send.enqueue()
            await send.enqueue()
            assert queue.url == "memory://"
        assert (len(await outer.find()), len(await inner.find())) == (1, 2)
    assert repr(queue) == "<TaskQueue (no URL yet)>"
    queue.configure(MemoryBackend())


async def test_override_ends_with_an_exception_too() -> None:
    """The queue is not left pointing at the test's backend."""
    backend = MemoryBackend()
    queue = TaskQueue(backend)
    with pytest.raises(ZeroDivisionError), queue.override(MemoryBackend()):
        raise ZeroDivisionError
    assert queue.connect()._store is backend._store  # type: ignore[attr-defined]  # noqa: SLF001 - the same messages


PROGRAM = """
import asyncio, os, sys
from reinhardt_tasks.queue import TaskQueue

queue = TaskQueue("sqlite:///tasks.db")

@queue.task
def send(to: str) -> None: ...
"""


def run_program(directory: Path, rest: str) -> str:
    """What the program prints that has PROGRAM above `rest`; it has to end well and say nothing on standard error."""
    (directory / "app.py").write_text(PROGRAM + rest)
    warnings = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    ended = subprocess.run(
        [sys.executable, *warnings, "app.py"], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_program_that_enqueues_and_ends_says_nothing(tmp_path) -> None:
    """From a loop and from plain code, over a file: both messages are there afterwards, and nothing hangs."""
    rest = "asyncio.run(send.enqueue('ada'))\nsend.enqueue_sync('bob')\nprint(asyncio.run(queue.backend()).name)\n"
    assert run_program(tmp_path, rest) == "sqlite\n"
    assert asyncio.run(_stored(tmp_path / "tasks.db")) == ["app.send"] * 2


def test_a_forked_child_enqueues_for_itself(tmp_path) -> None:
    """Parent and child both go on, on connections of their own, from plain code and on a loop."""
    rest = (
        "asyncio.run(send.enqueue('1'))\n"
        "handle = send.enqueue_sync('2')\n"
        "child = os.fork()\n"
        "asyncio.run(send.enqueue('3, 4'))\n"
        "send.enqueue_sync('5, 6')\n"
        "assert handle.status_sync() == 'pending'\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    send.enqueue_sync('7')\n"
        "    print('parent')\n"
    )
    assert run_program(tmp_path, rest) == "parent\n"
    assert asyncio.run(_stored(tmp_path / "tasks.db")) == ["app.send"] * 7


async def _stored(file: Path) -> list[str]:
    queue = TaskQueue(f"sqlite:///{file}")
    return [record.name for record in await (await queue.backend()).find()]


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/tasks.db"])
async def test_every_handle_reads_what_the_queues_limit_allows(tmp_path, url) -> None:
    """`max_size` holds for results however their handle was made: by the enqueue or from an id, with a type or not."""
    queue = TaskQueue(url.format(tmp_path), QueueConfig(max_size=3_000_000))

    @queue.task
    async def make(size: int) -> bytes:
        return b"x" * size

    async with queue:
        made = await make.enqueue(2_000_000)
        await drain(queue)
        for handle in (made, make.handle(made.id), queue.handle(made.id), queue.handle(made.id, type=bytes)):
            assert len(await handle.result(timeout=0)) == 2_000_000
