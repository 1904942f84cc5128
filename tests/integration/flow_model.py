"""Workflows drawn at random, as plain values, and a pure model of what becomes of them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from reinhardt_tasks import TaskError, TaskStatus

EXHAUSTED: Final = "MaxRetriesExceededError"
RETRIES: Final = 2
"""How often a step is tried again."""
_MOODS: Final = ([0], [0, 0, 0, 1, 2], [*[0] * 20, 3], [0, 0, 0, 0, 1, 2, 3])
"""How often steps fail, to draw from: mostly not, until all retries are spent, or everything."""
_DEPTH: Final = 3


@dataclass(frozen=True)
class Leaf:
    """A step that fails so often before it succeeds; `takes`: the result before it."""

    name: str
    fails: int
    takes: bool
    queue: str
    priority: int


@dataclass(frozen=True)
class Chain:
    """Parts in order."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Group:
    """Parts side by side; `errors`: as values."""

    members: tuple[Part, ...]
    callback: Leaf | None
    errors: bool


@dataclass(frozen=True)
class Graph:
    """Parts, each after some of those before it."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Node:
    """A part of a graph; `joins`: it is a step whose parameters the results of those before it fill, one each."""

    part: Part
    after: tuple[int, ...]
    joins: bool


Part: TypeAlias = "Leaf | Chain | Group | Graph"


# Drawing --------------------------------------------------------------------------------------------------------------


@st.composite
def workflows(draw: Callable[[st.SearchStrategy[Any]], Any], most: int = 60) -> Part:
    """A workflow of at most so many steps."""
    return _Drawing(draw, most, draw(st.sampled_from(_MOODS))).whole()


@dataclass
class _Drawing:
    """Draws parts; `left` is how many more steps there may be."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    left: int
    mood: Sequence[int]
    drawn: int = 0

    def whole(self) -> Part:
        shapes = (self.chain, self.group, self.graph, self.graph)
        return self.draw(st.sampled_from(shapes))(fed=False, depth=0)

    def part(self, *, fed: bool, depth: int) -> Part:
        """`fed`: a result comes before it that its first steps may take."""
        shapes: list[Any] = [self.leaf] * 3
        if depth <= _DEPTH and self.left > 1:
            shapes += [self.chain, self.group, self.graph]
        return self.draw(st.sampled_from(shapes))(fed=fed, depth=depth)

    def leaf(self, *, fed: bool, depth: int = 0, takes: bool = False) -> Leaf:
        self.drawn += 1
        self.left -= 1
        return Leaf(
            f"step{self.drawn}",
            self.draw(st.sampled_from(self.mood)),
            takes or (fed and self.draw(st.booleans())),
            self.draw(st.sampled_from(["default", "other"])),
            self.draw(st.integers(0, 9)),
        )

    def _size(self, least: int, depth: int) -> int:
        most = 30 if depth == 0 else 6
        return self.draw(st.integers(least, max(least, min(most, self.left))))

    def chain(self, *, fed: bool, depth: int) -> Chain:
        size = self._size(1, depth + 1)
        return Chain(tuple(self.part(fed=fed or number > 0, depth=depth + 1) for number in range(size)))

    def group(self, *, fed: bool, depth: int) -> Group:
        members = tuple(self.part(fed=fed, depth=depth + 1) for _ in range(self._size(0, depth)) if self.left > 0)
        callback = self.leaf(fed=True, takes=True) if self.draw(st.booleans()) else None
        return Group(members, callback, self.draw(st.booleans()))

    def graph(self, *, fed: bool, depth: int) -> Graph:
        size = self._size(0, depth)
        return Graph(tuple(self._node(number, fed=fed, depth=depth) for number in range(size) if self.left > 0))

    def _node(self, number: int, *, fed: bool, depth: int) -> Node:
        after = self.draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        if after and self.draw(st.booleans()):
            return Node(self.leaf(fed=False), tuple(after), joins=True)
        given = len(after) == 1 or (fed and not after)
        return Node(self.part(fed=given, depth=depth + 1), tuple(after), joins=False)


# What becomes of it ---------------------------------------------------------------------------------------------------


def blend(name: str, given: Any = None) -> int:
    """The result of a step that was given this."""
    return zlib.crc32(repr((name, plain(given))).encode())


def plain(value: Any) -> Any:
    """A value with errors as the names of their classes."""
    if isinstance(value, TaskError):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(value[name]) for name in sorted(value)}
    return value


@dataclass(frozen=True)
class End:
    """What a part comes to: a value that is there when the steps in `after` have ended; or the step's error instead."""

    value: Any
    after: frozenset[str] = frozenset()
    error: str | None = None


@dataclass
class Fate:
    """What the steps of a workflow come to. `after`: the steps that have ended when one begins."""

    statuses: dict[str, TaskStatus] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    after: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, part: Part, before: End | None) -> End:
        """The end of a part, once what is `before` it has ended."""
        match part:
            case Leaf():
                return self.leaf(part, before, None if before is None or not part.takes else before.value)
            case Chain():
                for one in part.parts:
                    before = self.of(one, before)
                return before or End(None)
            case Group():
                return self._group(part, before)
            case Graph():
                return self._graph(part, before)

    def leaf(self, leaf: Leaf, before: End | None, given: Any) -> End:
        """That of a step that is given this."""
        if before is not None and before.error is not None:
            self.statuses[leaf.name] = TaskStatus.CANCELLED
            return End(None, error=before.error)
        self.after[leaf.name] = frozenset() if before is None else before.after
        self.runs[leaf.name] = 1 + min(leaf.fails, RETRIES)
        if leaf.fails > RETRIES:
            self.statuses[leaf.name] = TaskStatus.FAILURE
            return End(None, frozenset([leaf.name]), EXHAUSTED)
        self.statuses[leaf.name] = TaskStatus.SUCCESS
        return End(blend(leaf.name, given), frozenset([leaf.name]))

    def _group(self, group: Group, before: End | None) -> End:
        members = [self.of(member, before) for member in group.members]
        fallen = [] if group.errors else members
        values = [end.value if end.error is None else end.error for end in members]
        gathered = _together(values, members, before if group.errors or not members else None, fallen)
        return gathered if group.callback is None else self.of(group.callback, gathered)

    def _graph(self, graph: Graph, before: End | None) -> End:
        ends: list[End] = []
        for node in graph.nodes:
            parents = [ends[number] for number in node.after]
            values = [parent.value for parent in parents]
            if node.joins and isinstance(node.part, Leaf):
                ends.append(self.leaf(node.part, _together(values, parents), values))
            elif len(parents) == 1:
                ends.append(self.of(node.part, parents[0]))
            else:
                ends.append(self.of(node.part, _together([], parents) if parents else before))
        waited_for = {number for node in graph.nodes for number in node.after}
        sinks = [number for number in range(len(ends)) if number not in waited_for]
        value = {f"n{number}": ends[number].value for number in sinks}
        return _together(value, [ends[number] for number in sinks], None if ends else before)


def _together(value: Any, ends: Sequence[End], before: End | None = None, fallen: Sequence[End] | None = None) -> End:
    """What is there when all of them are; it is not where one of `fallen` (of them all), or what is before, failed."""
    kept = [end for end in (*ends, before) if end is not None]
    lost = [end for end in (*(ends if fallen is None else fallen), before) if end is not None and end.error is not None]
    if lost:  # it is known at the first of them, whatever else is still to end
        return End(value, error=lost[0].error)
    return End(value, frozenset().union(*(end.after for end in kept)))
