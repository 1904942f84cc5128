"""The picture of a graph in lines of text, and what is folded in it."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.picture import Fold, Line, Node, counts_text, lines
from reinhardt_tasks.status import TaskStatus


def node(name: str, *parents: str, status: TaskStatus = TaskStatus.SUCCESS) -> Node:
    """A node that is called as its id."""
    return Node(id=name, label=name, status=status, parents=parents)


def text(shown: list[Line]) -> list[str]:
    """The lines as a terminal shows them, without their status."""

    def remark(line: Line) -> str:
        return f" after {', '.join(line.after)}" if line.after else ""

    return [f"{line.rail}{line.node.label}{remark(line)}" for line in shown]


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Up to 40 nodes, each behind any of those before it; few parents to choose from make wide groups."""
    near = draw(st.integers(1, 40))
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 40))):
        before = [one.id for one in nodes[:near]] if draw(st.booleans()) else [one.id for one in nodes[-near:]]
        parents = draw(st.lists(st.sampled_from(before), unique=True, max_size=4)) if before else []
        nodes.append(node(str(number), *parents, status=draw(st.sampled_from(TaskStatus))))
    return nodes


def read(shown: list[Line]) -> dict[str, set[str]]:
    """The parents of each node as a reader of the lines finds them.

    A branch follows the node it hangs on; one below branches follows the ends of all of them; `after` says otherwise.
    """
    parents: dict[str, set[str]] = {}
    levels: list[tuple[set[str], set[str]]] = [
        (set(), set())
    ]  # of each: its last node, and the ends of what hangs on it
    for line in shown:
        branch = line.rail.endswith("─")
        while len(levels) > len(line.rail) // 2 + (not branch):
            last, ends = levels.pop()
            levels[-1][1].update(ends or last)
        last, ends = levels[-1] if branch else levels.pop()
        parents[line.node.id] = set(line.after) or (last if branch else ends or last)
        levels.append(({line.node.id}, set()))
    return parents


def test_what_meets_below_others_that_have_met_says_what_it_follows() -> None:
    """Where some branches end in another one already, the rails alone would have all of them end here."""
    shown = lines(
        [node(str(number), *_MEETING.get(number, ())) for number in range(6)],
    )
    assert read(shown) == {str(number): set(_MEETING.get(number, ())) for number in range(6)}
    assert text(shown)[-1] == "5 after 3, 4"


_MEETING = {3: ("0", "1", "2"), 5: ("3", "4")}


@given(graphs())
def test_the_lines_tell_of_every_edge_and_no_other(nodes: list[Node]) -> None:
    """Rails and remarks together say for each node what it waits for."""
    assert read(lines(nodes, whole=True)) == {one.id: set(one.parents) for one in nodes}


@given(graphs())
def test_every_node_stands_once_below_all_its_parents(nodes: list[Node]) -> None:
    """A node that several lead to is not drawn again; read downwards, nothing refers to what is still to come."""
    places = {line.node.id: place for place, line in enumerate(lines(nodes, whole=True))}
    assert len(places) == len(nodes)
    assert all(places[parent] < places[one.id] for one in nodes for parent in one.parents)


@given(graphs())
def test_what_is_folded_is_counted(nodes: list[Node]) -> None:
    """Shown and folded nodes together are all nodes, in each status."""
    told: Counter[TaskStatus] = Counter()
    for line in lines(nodes):
        told.update(line.node.counts if isinstance(line.node, Fold) else [line.node.status])
    assert told == Counter(one.status for one in nodes)


def test_a_chain_is_a_column() -> None:
    """Steps one after another are not indented, however many."""
    assert text(lines([node("a"), node("b", "a"), node("c", "b")])) == ["a", "b", "c"]


def test_branches_are_indented_until_they_meet() -> None:
    """A group between two steps, one branch of which is a chain."""
    nodes = [node("a"), node("b", "a"), node("b2", "b"), node("c", "a"), node("d", "b2", "c"), node("e", "d")]
    assert text(lines(nodes)) == ["a", "├─b", "│ b2", "├─c", "d", "e"]


