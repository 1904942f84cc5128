"""Where the boxes of a graph stand: in layers along the way, ordered so that few edges cross (pure).

The usual steps of layered drawing (Sugiyama, Tagawa, Toda: "Methods for visual understanding of hierarchical system
structures", 1981): a layer for each node, a bend where an edge passes a layer, the order in each layer by the mean of
the neighbours', and at last positions as near to the neighbours as the order allows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from reinhardt_tasks.picture.graph import Graph

MOST_POINTS = 4_000
"""Boxes and bends of the largest graph that is laid out."""
_SWEEPS = 24
_BEND_SPACE = 0.35
"""Room of a bend across the way, where a box has 1."""


class Place(msgspec.Struct, frozen=True):
    """The middle of a box or a bend: `along` in layers from 0, `across` in boxes, with their gaps, from 0."""

    along: int
    across: float


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A place for each node of a graph, and for each edge the places it leads through, from parent to child."""

    boxes: list[Place]
    edges: list[list[Place]]
    layers: int
    across: float


class TooLargeError(ValueError):
    """A graph has more boxes and bends than a picture can show."""


def laid_out(graph: Graph) -> Layout:
    """The layout of `graph`. Raises TooLargeError above MOST_POINTS."""
    layer = _layers(graph)
    paths = _paths(graph, layer)
    order = _ordered(layer, paths)
    across = _positions(order, layer, paths, boxes=len(graph.nodes))
    places = [Place(layer[point], across[point]) for point in range(len(layer))]
    return Layout(
        boxes=places[: len(graph.nodes)],
        edges=[[places[point] for point in path] for path in paths],
        layers=max(layer, default=-1) + 1,
        across=max(across, default=0.0),
    )


def _layers(graph: Graph) -> list[int]:
    """The longest way to each node; a node without parents stands right before the first of its children."""
    layer = [0] * len(graph.nodes)
    for place, parents in enumerate(graph.parents):
        layer[place] = max((layer[parent] + 1 for parent in parents), default=0)
    for place, children in enumerate(graph.children):
        if not graph.parents[place] and children:
            layer[place] = min(layer[child] for child in children) - 1
    return layer


def _paths(graph: Graph, layer: list[int]) -> list[list[int]]:
    """Each edge as points, one a layer; its bends are added to `layer`. Raises TooLargeError."""
    paths = []
    for child, parents in enumerate(graph.parents):
        for parent in parents:
            passed = range(layer[parent] + 1, layer[child])
            bends = range(len(layer), len(layer) + len(passed))
            layer.extend(passed)
            paths.append([parent, *bends, child])
            if len(layer) > MOST_POINTS:
                raise TooLargeError("too many boxes and bends for a picture")
    if len(layer) > MOST_POINTS:
        raise TooLargeError("too many boxes for a picture")
    return paths


Rows = list[list[int]]
"""The points of each layer, in their order across."""


def _neighbours(points: int, paths: Sequence[Sequence[int]]) -> tuple[Rows, Rows]:
    """For each point those before it and those behind it."""
    before: Rows = [[] for _ in range(points)]
    behind: Rows = [[] for _ in range(points)]
    for path in paths:
        for one, other in pairwise(path):
            behind[one].append(other)
            before[other].append(one)
    return before, behind


def _ordered(layer: Sequence[int], paths: Sequence[Sequence[int]]) -> Rows:
    """The order of fewest crossings among those that sweeps back and forth come by."""
    before, behind = _neighbours(len(layer), paths)
    rows: Rows = [[] for _ in range(max(layer, default=-1) + 1)]
    for point, row in enumerate(layer):
        rows[row].append(point)
    best, fewest = [list(row) for row in rows], _crossings(rows, behind)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forth = sweep % 2 == 0
        _sort_by_neighbours(rows if forth else rows[::-1], before if forth else behind)
        if (crossings := _crossings(rows, behind)) < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _sort_by_neighbours(rows: Sequence[list[int]], neighbours: Rows) -> None:
    """Sort each row by where its neighbours stand in the row before; who has none stays where it was."""
    rank = [0.0] * len(neighbours)
    for row in rows:
        wanted = {point: _mean(neighbours[point], rank, place) for place, point in enumerate(row)}
        row.sort(key=wanted.__getitem__)
        for place, point in enumerate(row):
            rank[point] = place


def _mean(points: Sequence[int], values: Sequence[float], otherwise: float) -> float:
    return sum(values[point] for point in points) / len(points) if points else otherwise


def _crossings(rows: Rows, behind: Rows) -> int:
    found = 0
    for row, following in pairwise(rows):
        rank = {point: place for place, point in enumerate(following)}
        passed: list[int] = []
        for point in row:
            ends = sorted(rank[other] for other in behind[point])
            found += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return found


def _positions(rows: Rows, layer: Sequence[int], paths: Sequence[Sequence[int]], *, boxes: int) -> list[float]:
    """Across the way, for each point: near to its neighbours, in the order of its layer, boxes at least 1 apart."""
    before, behind = _neighbours(len(layer), paths)
    around = [one + other for one, other in zip(before, behind, strict=True)]
    room = [1.0 if point < boxes else _BEND_SPACE for point in range(len(layer))]
    across = [0.0] * len(layer)
    for sweep in range(_SWEEPS):
        near = around if sweep > _SWEEPS // 2 else behind if sweep % 2 else before
        for row in reversed(rows) if sweep % 2 else rows:
            wanted = [_mean(near[point], across, across[point]) for point in row]
            for point, value in zip(row, _apart(wanted, [room[point] for point in row]), strict=True):
                across[point] = value
    least = min(across, default=0.0)
    return [value - least for value in across]


def _apart(wanted: Sequence[float], room: Sequence[float]) -> list[float]:
    """The values nearest to `wanted`, by least squares, that leave each its `room`.

    Neighbours that come too close become a block, which stands where its members want to be on average.
    """
    offsets = [0.0]
    for one, other in pairwise(room):
        offsets.append(offsets[-1] + (one + other) / 2)
    blocks: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        total, size = value - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / size:
            more, others = blocks.pop()
            total, size = total + more, size + others
        blocks.append((total, size))
    starts = [total / size for total, size in blocks for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=False)]
