"""The drawing of a graph: where its boxes stand, and the SVG that is made of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.picture import Node, TooLargeError, drawn
from reinhardt_tasks.picture.graph import Graph
from reinhardt_tasks.picture.layout import Layout, laid_out
from reinhardt_tasks.status import TaskStatus

SVG = "{http://www.w3.org/2000/svg}"


def node(name: str, *parents: str, status: TaskStatus = TaskStatus.SUCCESS, note: str = "") -> Node:
    """A node of the task `app.NAME`."""
    return Node(id=name, label=name, task=f"app.{name}", status=status, parents=parents, note=note)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Up to 30 nodes, each behind up to four of those before it."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 30))):
        places = st.lists(st.integers(0, number - 1), unique=True, max_size=4) if number else st.just([])
        nodes.append(node(str(number), *map(str, draw(places))))
    return nodes


def parse(nodes: list[Node]) -> ET.Element:
    """The drawing of `nodes`."""
    return ET.fromstring(drawn(nodes, title="a title"))  # noqa: S314 - our own text


def texts(root: ET.Element) -> list[str]:
    """What is written in the boxes, line by line."""
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def crossings(layout: Layout) -> int:
    """Pairs of pieces between the same two layers that cross."""
    pieces = [(one.along, one.across, other.across) for path in layout.edges for one, other in pairwise(path)]
    return sum(
        a == c and (b1 - b2) * (d1 - d2) < 0 for place, (a, b1, d1) in enumerate(pieces) for c, b2, d2 in pieces[:place]
    )


@given(graphs())
def test_boxes_leave_each_other_room_and_edges_lead_onward(nodes: list[Node]) -> None:
    """In a layer boxes are at least one apart; an edge passes one layer after the other."""
    layout = laid_out(Graph(nodes))
    rows: dict[int, list[float]] = {}
    for place in layout.boxes:
        rows.setdefault(place.along, []).append(place.across)
    assert all(other - one > 0.999 for row in rows.values() for one, other in pairwise(sorted(row)))
    assert all(other.along == one.along + 1 for path in layout.edges for one, other in pairwise(path))
    assert sum(len(one.parents) for one in nodes) == len(layout.edges)


def test_edges_that_need_not_cross_do_not() -> None:
    """Three pairs whose second halves are given in the wrong order, and a way past a layer."""
    nodes = [
        node("a"),
        node("b"),
        node("c"),
        node("z", "c"),
        node("y", "b"),
        node("x", "a"),
        node("end", "x", "y", "z"),
    ]
    assert crossings(laid_out(Graph([*nodes, node("last", "end", "a")]))) == 0


def test_a_step_between_two_branches_stands_between_them() -> None:
    """A diamond is symmetrical."""
    layout = laid_out(Graph([node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c")]))
    assert [place.across for place in layout.boxes] == pytest.approx([0.5, 0, 1, 0.5])


def test_a_late_start_stands_beside_what_it_is_needed_with() -> None:
    """A step without parents is drawn right before its child, not at the far end."""
    layout = laid_out(Graph([node("a"), node("b", "a"), node("late"), node("c", "b", "late")]))
    assert [place.along for place in layout.boxes] == [0, 1, 1, 2]


def test_the_drawing_is_an_image_with_words_for_who_cannot_see_it() -> None:
    """Screen readers get a title and the numbers."""
    root = parse([node("a"), node("b", "a", status=TaskStatus.FAILURE)])
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert [root.findtext(f"{SVG}{name}") for name in ("title", "desc")] == [
        "a title",
        "2 steps: 1 success, 1 failure. Arrows lead from a step to those that wait for it.",
    ]


def test_each_box_shows_its_label_status_and_note_and_all_of_them_under_the_pointer() -> None:
    """A long note is cut where the box ends."""
    root = parse([node("fetch", status=TaskStatus.FAILURE, note="ValueError: a rather long sentence")])
    assert texts(root) == ["fetch", "✗ failure: ValueError: a…"]
    assert root.findtext(f".//{SVG}g/{SVG}title") == "fetch\napp.fetch\nfailure\nValueError: a rather long sentence"


def test_the_drawing_follows_the_theme_of_the_page() -> None:
    """Every status has colours for light and for dark pages."""
    style = parse([node("a")]).findtext(f"{SVG}style") or ""
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    named = [status.value for status in TaskStatus if status is not TaskStatus.PENDING]
    assert all(f".{name} .box" in half and f".{name} .sign" in half for name in named for half in (light, dark))


@given(st.text(st.characters(codec=None), max_size=12))
def test_no_text_breaks_out_of_the_drawing(text: str) -> None:
    """Markup, control characters and lone halves of letters in names are shown, not obeyed."""
    root = parse([Node(id="1", label=text, task=text, status=TaskStatus.RETRY, note=text)])
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        *("svg", "title", "desc", "style", "defs", "marker", "path", "rect", "g", "text", "tspan")
    }


def test_a_long_task_name_keeps_its_end() -> None:
    """The modules before it are left out, one by one."""
    assert texts(parse([node("project.tasks.images.resize[12]")]))[0] == "resize[12]"


def test_wide_letters_take_the_room_of_two() -> None:
    """A label in Japanese is cut before it leaves its box."""
    assert texts(parse([node("日本語の長い名前を持つ作業")]))[0] == "日本語の長い名…"


def test_ten_thousand_members_are_a_drawing_of_ordinary_size() -> None:
    """A group is folded to ten boxes, whatever its width."""
    members = [node(f"m{number}", "a") for number in range(10_000)]
    root = parse([node("a"), *members, node("end", *(one.id for one in members))])
    assert (int(root.get("width", 0)), int(root.get("height", 0))) <= (800, 800)
    assert "… 9,991 more" in texts(root)


def test_a_long_way_is_drawn_downwards() -> None:
    """Six steps in a row are wider than a page."""
    root = parse([node(str(number), *([str(number - 1)] if number else [])) for number in range(6)])
    assert int(root.get("width", 0)) < int(root.get("height", 0))


def test_a_graph_too_large_to_be_drawn_is_refused() -> None:
    """Five thousand different ways cannot be folded, and nobody could see them."""
    nodes = [node("0"), *(node(str(number), str((number - 1) // 2), str(number - 1)) for number in range(1, 3_000))]
    with pytest.raises(TooLargeError):
        drawn(nodes, title="")