def test_branches_that_never_meet_end_in_a_corner() -> None:
    """Two sinks."""
    assert text(lines([node("a"), node("b", "a"), node("c", "a")])) == ["a", "├─b", "└─c"]


def test_a_node_whose_parents_the_rails_do_not_tell_names_them() -> None:
    """Here c waits for both starts, and the end for less than all that is above it."""
    nodes = [node("a"), node("b"), node("c", "a", "b"), node("d", "b"), node("end", "c", "d")]
    assert text(lines(nodes)) == ["├─a", "├─b", "│ └─d", "├─c after a, b", "end after c, d"]


def test_a_wide_group_shows_what_needs_a_look_and_counts_the_rest() -> None:
    """Ten thousand members: the failed one stays, wherever it stands; nine are shown."""
    states = [TaskStatus.SUCCESS] * 9_500 + [TaskStatus.PENDING] * 499 + [TaskStatus.FAILURE]
    members = [node(f"m{number}", "start", status=status) for number, status in enumerate(states)]
    shown = lines([node("start"), *members, node("end", *(one.id for one in members))])
    assert text(shown) == [
        "start",
        *(f"├─m{number}" for number in range(8)),
        "├─… 9,991 more",
        "├─m9999",
        "end",
    ]
    fold = shown[9].node
    assert isinstance(fold, Fold)
    assert counts_text(fold.counts) == "9,492 success, 499 pending"


def test_branches_are_folded_with_what_only_they_lead_to() -> None:
    """A group of chains: a branch is two steps, and its second step is what the end waits for."""
    members = [(node(f"a{number}", "start"), node(f"b{number}", f"a{number}")) for number in range(11)]
    nodes = [node("start"), *(one for pair in members for one in pair), node("end", *(pair[1].id for pair in members))]
    assert text(lines(nodes))[-4:] == ["├─a8", "│ b8", "├─… 2 more branches, 4 steps", "end"]


def test_a_long_chain_keeps_both_ends_of_each_status() -> None:
    """A thousand steps, the 501st of which runs."""
    states = [TaskStatus.SUCCESS] * 500 + [TaskStatus.RUNNING] + [TaskStatus.PENDING] * 499
    chain = [node(str(number), *([str(number - 1)] if number else []), status=one) for number, one in enumerate(states)]
    told = text(lines(chain))
    assert told == [
        *("0", "1", "2", "3", "… 493 more", "497", "498", "499"),
        "500",
        *("501", "502", "503", "504", "… 492 more", "997", "998", "999"),
    ]
    assert len(lines(chain, whole=True)) == 1_000


def test_a_very_deep_graph_is_indented_so_far_and_no_further() -> None:
    """A caterpillar of 3,000 levels: below the last level each node names what it follows."""
    nodes = [node("0")]
    for number in range(1, 3_000):
        nodes += [node(f"leaf{number}", str(number - 1)), node(str(number), str(number - 1))]
    shown = lines(nodes, whole=True)
    assert max(len(line.rail) for line in shown) <= 50
    assert shown[-1].after == ("2998",)


def test_parents_that_are_not_there_are_left_out() -> None:
    """A parent may have been deleted since."""
    assert text(lines([node("b", "a"), node("c", "b")])) == ["b", "c"]


def test_a_circle_is_refused() -> None:
    """No backend lets one arise; a reader of damaged data is told, and does not wait."""
    with pytest.raises(ValueError, match="circle"):
        lines([node("a", "b"), node("b", "a")])


def test_twenty_thousand_nodes_with_far_edges_take_seconds_at_most() -> None:
    """A chain each step of which also leads to the end: the worst for a search for what all ways lead through."""
    nodes = [node(str(number), *([str(number - 1)] if number else [])) for number in range(20_000)]
    began = time.process_time()
    lines([*nodes, node("end", *(one.id for one in nodes))])
    assert time.process_time() - began < 10
