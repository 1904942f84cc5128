"""Steps in queues of their own, with priorities, keys that are held, and sealed; and a requeue far inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reinhardt_tasks import (
    ExecutionFailedError,
    QueueConfig,
    RetryStrategy,
    TaskChainBuilder,
    TaskDAG,
    TaskError,
    TaskGroup,
    TaskQueue,
    TaskStatus,
)
from tests.integration.flow_graphs import fresh_url
from tests.servers import postgres
from tests.workshop import at_work, work_off

LONG = 30.0
KEYS = {"secret_keys": ["a secret of the tests"], "encryption_keys": ["another secret of the tests"]}

queue = TaskQueue("memory://")
sealed = TaskQueue("memory://", QueueConfig(**KEYS))
STRANGE = QueueConfig(encryption_keys=["a key of somebody else"])
started: list[str] = []
"""The names of the steps that began, in order."""
broken: set[str] = set()
"""Those that fail."""


@queue.task(retry=RetryStrategy.no_retry())
async def step(given: list[str], name: str) -> list[str]:
    """What it is given, and its name."""
    started.append(name)
    if name in broken:
        raise ValueError(f"{name} is broken")
    return [*given, name]


@queue.task
async def flat(lists: list[list[str]]) -> list[str]:
    """One list of many."""
    return [one for part in lists for one in part]


@sealed.task(retry=RetryStrategy.no_retry())
async def secret(text: str) -> str:
    """The text, unless there is none."""
    if not text:
        raise ValueError("no text")
    return text


@sealed.task
async def together(texts: list[str | TaskError]) -> str:
    """Texts, one after the other, without errors."""
    return " ".join(text for text in texts if isinstance(text, str))


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place for messages, with the queue on it."""
    if request.param == "postgres":
        postgres.shared().empty()
    started.clear()
    broken.clear()
    place = fresh_url(request.param, tmp_path)
    with queue.override(place):
        yield place


def first(name: str, **options: Any) -> Any:
    """A step that is given nothing."""
    return step.using(**options).message([], name)


async def test_a_graph_runs_where_its_steps_say_and_the_most_urgent_first(url: str) -> None:
    """One worker for each of two queues: each has its own steps; those released together go by their priorities."""
    async with queue:
        dag = TaskDAG("graph")
        dag.add("top", first("top", queue="left"))
        for priority in (3, 9, 1, 6):
            side = step.using(queue="right", priority=priority)
            dag.add(f"side{priority}", side.step(name=f"side{priority}"), after=["top"])
        sides = TaskGroup([step.using(queue=name).step(name=f"end-{name}") for name in ("left", "right")])
        dag.add("ends", sides, after=["side1"])
        handle = await queue.enqueue(dag)
        await work_off(queue, queues=["right"])
        assert started == []
        await work_off(queue, queues=["left"])
        assert started == ["top"]
        await work_off(queue, queues=["right"], concurrency=1, prefetch=0)
        assert started == ["top", "side9", "side6", "side3", "side1", "end-right"]
        async with at_work(queue, queues=["left"]), at_work(queue, queues=["right"]):
            result = await handle.result(LONG)
        assert result["side9"] == ["top", "side9"]
        assert result["ends"] == [["top", "side1", "end-left"], ["top", "side1", "end-right"]]


async def test_a_requeue_far_inside_goes_on_from_there(url: str) -> None:
    """In a chain in a group in a graph: what was done is not done again, what was cancelled for it comes back."""
    broken.add("b2")
    async with queue:
        chains = [
            TaskChainBuilder(name).add(step.step(name=f"{name}1")).add(step.step(name=f"{name}2")).build()
            for name in ("a", "b")
        ]
        dag = TaskDAG("deep")
        dag.add("top", first("top"))
        dag.add("wide", TaskGroup(chains, flat.step()), after=["top"])
        dag.add("low", step.step(name="low"), after=["wide"])
        dag.add("beside", step.step(name="beside"), after=["top"])
        handle = await queue.enqueue(dag)
        await work_off(queue)
        with pytest.raises(ExecutionFailedError, match="b2 is broken") as failed:
            await handle.result(LONG)
        assert sorted(started) == ["a1", "a2", "b1", "b2", "beside", "top"]
        nodes = (await handle.tree()).nodes.values()
        assert {node.label for node in nodes if node.status is TaskStatus.CANCELLED} >= {"low"}
        broken.clear()
        started.clear()
        culprit = queue.handle(str(failed.value.task_id)).id
        assert await (await queue.backend()).requeue([culprit]) == [True]
        await work_off(queue)
        low = ["top", "a1", "a2", "top", "b1", "b2", "low"]
        assert await handle.result(LONG) == {"low": low, "beside": ["top", "beside"]}
        assert started == ["b2", "low"]


async def test_a_step_holds_its_key_from_the_start_until_it_has_ended(url: str) -> None:
    """Also while it waits for others: who sends the same meanwhile is given that step, later one of his own."""
    async with queue:
        keyed = step.using(unique_key="one")
        handle = await queue.enqueue(TaskChainBuilder().add(first("top")).add(keyed.step(name="held")).build())
        twin = await keyed.enqueue([], "twin")
        assert (twin.created, twin.id) == (False, handle.id)
        await work_off(queue)
        assert await twin.result(LONG) == ["top", "held"]
        other = await keyed.enqueue([], "twin")
        await work_off(queue)
        assert (other.created, await other.result(LONG)) == (True, ["twin"])
        assert started == ["top", "held", "twin"]


async def test_signed_and_encrypted_results_are_handed_on(url: str) -> None:
    """Errors as values and gathered lists too; nothing in the store is legible, and other keys open nothing."""
    with sealed.override(url):
        async with sealed:
            members = [secret.message("hush"), secret.message(""), secret.message("now")]
            quiet = TaskGroup(members, together.step(), return_errors=True)
            handle = await sealed.enqueue(TaskChainBuilder().add(quiet).add(TaskGroup([secret.step()] * 2)).build())
            await work_off(sealed)
            assert await handle.result(LONG) == ["hush now", "hush now"]
            stored = await (await sealed.backend()).get(list((await handle.tree()).nodes), body=True)
            legible = [one for one in stored if one and b"hush" in (one.body or b"") + (one.result or b"")]
            assert legible == []
            strange = TaskQueue((await sealed.backend()).sibling(), STRANGE)
            async with strange:
                with pytest.raises(TaskError, match="key"):
                    await strange.workflow(handle.id).result(LONG)
