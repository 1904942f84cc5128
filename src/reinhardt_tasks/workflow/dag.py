"""A graph of steps: nodes by name, edges that carry results into parameters or only order: `TaskDAG`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from reinhardt_tasks.errors import ArgumentError, ConfigurationError
from reinhardt_tasks.message import Message
from reinhardt_tasks.names import check_label
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.step import Step
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow.fit import check_fit
from reinhardt_tasks.workflow.part import (
    Ground,
    Part,
    Value,
    Workflow,
    check_taken,
    checked_part,
    given_by,
    name_of,
    takers_in,
    unique,
    waits_of,
)


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a graph, the nodes whose results fill its parameters, and all it comes after."""

    part: Part
    fills: Mapping[str, str]
    after: tuple[str, ...]


class TaskDAG(Workflow[dict[str, Any]]):
    """A graph of any shape and width, run as soon as its edges allow; its result is a dict of the sinks' results.

    `dag.add("total", combine, after={"left": "a", "right": "b"})`. A graph without nodes has its result, an empty dict,
    at once. Once it is enqueued nothing can be added.
    """

    __slots__ = ("nodes",)

    def __init__(self, name: str = "dag", *, timeout: Seconds | None = None) -> None:
        super().__init__(name, timeout)
        self.nodes: dict[str, Node] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def add(
        self,
        name: str,
        item: Task[..., Any] | Message[Any] | Step[Any, Any] | Workflow[Any],
        *,
        kwargs: Mapping[str, Any] | None = None,
        after: Mapping[str, str] | Sequence[str] = (),
    ) -> None:
        """Add a node. `after` maps parameters of a task to the nodes whose results fill them, or only names nodes.

        A task is called with `kwargs` and those results. A step, and a workflow that begins with one, takes the result
        of the one node it comes after. The nodes it names may be added later. Raises ArgumentError for a call that does
        not fit, ConfigurationError for a name that is taken, or for a graph that is enqueued already.
        """
        self._check_free(name)
        where = f"graph {self.name}, node {name!r}"
        fills = dict(after) if isinstance(after, Mapping) else {}
        names = tuple(dict.fromkeys(_names(fills.values() if fills else after, where)))
        if isinstance(item, Task):
            part: Part = item.part(tuple(fills), (), dict(kwargs or {})) if fills else item.message(**(kwargs or {}))
        else:
            part = checked_part(item, where)
            _check_given_whole(kwargs, fills, name_of(part), where)
        self.nodes[name] = Node(part, fills, names)

    def order(self) -> list[str]:
        """The names such that each comes after those it waits for.

        Raises ConfigurationError for a node that names one that there is not, and for a cycle, which it names.
        """
        for name, node in self.nodes.items():
            strange = next((other for other in node.after if other not in self.nodes), None)
            if strange is not None:
                raise ConfigurationError(
                    f"graph {self.name}: node {name!r} comes after {strange!r}, and there is no such node; there are: "
                    f"{', '.join(self.nodes)}",
                    setting="after",
                )
        try:
            return list(TopologicalSorter({name: node.after for name, node in self.nodes.items()}).static_order())
        except CycleError as error:
            cycle = " → ".join(error.args[1])
            raise ConfigurationError(
                f"graph {self.name} goes round in a circle, so none of these nodes could begin: {cycle}. Take one of "
                "the edges out",
                setting="after",
            ) from None

    def ready(self, done: Collection[str] = ()) -> list[str]:
        """The nodes that could begin once those in `done` have ended, without these."""
        ended = set(done)
        return [name for name, node in self.nodes.items() if name not in ended and ended.issuperset(node.after)]

    def sinks(self) -> list[str]:
        """The nodes that no other comes after; their results are the graph's."""
        waited_for = {name for node in self.nodes.values() for name in node.after}
        return [name for name in self.nodes if name not in waited_for]

    # As a workflow ------------------------------------------------------------------------------------------------

    @property
    def gives(self) -> Any:
        """See Workflow."""
        return dict[str, Any]

    def takers(self) -> Iterator[Step[Any, Any]]:
        """See Workflow."""
        for node in self.nodes.values():
            if not node.after:
                yield from takers_in(node.part)

    def lay(self, ground: Ground, before: Value | None, label: str | None) -> Value:
        """See Workflow."""
        children = Counter(name for node in self.nodes.values() for name in node.after)
        first = ground.single(before) if len(self.ready()) > 1 else before
        values: dict[str, Value] = {}
        for name in self.order():
            value = self._lay_node(ground, name, values, first, label)
            values[name] = value if children[name] <= 1 else ground.single(value) or value
        if not self.nodes:
            return Value({}, waits_of(before))
        ends = {name: values[name] for name in self.sinks()}
        return Value({name: end.expression for name, end in ends.items()}, unique(end.after for end in ends.values()))

    def _lay_node(
        self, ground: Ground, name: str, values: Mapping[str, Value], before: Value | None, label: str | None
    ) -> Value:
        """What one node comes to, given those it comes after."""
        node = self.nodes[name]
        self._check_edges(name, node)
        own = name if label is None else f"{label}/{name}"
        waits = unique(values[other].after for other in node.after)
        if node.fills and isinstance(node.part, Step):
            inputs = {parameter: values[other].expression for parameter, other in node.fills.items()}
            return ground.filled(node.part, inputs, waits, own)
        if not node.after:
            return ground.part(node.part, before, own)
        given = values[node.after[0]].expression if len(node.after) == 1 else []
        return ground.part(node.part, Value(given, waits), own)

    def _check_edges(self, name: str, node: Node) -> None:
        """Raise ArgumentError where a result surely cannot be taken, or a step does not know whose to take."""
        where = f"graph {self.name}, node {name!r}"
        if node.fills and isinstance(node.part, Step):
            for parameter, other in node.fills.items():
                given, wanted = given_by(self.nodes[other].part), node.part.takes[parameter]
                check_fit(given, wanted, parameter=parameter, task=name_of(node.part), by=repr(other), workflow=where)
        elif len(node.after) == 1:
            check_taken(given_by(self.nodes[node.after[0]].part), repr(node.after[0]), node.part, where)
        elif node.after and any(True for _ in takers_in(node.part)):
            raise ArgumentError(
                f"{where} takes the result of what comes before it, and {len(node.after)} nodes do; give the task "
                "itself, and say by after={…} which parameter takes which result",
                where=where,
            )

    def _check_free(self, name: object) -> None:
        check_label(name, f"a node of graph {self.name}")
        if name in self.nodes:
            raise ConfigurationError(
                f"graph {self.name}, node {name!r} is there already; give this one another name", setting="name"
            )
        if self.fixed:
            raise ConfigurationError(f"graph {self.name} is enqueued already; make another one", setting="name")


def _names(after: object, where: str) -> Iterable[str]:
    if isinstance(after, str) or not isinstance(after, Collection) or not all(isinstance(name, str) for name in after):
        raise ArgumentError(
            f"{where}: after takes a list of names, or a dict from parameters to names, not {after!r}", where=where
        )
    return after


def _check_given_whole(kwargs: object, fills: Mapping[str, str], name: str, where: str) -> None:
    """Raise ArgumentError where arguments are given to what has all it can take already."""
    if kwargs or fills:
        given = "kwargs" if kwargs else "parameters to fill"
        raise ArgumentError(
            f"{where}: {name} has its arguments already, and is given {given}; give the task itself instead",
            where=where,
        )
