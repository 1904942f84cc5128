"""A program whose forked producers die while they store a workflow; once the gate is open it sends each one again."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

from reinhardt_tasks import TaskChainBuilder, TaskGroup
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.workflow import Workflow
from reinhardt_tasks.workflow.plan import planned
from tests.integration.apps.deaths import Death
from tests.integration.apps.flows import number, plus, queue, total
from tests.integration.apps.jobs import gate, write

WIDTH: Final = MAX_BATCH + 1


def wide() -> Workflow[Any]:
    """More messages than one call stores."""
    return TaskGroup([number.message(1) for _ in range(WIDTH)], total.step())


def keyed() -> Workflow[Any]:
    """Held until it is known that its key is free."""
    return TaskChainBuilder("keyed").add(number.message(1)).add(plus.using(unique_key="one at a time").step(1)).build()


DEATHS: Final = {
    "putting-2": (wide, "putting", 2),
    "starting": (wide, "starting", 1),
    "started": (wide, "started", 1),
    "keyed": (keyed, "starting", 1),
}
"""Between the two calls that store what is wide; before what starts it; after that; and where a key is held."""


def send(workflow: Workflow[Any]) -> None:
    """Store and start it, from a loop of this process's own."""

    async def connected() -> None:
        async with queue:
            await queue.enqueue(workflow)

    asyncio.run(connected())


def main() -> None:
    """Each dies in a process of its own, with the same messages that are sent again."""
    workflows = {name: make() for name, (make, _, _) in DEATHS.items()}
    for name, workflow in workflows.items():
        plan = planned(workflow, queue.seal, queue.config)
        write(f"{plan.id} 0 {os.getpid()} planned:{name}")
        if not (child := os.fork()):
            Death(name, *DEATHS[name][1:]).await_producer(type(queue.connect()))
            send(workflow)
            os._exit(1)
        os.waitpid(child, 0)
    write(f"- 0 {os.getpid()} died")
    while not gate().exists():
        time.sleep(0.02)
    for workflow in workflows.values():
        send(workflow)
    write(f"- 0 {os.getpid()} sent")


if __name__ == "__main__":
    main()
