"""A workflow as its backend knows it: every message of it, with what it waits for and how it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final

from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError, SerializationError
from reinhardt_tasks.handle import Place
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Envelope, ErrorRecord, Reason, Record, decode_envelope
from reinhardt_tasks.status import FALLEN, TaskStatus
from reinhardt_tasks.workflow.expression import parents_in

_UNREADABLE: Final = Envelope(b"", "", "", b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One message of a workflow. `parents` are the messages it waits for, or waited for.

    `label` is the step's own name where it has one (a node of a graph), else its task's. `reason` and `error` say why
    it failed or was cancelled. `readable` is False where its envelope could not be opened: the parents are not known.
    """

    id: TaskId
    label: str
    task: str
    queue: str
    priority: int
    status: TaskStatus
    parents: tuple[TaskId, ...] = ()
    attempts: int = 0
    waiting_on: int = 0
    reason: Reason | None = None
    error: str | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A workflow: the `id` of the message that ends it, its `name`, and its nodes by id, parents first."""

    id: TaskId
    name: str
    nodes: dict[TaskId, Node]

    @property
    def end(self) -> Node:
        """The message whose end is the workflow's."""
        return self.nodes[self.id]

    def culprits(self) -> dict[TaskId, Node]:
        """For each node the one for whose sake it was cancelled; itself where that is not known, or did not happen."""
        found: dict[TaskId, Node] = {}
        for start in self.nodes.values():
            node, way = start, [start.id]
            while node.id not in found and (fallen := self._fallen_before(node)) is not None:
                node = fallen
                way.append(node.id)
            found |= dict.fromkeys(way, found.get(node.id, node))
        return found

    def _fallen_before(self, node: Node) -> Node | None:
        """Of what a cancelled node waited for, one that fell; rather one that was not itself cancelled so."""
        if node.reason is not Reason.PARENT_FAILED:
            return None
        fallen = [self.nodes[id] for id in node.parents if id in self.nodes and self.nodes[id].status in FALLEN]
        first = (parent for parent in fallen if parent.reason is not Reason.PARENT_FAILED)
        return next(first, fallen[0] if fallen else None)


async def read(place: Place, id: TaskId) -> Tree:
    """The workflow that the message `id` ends or belongs to; a message of none is a tree of one node.

    Two calls of the backend for each 200 messages, so what changes meanwhile may be seen in part. Raises
    BackendTaskNotFoundError for an unknown id.
    """
    backend = await place.backend()
    start = (await backend.get([id]))[0]
    if start is None:
        raise BackendTaskNotFoundError(task_id=str(id))
    end = start.workflow or id
    nodes: dict[TaskId, Node] = {}
    name = ""
    async for page in pages(backend, end if start.workflow is not None else None, also=end):
        for record in await backend.get(page, body=True):
            if record is not None:
                envelope = _envelope(place, record)
                nodes[record.id] = _node(record, envelope)
                name = (envelope.f or name) if record.id == end else name
    if end not in nodes:
        raise BackendTaskNotFoundError(task_id=str(end))
    return Tree(id=end, name=name, nodes=_ordered(nodes))


def _ordered(nodes: dict[TaskId, Node]) -> dict[TaskId, Node]:
    """The nodes such that each comes after its parents, by their ids where that leaves a choice."""
    parents = {id: [one for one in nodes[id].parents if one in nodes] for id in sorted(nodes)}
    try:
        return {id: nodes[id] for id in TopologicalSorter(parents).static_order()}
    except CycleError:  # only in what somebody has tampered with
        return dict(sorted(nodes.items()))


async def pages(backend: TaskBackend, workflow: TaskId | None, *, also: TaskId) -> AsyncIterator[list[TaskId]]:
    """The ids of a workflow's messages, at most 200 at a time, and that of `also`, once."""
    told = False
    before: TaskId | None = None
    while workflow is not None:
        found = await backend.find(workflow=workflow, before=before, limit=MAX_PAGE)
        if not found:
            break
        page = [record.id for record in found]
        told = told or also in page
        before = page[-1]
        yield page
    if not told:
        yield [also]


def _envelope(place: Place, record: Record) -> Envelope:
    """The envelope of a record, an empty one where it cannot be opened here."""
    try:
        return decode_envelope(place.seal.open(record.body or b""))
    except SerializationError:
        return _UNREADABLE


def _node(record: Record, envelope: Envelope) -> Node:
    error = ErrorRecord.decode(record.error) if record.error else None
    return Node(
        id=record.id,
        label=envelope.s or record.name,
        task=record.name,
        queue=record.queue,
        priority=record.priority,
        status=record.status,
        parents=_parents(envelope),
        attempts=record.attempts,
        waiting_on=record.waiting_on,
        reason=None if error is None else error.reason,
        error=None if error is None else error.message,
        readable=envelope is not _UNREADABLE,
    )


def _parents(envelope: Envelope) -> tuple[TaskId, ...]:
    try:
        return tuple(parents_in(envelope))
    except SerializationError:
        return ()
