"""Nodes by number: their order, and which of them every way leads through (pure)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from reinhardt_tasks.picture.node import Shown


class Graph:
    """`nodes` in an order where parents come first, and for each, by its place in it, its parents and children.

    A parent that is not among the nodes is left out. `start` is a point before all nodes, `end` one behind all.
    Raises ValueError for nodes that wait for each other.
    """

    def __init__(self, nodes: Sequence[Shown]) -> None:
        self.nodes = _parents_first(nodes)
        places = {node.id: place for place, node in enumerate(self.nodes)}
        self.parents = [_known(node, places) for node in self.nodes]
        self.children = _children(self.parents)
        self.start, self.end = len(self.nodes), len(self.nodes) + 1

    def gates(self) -> list[int]:
        """For each node the last one that every way to it leads through; `start` where there is no other."""
        return _Tree(self.start).grown(range(len(self.nodes)), self.parents)

    def meetings(self) -> list[int]:
        """For each node, and for `start`, the first one that every way from it leads to; `end` where there is none."""
        onward = [*self.children, [place for place, parents in enumerate(self.parents) if not parents]]
        return _Tree(self.end).grown([*reversed(range(len(self.nodes))), self.start], onward)


class _Tree:
    """Points below `root`, each with a short cut upwards, so that the common ancestor of two is found in log time.

    The short cuts are those of Myers' skew-binary lists: "An applicative random-access stack", 1983.
    """

    def __init__(self, root: int) -> None:
        size = root + 2
        self._root = root
        self._above, self._depth, self._jump = [root] * size, [0] * size, [root] * size

    def grown(self, order: Iterable[int], before: Sequence[Sequence[int]]) -> list[int]:
        """The point above each, where a point stands below the nearest that all of `before` it stand below."""
        for point in order:
            found = before[point][0] if before[point] else self._root
            for other in before[point][1:]:
                found = self._common(found, other)
            self._add(point, found)
        return self._above

    def _add(self, point: int, above: int) -> None:
        depth, jump = self._depth, self._jump
        self._above[point], depth[point] = above, depth[above] + 1
        far = jump[above]
        jump[point] = jump[far] if depth[above] - depth[far] == depth[far] - depth[jump[far]] else above

    def _common(self, one: int, other: int) -> int:
        above, depth, jump = self._above, self._depth, self._jump
        if depth[one] < depth[other]:
            one, other = other, one
        while depth[one] > depth[other]:
            one = jump[one] if depth[jump[one]] >= depth[other] else above[one]
        while one != other:
            step = above if jump[one] == jump[other] else jump
            one, other = step[one], step[other]
        return one


def _known(node: Shown, places: Mapping[str, int]) -> list[int]:
    return [places[parent] for parent in dict.fromkeys(node.parents) if parent in places]


def _children(parents: Sequence[Sequence[int]]) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in parents]
    for place, above in enumerate(parents):
        for parent in above:
            children[parent].append(place)
    return children


def _parents_first(nodes: Sequence[Shown]) -> list[Shown]:
    """`nodes`, moved as little as it takes to have parents before children. Raises ValueError for a circle."""
    places = {node.id: place for place, node in enumerate(nodes)}
    parents = [_known(node, places) for node in nodes]
    children, left = _children(parents), [len(above) for above in parents]
    ready = [place for place, number in enumerate(left) if not number]
    found: list[Shown] = []
    while ready:
        place = heapq.heappop(ready)
        found.append(nodes[place])
        for child in children[place]:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, child)
    if len(found) < len(nodes):
        raise ValueError("these nodes wait for each other in a circle")
    return found
