"""Wide groups and long chains made short: what is left out becomes one node that counts it (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from reinhardt_tasks.picture.graph import Graph
from reinhardt_tasks.picture.node import Fold, Node, Shown, counted
from reinhardt_tasks.status import TaskStatus

WIDEST = 10
"""Branches side by side that are shown as they are; of more, one less is shown, and the rest folded."""
LONGEST = 12
"""Steps one after another, all in one status, that are shown as they are."""
_KEPT_FIRST, _KEPT_LAST = 4, 3
_URGENT = (TaskStatus.FAILURE, TaskStatus.RUNNING, TaskStatus.RETRY)
"""What is shown first of a wide group."""


def folded(nodes: Sequence[Node]) -> list[Shown]:
    """`nodes`, parents first, with the middle of long chains and most branches of wide groups folded.

    Of a group those branches stay in which something failed, then those where something runs, then the first. Branches
    are folded with all that only they lead to. Raises ValueError for nodes that wait for each other.
    """
    return _shortened(_narrowed(nodes))


# wide groups ----------------------------------------------------------------------------------------------------------


def _narrowed(nodes: Sequence[Node]) -> list[Shown]:
    graph = Graph(nodes)
    below = _below(graph)
    hidden: dict[int, int] = {}
    folds: dict[int, list[int]] = {}
    for group in _siblings(graph):
        if len(group) > WIDEST and group[0] not in hidden:
            left_out = _least_urgent(graph, group, below)
            folds[left_out[-1]] = left_out
            hidden |= {place: left_out[-1] for root in left_out for place in _whole(root, below)}
    return _contracted(graph, hidden, folds)


def _siblings(graph: Graph) -> list[list[int]]:
    """Nodes that wait for the very same ones; the groups nearest to the start come first."""
    groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, parents in enumerate(graph.parents):
        groups[tuple(sorted(parents))].append(place)
    return list(groups.values())


def _below(graph: Graph) -> list[list[int]]:
    """For each node those whose gate it is."""
    below: list[list[int]] = [[] for _ in range(graph.end + 1)]
    for place, gate in enumerate(graph.gates()[: graph.start]):
        below[gate].append(place)
    return below


def _whole(root: int, below: Sequence[Sequence[int]]) -> Iterator[int]:
    """`root`, and all that only it leads to."""
    todo = [root]
    while todo:
        place = todo.pop()
        yield place
        todo += below[place]


def _least_urgent(graph: Graph, group: Sequence[int], below: Sequence[Sequence[int]]) -> list[int]:
    """The branches of `group` to leave out, in their order."""
    ranks = {root: min(_urgency(graph.nodes[place]) for place in _whole(root, below)) for root in group}
    return sorted(sorted(group, key=lambda root: (ranks[root], root))[WIDEST - 1 :])


def _urgency(node: Shown) -> int:
    return _URGENT.index(node.status) if isinstance(node, Node) and node.status in _URGENT else len(_URGENT)


# long chains ----------------------------------------------------------------------------------------------------------


def _shortened(nodes: Sequence[Shown]) -> list[Shown]:
    graph = Graph(nodes)
    hidden: dict[int, int] = {}
    folds: dict[int, list[int]] = {}
    for run in _runs(graph):
        if len(run) > LONGEST:
            left_out = run[_KEPT_FIRST:-_KEPT_LAST]
            folds[left_out[0]] = left_out[:1]
            hidden |= dict.fromkeys(left_out, left_out[0])
    return _contracted(graph, hidden, folds)


def _runs(graph: Graph) -> Iterator[list[int]]:
    """The chains of nodes in one status, each the only child of its only parent."""
    for place in range(len(graph.nodes)):
        if not _goes_on(graph, place):
            run = [place]
            while len(graph.children[run[-1]]) == 1 and _goes_on(graph, graph.children[run[-1]][0]):
                run.append(graph.children[run[-1]][0])
            yield run


def _goes_on(graph: Graph, place: int) -> bool:
    """Whether the node at `place` is one more of the chain that its parent is in."""
    if len(graph.parents[place]) != 1 or len(graph.children[graph.parents[place][0]]) != 1:
        return False
    parent, node = graph.nodes[graph.parents[place][0]], graph.nodes[place]
    return isinstance(parent, Node) and isinstance(node, Node) and parent.status is node.status


# both -----------------------------------------------------------------------------------------------------------------


def _contracted(graph: Graph, hidden: dict[int, int], folds: dict[int, list[int]]) -> list[Shown]:
    """The nodes of `graph`, with one Fold for all that are `hidden` by the same; `folds` has its branches.

    No circle can come of it: whatever leads to a hidden node comes from the parents of its fold, or is hidden too.
    """
    members: defaultdict[int, list[Node]] = defaultdict(list)
    for place, fold in hidden.items():
        node = graph.nodes[place]
        if isinstance(node, Node):
            members[fold].append(node)
    names = [_fold_id(graph, hidden[place]) if place in hidden else node.id for place, node in enumerate(graph.nodes)]
    shown: list[Shown] = []
    for place, node in enumerate(graph.nodes):
        parents = tuple(dict.fromkeys(names[parent] for parent in graph.parents[place]))
        if place in folds:
            branches = len(folds[place])
            shown.append(Fold(id=names[place], branches=branches, counts=counted(members[place]), parents=parents))
        elif place not in hidden:
            shown.append(msgspec.structs.replace(node, parents=parents))
    return shown


def _fold_id(graph: Graph, place: int) -> str:
    return f"{graph.nodes[place].id}…"
