"""What applications test with: captured messages, runs in place, the immediate backend, a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import TaskContext, current_task
from reinhardt_tasks.errors import (
    ExecutionFailedError,
    MaxRetriesExceededError,
    QueueError,
    ResultMismatchError,
    TaskNotFoundError,
    TaskTimeoutError,
)
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.middleware import Middleware, Next
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing import StillClock, capture, drain

KEYS = QueueConfig(secret_keys=["k" * 32])


class Shop:
    """An application: a few tasks that write into `book`."""

    def __init__(self, place: Any = None, config: QueueConfig | None = None) -> None:
        self.queue = queue = TaskQueue(place, config)
        self.book: list[Any] = []

        @queue.lifespan
        async def pool() -> AsyncIterator[str]:
            self.book.append("open")
            yield "pool"
            self.book.append("close")

        @queue.task
        async def resize(path: Path, width: int = 800, db: str = Depends(pool)) -> Path:
            self.book.append((path, width, db))
            return path.with_suffix(f".{width}")

        @queue.task
        def count(text: str) -> int:
            self.book.append(text)
            return len(text)

        @queue.task(retry=RetryStrategy.fixed_delay(60, max_retries=2))
        async def flaky(needed: int) -> int:
            attempt = current_task().attempt
            self.book.append(attempt)
            if attempt < needed:
                raise OSError("not yet")
            return attempt

        @queue.task(priority=9)
        async def order(items: int) -> int:
            self.book.append("order")
            handles = await queue.enqueue_many(count.message("x" * number) for number in range(items))
            return len(handles)

        @queue.task
        class SendEmail(TaskExecutor):
            to: str
            subject: str = "hi"

            async def execute(self) -> int:
                return len(self.to)

        self.resize, self.count, self.flaky, self.order, self.email = resize, count, flaky, order, SendEmail


# capture --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [None, KEYS], ids=["plain", "signed"])
async def test_captured_calls_are_as_a_worker_would_see_them(config) -> None:
    """Arguments by parameter, defaults included; of a class its instances. Nothing runs, no URL is needed."""
    shop = Shop(config=config)
    with capture(shop.queue) as outbox:
        await shop.resize.using(priority=9).enqueue(Path("a.png"))
        await shop.resize.enqueue(Path("b.png"), width=3)
        await shop.queue.enqueue(shop.email(to="ada"))
        await shop.queue.enqueue_many([shop.count.message("x")])
    assert outbox.calls(shop.resize) == [
        {"path": Path("a.png"), "width": 800},
        {"path": Path("b.png"), "width": 3},
    ]
    assert outbox.calls(shop.email) == [shop.email(to="ada", subject="hi")]
    assert outbox.calls(shop.flaky) == []
    assert [message.name.rpartition(".")[2] for message in outbox.messages] == [
        "resize",
        "resize",
        "SendEmail",
        "count",
    ]
    assert outbox.messages[0].priority == 9
    assert shop.book == []


@pytest.mark.parametrize("config", [None, KEYS], ids=["plain", "signed"])
async def test_captured_messages_succeed_with_what_the_test_says(config) -> None:
    """Set before or after the enqueue; None without. It is checked as the task's own result is."""
    shop = Shop(config=config)
    with capture(shop.queue) as outbox:
        before = await shop.resize.enqueue(Path("a.png"))
        assert await before.result() is None
        outbox.set_result(shop.resize, Path("b.png"))
        outbox.set_result(shop.email, 7)
        after = await shop.resize.enqueue(Path("a.png"))
        assert [await one.result(timeout=1) for one in (before, after)] == [Path("b.png"), Path("b.png")]
        assert await (await shop.queue.enqueue(shop.email(to="ada"))).result() == 7
        assert await after.status() is TaskStatus.SUCCESS
        with pytest.raises(ResultMismatchError):
            outbox.set_result(shop.count, "three")  # type: ignore[arg-type]


async def test_capture_ends_with_its_block() -> None:
    """Afterwards the queue is where it was; the outbox can still be read."""
    backend = MemoryBackend()
    shop = Shop(backend)
    with capture(shop.queue) as outbox:
        await shop.count.enqueue("a")
    await shop.count.enqueue("b")
    assert outbox.calls(shop.count) == [{"text": "a"}]
    assert len(await backend.find()) == 1


