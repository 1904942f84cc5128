"""A graph as lines of text: branches are indented, and where they meet again the line goes on as before (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from reinhardt_tasks.picture.folding import folded
from reinhardt_tasks.picture.graph import Graph
from reinhardt_tasks.picture.node import Node, Shown

_DEEPEST = 24
"""Levels of indentation; what lies deeper stays there, and says what it follows."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `rail` is drawn before it; `after` are the labels of its parents, where the rails do not tell them."""

    rail: str
    node: Shown
    after: tuple[str, ...] = ()


def lines(nodes: Sequence[Node], *, whole: bool = False) -> list[Line]:
    """The picture of `nodes`, one line each, parents above children; folded unless the `whole` is asked for.

    Raises ValueError for nodes that wait for each other.
    """
    return list(_Drawing(Graph(nodes if whole else folded(nodes))).lines())


class _Drawing:
    """One picture while it is made."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._gates, self._meetings = graph.gates(), graph.meetings()
        self._below: list[list[int]] = [[] for _ in range(graph.end + 1)]
        for place in range(graph.start):
            self._below[self._gates[place]].append(place)

    def lines(self) -> Iterator[Line]:
        reader = _Reader()
        todo = list(reversed(list(self._inside(self._graph.start, ""))))
        while todo:
            place, rail, indent = todo.pop()
            told = reader.parents_of(place, rail)
            yield Line(rail=rail, node=self._graph.nodes[place], after=self._after(place, indent, told))
            todo += reversed(list(self._inside(place, indent)))

    def _inside(self, place: int, indent: str) -> Iterator[tuple[int, str, str]]:
        """What stands below `place`, each with its own rail and the indentation of what follows it."""
        meeting = self._meetings[place]
        goes_on = meeting < self._graph.start and self._gates[meeting] == place
        branches = [other for other in self._below[place] if not goes_on or other != meeting]
        for branch in branches:
            last = branch == branches[-1] and not goes_on
            deep = len(indent) >= 2 * _DEEPEST
            inner = indent if deep else indent + ("  " if last else "│ ")
            yield branch, indent + ("└─" if last else "├─"), inner
        if goes_on:
            yield meeting, indent, indent

    def _after(self, place: int, indent: str, told: set[int]) -> tuple[str, ...]:
        """The labels of the parents of `place`, unless the rails have `told` of them."""
        parents = self._graph.parents[place]
        if set(parents) == told and len(indent) < 2 * _DEEPEST:
            return ()
        return tuple(self._graph.nodes[parent].label for parent in parents)


class _Reader:
    """Whoever reads the rails alone, from above.

    A branch follows the node it hangs on. What stands below branches, without hanging on them, follows all their ends.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[set[int], set[int]]] = [(set(), set())]
        """Of each level of indentation its last node, and the ends of what hangs on that."""

    def parents_of(self, place: int, rail: str) -> set[int]:
        """What `place` is taken to follow, by the `rail` before it."""
        levels, branch = self._levels, rail.endswith("─")
        while len(levels) > len(rail) // 2 + (not branch):
            last, ends = levels.pop()
            levels[-1][1].update(ends or last)
        last, ends = levels[-1] if branch else levels.pop()
        levels.append(({place}, set()))
        return last if branch else ends or last
