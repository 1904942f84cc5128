"""An application of steps that write down that they run, and the workflows that tests make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reinhardt_tasks import QueueConfig, TaskChainBuilder, TaskDAG, TaskGroup, TaskQueue
from reinhardt_tasks.workflow import Workflow
from tests.integration.apps.jobs import gate, note

queue = TaskQueue(config=QueueConfig(max_losses=1_000))


@queue.task
async def number(value: int) -> int:
    """Itself."""
    note("run")
    return value


@queue.task
async def plus(value: int, other: int) -> int:
    """Two numbers."""
    note("run")
    return value + other


@queue.task
async def total(values: list[int]) -> int:
    """Many numbers."""
    note("run")
    return sum(values)


@queue.task
async def gated(value: int) -> int:
    """Itself, once the test says so."""
    note("begin")
    while not gate().exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    return value


@dataclass(frozen=True)
class Shape:
    """A workflow to make: of how many messages, how often their inputs are read, and what comes out of it."""

    make: Callable[[str, str], Workflow[Any]]
    size: int
    reads: int
    result: object


def _chain(queue: str, other: str) -> Workflow[Any]:
    add = plus.using(queue=queue)
    parts = (number.using(queue=queue).message(1), add.step(1), plus.using(queue=other).step(2), add.step(3))
    return TaskChainBuilder("chain").add_all(parts).build()


def _group(queue: str, other: str) -> Workflow[Any]:
    members = [number.using(queue=queue).message(value) for value in range(4)]
    return TaskGroup(members, total.using(queue=other).step())


def _graph(queue: str, other: str) -> Workflow[Any]:
    """Two queues, four priorities, a group in the middle whose results two nodes take."""
    dag = TaskDAG("graph")
    dag.add("first", number.using(queue=queue, priority=9), kwargs={"value": 1})
    dag.add("low", plus.using(queue=other, priority=1), kwargs={"other": 1}, after={"value": "first"})
    dag.add("high", plus.using(queue=queue, priority=8), kwargs={"other": 10}, after={"value": "first"})
    wide = TaskGroup([plus.using(queue=one, priority=3).step(0) for one in (queue, other)])
    dag.add("wide", wide, after=["low"])
    dag.add("sum", total.using(queue=other), after={"values": "wide"})
    dag.add("same", total.using(queue=queue, priority=0), after={"values": "wide"})
    dag.add("both", plus.using(queue=queue), after={"value": "sum", "other": "high"})
    return dag


SHAPES: Final = {
    "chain": Shape(_chain, size=4, reads=3, result=7),
    "group": Shape(_group, size=5, reads=1, result=6),
    # One message more than nodes gathers what is wide, one the results of the sinks; whoever takes what is gathered
    # reads twice.
    "graph": Shape(_graph, size=10, reads=9, result={"same": 4, "both": 15}),
}

_WIDTH: Final = 200
NESTED_RESULT: Final = _WIDTH * (_WIDTH * 2 + 1)
"""What `nested` comes to."""


def nested(queue: str, other: str) -> Workflow[Any]:
    """Chains in groups in a chain, over two queues."""
    wide = [
        TaskGroup([_two_steps(queue, other) for _ in range(_WIDTH)], total.using(queue=one, priority=7).step())
        for one in (queue, other)
    ]
    return TaskChainBuilder("nested").add(number.using(queue=queue).message(1)).add_all(wide).build()


def _two_steps(queue: str, other: str) -> Workflow[Any]:
    return TaskChainBuilder("two").add(plus.using(queue=queue).step(0)).add(plus.using(queue=other).step(1)).build()