def test_capture_works_for_plain_code() -> None:
    """Blocking enqueues are captured the same."""
    shop = Shop()
    with capture(shop.queue) as outbox:
        shop.count.enqueue_sync("a")
    assert outbox.calls(shop.count) == [{"text": "a"}]


def test_a_task_of_another_queue_is_not_found() -> None:
    """Asking the wrong outbox is a mistake of the test."""
    shop, other = Shop(), Shop()
    stranger = other.queue.task(name="stranger")(lambda: None)
    with capture(shop.queue) as outbox:
        for no_task in (stranger, len, "count", Path):
            with pytest.raises(TaskNotFoundError, match=r"pass what @queue\.task made"):
                outbox.calls(no_task)  # type: ignore[call-overload]


# drain ----------------------------------------------------------------------------------------------------------------


async def test_drain_runs_what_is_due_and_what_that_enqueues() -> None:
    """By priority, with providers open, until nothing is left."""
    shop = Shop("memory://")
    image = await shop.resize.enqueue(Path("a.png"), width=90)
    parent = await shop.order.enqueue(3)
    assert await drain(shop.queue) == 5
    assert shop.book == ["open", "order", (Path("a.png"), 90, "pool"), "", "x", "xx", "close"]
    assert await image.result(timeout=0) == Path("a.90")
    assert await parent.result(timeout=0) == 3
    assert await drain(shop.queue) == 0


async def test_drain_leaves_what_is_due_later_for_later() -> None:
    """A clock that stands still says when that is; a retry keeps its delay."""
    clock = StillClock()
    shop = Shop(MemoryBackend(clock=clock))
    retried, delayed = await shop.flaky.enqueue(2), await shop.count.using(delay=600).enqueue("later")
    assert await drain(shop.queue) == 1
    assert (await retried.status(), await delayed.status()) == (TaskStatus.RETRY, TaskStatus.PENDING)
    clock.advance(59)
    assert await drain(shop.queue) == 0
    clock.advance(1)
    assert await drain(shop.queue) == 1
    assert await retried.result(timeout=0) == 2
    clock.advance(540)
    assert await drain(shop.queue) == 1


async def test_a_failure_is_the_messages_outcome() -> None:
    """`drain` goes on with the next; the handle raises, with the task's own traceback."""
    clock = StillClock()
    shop = Shop(MemoryBackend(clock=clock))
    failing, other = await shop.flaky.enqueue(9), await shop.count.enqueue("x")
    for _ in range(3):
        await drain(shop.queue)
        clock.advance(60)
    assert await other.result(timeout=0) == 1
    with pytest.raises(MaxRetriesExceededError, match="3 runs") as caught:
        await failing.result(timeout=0)
    assert caught.value.error_type == "OSError"
    assert 'raise OSError("not yet")' in caught.value.traceback_text


async def test_a_drained_task_that_runs_too_long_is_stopped() -> None:
    """Its time limit counts; the caller is not cancelled with it."""
    queue = TaskQueue("memory://")

    @queue.task(timeout=0.01, retry=RetryStrategy.no_retry())
    async def endless() -> None:
        await asyncio.Event().wait()

    handle = await endless.enqueue()
    assert await drain(queue) == 1
    with pytest.raises(TaskTimeoutError, match=r"0\.01"):
        await handle.result(timeout=0)


async def test_draining_leaves_no_trace_of_its_own() -> None:
    """No worker stays registered, and the caller is not taken for a task."""
    shop = Shop("memory://")
    await shop.flaky.enqueue(1)
    await drain(shop.queue)
    assert await (await shop.queue.backend()).workers() == []
    with pytest.raises(QueueError):
        current_task()


async def test_drain_works_on_a_file(tmp_path) -> None:
    """Any backend that a worker can serve."""
    shop = Shop(f"sqlite:///{tmp_path}/tasks.db")
    async with shop.queue:
        handles = await shop.queue.enqueue_many(shop.count.message("x" * number) for number in range(5))
        assert await drain(shop.queue) == 5
        assert [await handle.result(timeout=5) for handle in handles] == [0, 1, 2, 3, 4]


# immediate ------------------------------------------------------------------------------------------------------------


async def test_the_immediate_backend_runs_the_task_inside_enqueue() -> None:
    """Through the same codec, with providers; `created` and status as everywhere."""
    shop = Shop("immediate://")
    handle = await shop.resize.enqueue(Path("a.png"), width=90)
    assert shop.book == ["open", (Path("a.png"), 90, "pool"), "close"]
    assert await handle.status() is TaskStatus.SUCCESS
    assert await handle.result() == Path("a.90")


