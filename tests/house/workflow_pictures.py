"""The pictures of docs/workflows.md, drawn of workflows that stand as they would in the middle of their work.

`python -m tests.house.workflow_pictures` draws them anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reinhardt_tasks import TaskChainBuilder, TaskDAG, TaskGroup, TaskQueue
from reinhardt_tasks.message import ErrorRecord, Outcome, Reason
from reinhardt_tasks.picture import drawn
from reinhardt_tasks.workflow import Workflow
from reinhardt_tasks.workflow.picturing import pictured
from tests.work import Hands

IMAGES = Path(__file__).parents[2] / "docs" / "img"
queue = TaskQueue("memory://")


@queue.task(name="fetch")
async def fetch(url: str) -> bytes:
    """Stands for a download."""
    return url.encode()


@queue.task(name="resize")
async def resize(image: bytes, width: int) -> bytes:
    """Stands for work on what was downloaded."""
    return image[:width]


@queue.task(name="sheet")
async def sheet(images: list[bytes]) -> bytes:
    """Stands for what takes all results."""
    return b"".join(images)


@queue.task(name="publish")
async def publish(page: bytes) -> int:
    """Stands for a last step."""
    return len(page)


@queue.task(name="total")
async def total(orders: bytes, prices: bytes) -> bytes:
    """Stands for what takes two results."""
    return orders + prices


def chain() -> Workflow[Any]:
    """Steps in order."""
    return TaskChainBuilder("album").add(fetch.message("a")).add(resize.step(90)).add(publish.step()).build()


def group() -> Workflow[Any]:
    """Members side by side, and a callback."""
    return TaskGroup([fetch.message(name) for name in "abcd"], sheet.step(), name="album")


def graph() -> Workflow[Any]:
    """Nodes by name; two of them are sinks."""
    dag = TaskDAG("report")
    dag.add("orders", fetch, kwargs={"url": "orders"})
    dag.add("prices", fetch, kwargs={"url": "prices"})
    dag.add("total", total, after={"orders": "orders", "prices": "prices"})
    dag.add("mail", publish, after={"page": "total"})
    dag.add("archive", publish, after={"page": "orders"})
    return dag


def nested() -> Workflow[Any]:
    """A group of chains inside a chain."""
    members = [TaskChainBuilder().add(resize.step(width)).add(resize.step(9)).build() for width in (90, 180, 360)]
    inner = TaskGroup(members, sheet.step())
    return TaskChainBuilder("album").add(fetch.message("a")).add(inner).add(publish.step()).build()


PICTURES: Mapping[str, tuple[str, Callable[[], Workflow[Any]], str]] = {
    "workflow-chain": ("A chain of three steps, the second of which runs", chain, "sr"),
    "workflow-group": ("A group of four with a callback", group, "ssrr"),
    "workflow-graph": ("A graph of five nodes, two of which nobody waits for", graph, "ssr"),
    "workflow-nested": ("A group of chains inside a chain", nested, "sssr"),
    "workflow-failed": ("The same after a step has failed", nested, "sfsss"),
}
"""By file: the title, the workflow, and what became of its messages in the order they begin: success, failure, runs."""


async def picture(title: str, made: Callable[[], Workflow[Any]], course: str) -> str:
    """The drawing of a workflow after so many of its messages have begun."""
    with queue.override("memory://"):
        handle = await queue.enqueue(made())
        hands = Hands(await queue.backend())
        claims = []
        for what in course:
            claims.append(await hands.take())
            if what == "s":
                await hands.settle(Outcome.success(claims[-1], b"\xc4\x00"))
            elif what == "f":
                error = ErrorRecord("ValueError", "no such image", reason=Reason.RETRIES_SPENT)
                await hands.settle(Outcome.failure(claims[-1], error))
        tree = await handle.tree()
    numbers = {node.id: str(number) for number, node in enumerate(pictured(tree), 1)}
    nodes = [
        replace(node, id=numbers[node.id], parents=tuple(numbers[parent] for parent in node.parents))
        for node in pictured(tree)
    ]
    return drawn(nodes, title=title)


def pictures() -> dict[str, str]:
    """All pictures by the names of their files."""
    return {f"{name}.svg": asyncio.run(picture(*shown)) for name, shown in PICTURES.items()}


if __name__ == "__main__":
    for name, svg in pictures().items():
        (IMAGES / name).write_text(svg)
