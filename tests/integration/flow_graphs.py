"""Workflows of the model, made real and run by a worker, and compared with what the model says."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings

from reinhardt_tasks import (
    RetryStrategy,
    TaskChainBuilder,
    TaskDAG,
    TaskGroup,
    TaskOutput,
    TaskQueue,
    TaskStatus,
    current_task,
)
from reinhardt_tasks.message import decode_envelope
from tests.integration.flow_model import EXHAUSTED, RETRIES, Chain, End, Fate, Graph, Group, Leaf, Part, blend, plain
from tests.integration.mortality import is_built_in
from tests.servers import postgres, redis
from tests.workshop import work_off

queue = TaskQueue("memory://")
AGAIN = RetryStrategy.fixed_delay(0, max_retries=RETRIES)
QUICK = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
_numbers = itertools.count()
events: list[tuple[str, str]] = []
"""What steps did, in order."""


@queue.task(retry=AGAIN)
async def act(name: str, fails: int) -> int:
    """Takes nothing."""
    return _done(name, fails, None)


@queue.task(retry=AGAIN)
async def take(before: Any, name: str, fails: int) -> int:
    """Takes the result before it."""
    return _done(name, fails, before)


@queue.task(retry=AGAIN)
async def join(name: str, fails: int, a: Any = None, b: Any = None, c: Any = None) -> int:
    """Takes up to three results."""
    return _done(name, fails, [one for one in (a, b, c) if one is not None])


def _done(name: str, fails: int, given: Any) -> int:
    events.append(("begin", name))
    if current_task().attempt <= fails:
        raise ValueError(name)
    events.append(("end", name))
    return blend(name, given)


def fresh_url(kind: str, directory: Path) -> str:
    """A place where nobody else's workflow is."""
    if kind == "sqlite":
        return f"sqlite:///{directory}/{next(_numbers)}.db"
    if kind == "redis":
        return f"{redis.shared().url()}?prefix={redis.fresh_prefix()}"
    return postgres.shared().url() if kind == "postgres" else "memory://"


def made(part: Part) -> Any:
    """The part as the queue takes it."""
    match part:
        case Leaf():
            options: Any = {"queue": part.queue, "priority": part.priority}
            if part.takes:
                return take.using(**options).step(name=part.name, fails=part.fails)
            return act.using(**options).message(part.name, part.fails)
        case Chain():
            return TaskChainBuilder("chain").add_all(made(one) for one in part.parts).build()
        case Group():
            callback = None if part.callback is None else made(part.callback)
            return TaskGroup([made(one) for one in part.members], callback, return_errors=part.errors)
        case Graph():
            return _graph(part)


def _graph(graph: Graph) -> TaskDAG:
    dag = TaskDAG("graph")
    for number, node in enumerate(graph.nodes):
        after = [f"n{other}" for other in node.after]
        if node.joins and isinstance(leaf := node.part, Leaf):
            task = join.using(queue=leaf.queue, priority=leaf.priority)
            given = {"name": leaf.name, "fails": leaf.fails}
            dag.add(f"n{number}", task, kwargs=given, after=dict(zip("abc", after, strict=False)))
        else:
            dag.add(f"n{number}", made(node.part), after=after)
    return dag


async def comes_true(url: str, part: Part) -> None:
    """Run a workflow at `url`, and hold what became of it against the model."""
    fate = Fate()
    end = fate.of(part, None)
    events.clear()
    with queue.override(url):
        async with queue:
            handle = await queue.enqueue(made(part))
            await work_off(queue)
            ended = await handle.outcome(0)
            if fate.statuses:
                assert await _statuses(made_of=list((await handle.tree()).nodes)) == fate.statuses
    _check_end(ended, end)
    assert Counter(name for what, name in events if what == "begin") == +fate.runs
    _check_order(fate)


def _check_end(ended: object, end: End) -> None:
    if end.error is None:
        assert isinstance(ended, TaskOutput), ended
        assert plain(ended.value) == plain(end.value)
    else:
        assert type(ended).__name__ == EXHAUSTED


def _check_order(fate: Fate) -> None:
    """Each step began when all it waits for had ended for good."""
    last = {name: place for place, (_, name) in enumerate(events)}
    first: dict[str, int] = {}
    for place, (_, name) in enumerate(events):
        first.setdefault(name, place)
    early = {(name, one) for name, after in fate.after.items() for one in after if last[one] > first[name]}
    assert not early


async def _statuses(made_of: list[Any]) -> dict[str, TaskStatus]:
    """How each step stands, by its name."""
    backend = await queue.backend()
    found: dict[str, TaskStatus] = {}
    for record in await backend.get(made_of, body=True):
        assert record is not None
        assert record.body is not None
        if not is_built_in(record):
            arguments = msgspec.msgpack.decode(decode_envelope(queue.seal.open(record.body)).a)
            found[arguments["name"]] = record.status
    return found
