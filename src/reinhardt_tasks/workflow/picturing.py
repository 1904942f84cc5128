"""A workflow as the nodes of a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Reason
from reinhardt_tasks.picture import Node as Drawn
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.reading import Node, Tree

_BUILT_IN: Final = "reinhardt_tasks.workflow."
"""What the names of tasks begin with that hold workflows together."""


def pictured(tree: Tree) -> list[Drawn]:
    """The nodes as pictures have them; the queue is told where there are several."""
    several = len({node.queue for node in tree.nodes.values()}) > 1
    labels, culprits = _labels(tree.nodes.values()), _culprits(tree)
    return [
        Drawn(
            id=str(node.id),
            label=labels[node.id],
            task="" if node.label == node.task else node.task,
            status=node.status,
            parents=tuple(str(parent) for parent in node.parents),
            note=" · ".join(_notes(node, _told(tree.nodes[culprits[node.id]], labels), several=several)),
        )
        for node in tree.nodes.values()
    ]


def _labels(nodes: Collection[Node]) -> dict[TaskId, str]:
    """The nodes' labels; those of a group, which are called the same, with their place in its list of results."""
    groups: defaultdict[tuple[object, ...], list[TaskId]] = defaultdict(list)
    for node in nodes:
        groups[node.label.removeprefix(_BUILT_IN), node.parents].append(node.id)
    found: dict[TaskId, str] = {}
    for (label, *_), ids in groups.items():
        found |= {id: f"{label}[{place}]" if len(ids) > 1 else str(label) for place, id in enumerate(ids)}
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
    return f"{labels[culprit.id]} {'failed' if culprit.status is TaskStatus.FAILURE else 'was cancelled'}"


def _notes(node: Node, culprit: str, *, several: bool) -> Iterable[str]:
    if node.reason is Reason.PARENT_FAILED:
        yield culprit
    elif node.reason in {Reason.FAILED, Reason.RETRIES_SPENT} and node.error:
        yield node.error
    elif node.reason is not None:
        yield f"{node.reason.value}: {node.error or ''}".removesuffix(": ")
    if node.attempts:
        yield f"{node.attempts} failed run{'' if node.attempts == 1 else 's'}"
    if several:
        yield f"queue {node.queue}"
