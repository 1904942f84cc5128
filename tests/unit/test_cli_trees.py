"""A workflow's lines fit the terminal, and nothing in them commands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.cli.trees import tree_lines
from reinhardt_tasks.picture import Node, lines
from reinhardt_tasks.status import TaskStatus


def node(name: str, *parents: str, status: TaskStatus = TaskStatus.SUCCESS, **more: str) -> Node:
    """A node that is called as its id."""
    return Node(**{"id": name, "label": name, "status": status, "parents": parents, **more})


def shown(nodes: list[Node], width: int = 80) -> list[str]:
    """What a terminal of that width shows, without the blanks at the ends of lines."""
    return [line.plain.rstrip() for line in tree_lines(lines(nodes), width=width)]


def test_a_line_tells_what_stands_where_and_why() -> None:
    """Sign and label below each other, the status in a column, then task, parents and remark."""
    nodes = [
        node("load", task="load"),
        node("left", "load", task="app.half"),
        node("right", "load", status=TaskStatus.FAILURE, note="failed: no luck"),
        node("both", "left", "right", "load", status=TaskStatus.CANCELLED),
    ]
    assert shown(nodes) == [
        "✓ load     success",
        "├─✓ left   success    app.half",
        "├─✗ right  failure    failed: no luck",
        "⊘ both     cancelled  after left, right, load",
    ]


def test_many_parents_are_counted() -> None:
    """Labels that come again, and those beyond the third."""
    nodes = [Node(id=str(number), label=name, status=TaskStatus.SUCCESS) for number, name in enumerate("aabcdde")]
    nodes += [node("x", "0"), node("y", *(one.id for one in nodes))]
    assert shown(nodes)[-1].endswith("after a × 2, b, c and 3 more")


@pytest.mark.parametrize("width", [20, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long labels, long remarks and deep branches are cut; the status is always to be seen where there is room."""
    nodes = [node("start")]
    for number in range(30):
        nodes += [node(f"leaf {number}", nodes[-1].id), node(f"{number} {'long ' * 30}", nodes[-1].id, note="n" * 200)]
    told = tree_lines(lines(nodes, whole=True), width=width)
    assert max(line.cell_len for line in told) <= width
    assert width < 80 or all("success" in line.plain for line in told)


def test_colours_are_those_of_the_other_commands() -> None:
    """Red for what failed, green for what succeeded."""
    (line,) = tree_lines(lines([node("a", status=TaskStatus.FAILURE)]), width=80)
    assert {str(span.style) for span in line.spans} == {"red"}


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_no_text_of_a_message_commands_the_terminal(text: str) -> None:
    """Control characters are shown as escapes, wherever they stand."""
    told = tree_lines(lines([node("a", label=text), node("b", label="b"), node("c", "a", "b", note=text)]), width=200)
    assert all(line.plain.isprintable() for line in told)
