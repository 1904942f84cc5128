"""The widest and the longest workflows, on each backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reinhardt_tasks import TaskChainBuilder, TaskGroup, TaskQueue
from tests.integration.flow_graphs import fresh_url
from tests.servers import postgres
from tests.workshop import at_work

queue = TaskQueue("memory://")
PATIENCE = 90.0


@queue.task
async def itself(number: int) -> int:
    """The number."""
    return number


@queue.task
async def after(number: int) -> int:
    """The next number."""
    return number + 1


@queue.task
async def ordered(numbers: list[int]) -> bool:
    """Whether they are the numbers from 0, in order."""
    return numbers == list(range(len(numbers)))


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """The queue, on this backend."""
    if request.param == "postgres":
        postgres.shared().empty()
    with queue.override(fresh_url(request.param, tmp_path)):
        yield


async def test_ten_thousand_results_are_gathered_in_order(place) -> None:
    """By the callback of one group, which was enqueued in one call."""
    async with queue, at_work(queue, concurrency=50):
        group = TaskGroup([itself.message(number) for number in range(10_000)], ordered.step())
        handle = await queue.enqueue(group)
        assert await handle.result(PATIENCE) is True
        progress = await handle.progress()
        assert progress is not None
        assert (progress.done, progress.total) == (10_001, 10_001)


async def test_a_thousand_steps_follow_each_other(place) -> None:
    """Each is given what the one before it made."""
    async with queue, at_work(queue):
        chain = TaskChainBuilder("long").add(itself.message(0)).add_all(after.step() for _ in range(999)).build()
        assert await (await queue.enqueue(chain)).result(PATIENCE) == 999
