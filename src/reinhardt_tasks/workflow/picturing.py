"""A workflow as the nodes of a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Reason
from reinhardt_tasks.names import OWN_QUEUE
from reinhardt_tasks.picture import Node as Drawn
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.builtin import EXPIRE
from reinhardt_tasks.workflow.laying import BUILT_IN_NAMES
from reinhardt_tasks.workflow.reading import Node, Tree


def pictured(tree: Tree) -> list[Drawn]:
    """The nodes as pictures have them, without the timer; the queue is told where it is not that of the last step."""
    nodes = [node for node in tree.nodes.values() if node.task != EXPIRE]
    labels, culprits = _labels(nodes), tree.culprits()
    usual = next((node.queue for node in reversed(nodes) if node.queue != OWN_QUEUE), OWN_QUEUE)
    return [
        Drawn(
            id=str(node.id),
            label=labels[node.id],
            task="" if node.label == node.task else node.task,
            status=node.status,
            parents=tuple(str(parent) for parent in node.parents),
            note=" · ".join(_notes(node, _told(culprits[node.id], labels), usual)),
        )
        for node in nodes
    ]


def _labels(nodes: Sequence[Node]) -> dict[TaskId, str]:
    """The nodes' labels: what several steps of different tasks share is told with the task.

    Those of a group, which are called the same, have a number behind it, in the order of its list of results.
    """
    tasks: defaultdict[str, set[str]] = defaultdict(set)
    for node in nodes:
        tasks[node.label].add(node.task)
    groups: defaultdict[tuple[str, tuple[TaskId, ...]], list[TaskId]] = defaultdict(list)
    for node in nodes:
        own = f": {node.task.rpartition('.')[2]}" if len(tasks[node.label]) > 1 else ""
        groups[node.label.removeprefix(BUILT_IN_NAMES) + own, node.parents].append(node.id)
    found: dict[TaskId, str] = {}
    for (label, _), ids in groups.items():
        found |= {id: f"{label}[{place}]" if len(ids) > 1 else label for place, id in enumerate(ids)}
    return found


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
