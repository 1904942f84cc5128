"""Workflows whose workers are killed between two steps, side by side on one backend, and what must be so afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reinhardt_tasks import TaskStatus, WorkflowHandle
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import Record
from reinhardt_tasks.workflow import Tree
from tests.integration.apps import flows, mortals
from tests.integration.apps.deaths import BEFORE_ITS_RUN, POINTS
from tests.integration.load import all_records
from tests.integration.site import Crew, Site
from tests.servers import postgres, redis

KINDS = ("sqlite", "redis", "postgres")
"""The backends that outlive a worker's process; the memory backend ends with it."""
PATIENCE = 60.0


def url_of(kind: str, directory: Path) -> str:
    """An empty place of this kind that other processes reach."""
    if kind == "sqlite":
        return f"sqlite:///{directory}/tasks.db"
    if kind == "redis":
        return f"{redis.shared().url()}?prefix={redis.fresh_prefix()}"
    postgres.shared().empty()
    return postgres.shared().url()


@dataclass(frozen=True)
class Case:
    """A workflow of this shape, whose worker dies at the `nth` passing of a point."""

    shape: str
    point: str
    nth: int

    @property
    def name(self) -> str:
        """What tells it from others."""
        return f"{self.shape}-{self.point}-{self.nth}"

    @property
    def queues(self) -> tuple[str, str]:
        """Its own."""
        return f"{self.name}.a", f"{self.name}.b"

    def life(self) -> mortals.Life:
        """That of its worker: one message at a time, so that one alone is lost."""
        return {"name": self.name, "queues": list(self.queues), "slots": 1, "deaths": [(self.point, self.nth)]}


def passings(shape: str, point: str) -> int:
    """How often a worker passes a point when nothing goes wrong."""
    return flows.SHAPES[shape].reads if point == "fetching" else flows.SHAPES[shape].size


def one_of_each(kind: str) -> list[Case]:
    """Every point, each in another shape and at another passing; with all kinds, every point in every shape."""
    shapes = list(flows.SHAPES)
    turn = KINDS.index(kind)
    chosen = [(point, shapes[(row + turn) % len(shapes)]) for row, point in enumerate(POINTS)]
    return [
        Case(shape, point, 1 + (2 * row + turn) % passings(shape, point)) for row, (point, shape) in enumerate(chosen)
    ]


def all_of_them() -> list[Case]:
    """Every passing of every point in every shape."""
    return [
        Case(shape, point, nth)
        for shape in flows.SHAPES
        for point in POINTS
        for nth in range(1, passings(shape, point) + 1)
    ]


def start(place: Site, lives: Iterable[mortals.Life]) -> Crew:
    """Have workers live these lives."""
    return place.run("-m", "tests.integration.apps.mortals", json.dumps(list(lives)))


async def survive(place: Site, backend: TaskBackend, cases: list[Case]) -> None:
    """Run the cases side by side; each one's worker dies once, and all that must be so is so."""
    handles = {case: await flows.queue.enqueue(flows.SHAPES[case.shape].make(*case.queues)) for case in cases}
    start(place, [case.life() for case in cases])
    for case, handle in handles.items():
        assert await handle.result(PATIENCE) == flows.SHAPES[case.shape].result, case.name
    for case, handle in handles.items():
        await _check(place, backend, case, handle)


async def _check(place: Site, backend: TaskBackend, case: Case, handle: WorkflowHandle) -> None:
    deaths = place.entries(f"killed:{case.name}")
    assert len(deaths) == 1, f"{case.name}: the worker did not pass this point so often"
    tree = await handle.tree()
    records = {record.id: record for record in await all_records(backend, list(tree.nodes))}
    assert_released_once(place, tree, records.values(), case.name)
    assert sum(record.losses for record in records.values()) <= 1, case.name
    victim = next((record for record in records.values() if str(record.id) == deaths[0].id), None)
    if victim is not None:
        lost = case.point != "settled"
        again = lost and case.point not in BEFORE_ITS_RUN and not is_built_in(victim)
        assert victim.losses == lost, case.name
        assert place.runs()[deaths[0].id] == (0 if is_built_in(victim) else 1 + again), case.name


def assert_released_once(place: Site, tree: Tree, records: Iterable[Record], name: str) -> None:
    """Each step ran, none more often than workers were lost under it, and none before the last run of all it waits for.

    So each was released by the success of the last of those, and by no other. Moments are of one clock, the tasks' own:
    a broker's, beside it, may be off by more than a step takes.
    """
    ended = {record.id: record for record in records}
    assert {record.status for record in ended.values()} == {TaskStatus.SUCCESS}, name
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for entry in place.entries("run"):
        first.setdefault(entry.id, entry.at)
        last[entry.id] = entry.at
    runs = place.runs()
    for node in tree.nodes.values():
        record = ended[node.id]
        if is_built_in(record):
            continue
        assert 1 <= runs[str(node.id)] <= 1 + record.losses, f"{name}: {node}"
        ready = max((last.get(str(parent), 0.0) for parent in node.parents), default=0.0)
        assert first[str(node.id)] >= ready, f"{name}: {node}"


def is_built_in(record: Record) -> bool:
    """Whether it only holds the workflow together, and writes nothing down."""
    return record.name.startswith("reinhardt_tasks.")
