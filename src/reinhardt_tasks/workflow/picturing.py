"""A workflow as the nodes of a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Reason
from reinhardt_tasks.names import OWN_QUEUE
from reinhardt_tasks.picture import Node as Drawn
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.builtin import EXPIRE
from reinhardt_tasks.workflow.reading import Node, Tree

_BUILT_IN: Final = "reinhardt_tasks.workflow."
"""What the names of tasks begin with that hold workflows together."""


def pictured(tree: Tree) -> list[Drawn]:
    """The nodes as pictures have them, without the timer; the queue is told where it is not that of the last step."""
    nodes = [node for node in tree.nodes.values() if node.task != EXPIRE]
    labels, culprits = _labels(nodes), _culprits(tree)
    usual = next((node.queue for node in reversed(nodes) if node.queue != OWN_QUEUE), OWN_QUEUE)
    return [
        Drawn(
            id=str(node.id),
            label=labels[node.id],
            task="" if node.label == node.task else node.task,
            status=node.status,
            parents=tuple(str(parent) for parent in node.parents),
            note=" · ".join(_notes(node, _told(tree.nodes[culprits[node.id]], labels), usual)),
        )
        for node in nodes
    ]


def _labels(nodes: Sequence[Node]) -> dict[TaskId, str]:
    """The nodes' labels: what several steps of different tasks share is told with the task.

    Those of a group, which are called the same, have their place in its list of results behind it.
    """
    tasks: defaultdict[str, set[str]] = defaultdict(set)
    for node in nodes:
        tasks[node.label].add(node.task)
    groups: defaultdict[tuple[str, tuple[TaskId, ...]], list[TaskId]] = defaultdict(list)
    for node in nodes:
        own = f": {node.task.rpartition('.')[2]}" if len(tasks[node.label]) > 1 else ""
        groups[node.label.removeprefix(_BUILT_IN) + own, node.parents].append(node.id)
    found: dict[TaskId, str] = {}
    for (label, _), ids in groups.items():
        found |= {id: f"{label}[{place}]" if len(ids) > 1 else label for place, id in enumerate(ids)}
    return found


def _culprits(tree: Tree) -> dict[TaskId, TaskId]:
    """For each node the one for whose sake it was cancelled; itself where that is not known, or did not happen."""
    found: dict[TaskId, TaskId] = {}
    for start in tree.nodes.values():
        node, way = start, [start.id]
        while node.id not in found and (fallen := _fallen(tree, node)) is not None:
            node = fallen
            way.append(node.id)
        found |= dict.fromkeys(way, found.get(node.id, node.id))
    return found


def _fallen(tree: Tree, node: Node) -> Node | None:
    """Of what a cancelled node waited for, one that did not succeed; rather one that was not itself cancelled so."""
    if node.reason is not Reason.PARENT_FAILED:
        return None
    parents = [tree.nodes[parent] for parent in node.parents if parent in tree.nodes]
    fallen = [parent for parent in parents if parent.reason is not None and parent.status is not TaskStatus.SUCCESS]
    return next((parent for parent in fallen if parent.reason is not Reason.PARENT_FAILED), next(iter(fallen), None))


def _told(culprit: Node, labels: Mapping[TaskId, str]) -> str:
    if culprit.reason is Reason.PARENT_FAILED:
        return culprit.reason.value
    ended = "failed" if culprit.status is TaskStatus.FAILURE else "was cancelled"
    return f"{labels.get(culprit.id, culprit.label)} {ended}"


def _notes(node: Node, culprit: str, usual: str) -> Iterable[str]:
    if node.reason is Reason.PARENT_FAILED:
        yield culprit
    elif node.reason in {Reason.FAILED, Reason.RETRIES_SPENT} and node.error:
        yield node.error
    elif node.reason is not None:
        yield f"{node.reason.value}: {node.error or ''}".removesuffix(": ")
    if node.attempts:
        yield f"{node.attempts} failed run{'' if node.attempts == 1 else 's'}"
    if node.queue not in (usual, OWN_QUEUE):
        yield f"queue {node.queue}"