async def test_immediate_retries_come_at_once() -> None:
    """And count as they do in a worker; a failure is not the enqueue's."""
    shop = Shop("immediate://")
    assert await (await shop.flaky.enqueue(3)).result() == 3
    assert shop.book == [1, 2, 3]
    spent = await shop.flaky.enqueue(4)
    with pytest.raises(MaxRetriesExceededError):
        await spent.result()


async def test_an_immediate_task_may_enqueue_and_wait() -> None:
    """Inside its own enqueue; each run knows its own message."""
    queue = TaskQueue("immediate://", QueueConfig(max_retries=0))
    seen: list[TaskContext] = []

    @queue.task
    async def child(x: int) -> int:
        seen.append(current_task())
        return x + 1

    @queue.task
    async def parent(x: int) -> int:
        before = current_task()
        handles = await asyncio.gather(*(child.enqueue(x + number) for number in range(3)))
        assert current_task() is before
        return sum([await handle.result() for handle in handles])

    handle = await parent.enqueue(1)
    assert await handle.result(timeout=5) == 2 + 3 + 4
    assert len({run.id for run in seen}) == 3
    with pytest.raises(QueueError):
        current_task()


async def test_middleware_stands_around_enqueue_and_run() -> None:
    """The one around the other, as the one happens inside the other here."""
    lines: list[str] = []

    class Book(Middleware):
        async def on_enqueue(self, message: Any, call_next: Next) -> None:
            lines.append("enqueue>")
            await call_next()
            lines.append("<enqueue")

        async def on_run(self, task: TaskContext, call_next: Next) -> Any:
            lines.append("run>")
            value = await call_next()
            lines.append("<run")
            return value * 10

    queue = TaskQueue("immediate://", middleware=[Book()])

    @queue.task
    async def double(x: int) -> int:
        lines.append("double")
        return 2 * x

    assert await (await double.enqueue(4)).result() == 80
    assert lines == ["enqueue>", "run>", "double", "<run", "<enqueue"]


def test_immediate_works_for_plain_code() -> None:
    """Also with a plain function, which runs in a thread."""
    shop = Shop("immediate://")
    assert shop.count.enqueue_sync("abc").result_sync() == 3


def test_plain_tasks_that_enqueue_plain_tasks_do_not_wait_for_each_other() -> None:
    """However deep, and however many at once: each has a thread of its own."""
    queue = TaskQueue("immediate://", QueueConfig(max_retries=0))

    @queue.task
    def nested(depth: int) -> int:
        return depth and 1 + nested.enqueue_sync(depth - 1).result_sync(timeout=30)

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda depth: nested.enqueue_sync(depth).result_sync(timeout=30), [4] * 20)) == [4] * 20
    assert nested.enqueue_sync(50).result_sync(timeout=30) == 50


async def test_an_immediate_task_whose_provider_is_down_is_not_lost() -> None:
    """The enqueue says so, and the message waits for its next chance."""
    queue = TaskQueue("immediate://")
    down = [True]

    @queue.lifespan
    async def pool() -> AsyncIterator[int]:
        if down:
            raise OSError("down")
        yield 7

    @queue.task
    async def use(db: int = Depends(pool)) -> int:
        return db

    with pytest.raises(QueueError, match="pool could not be opened"):
        await use.enqueue()
    down.clear()
    assert await (await use.enqueue()).result() == 7
    backend = await queue.backend()
    assert {record.status for record in await backend.find()} == {TaskStatus.SUCCESS}


async def test_a_delay_is_noted_and_not_waited_for() -> None:
    """Immediate is immediate."""
    shop = Shop("immediate://")
    handle = await shop.count.using(run_at=datetime(2090, 1, 1, tzinfo=UTC)).enqueue("x")
    assert await handle.result(timeout=0) == 1


async def test_a_failed_task_does_not_fail_the_enqueue() -> None:
    """The error is the handle's."""
    queue = TaskQueue("immediate://", QueueConfig(max_retries=0))

    @queue.task
    async def fail() -> None:
        raise KeyError("mine")

    handle = await fail.enqueue()
    with pytest.raises(ExecutionFailedError, match="mine"):
        await handle.result()
