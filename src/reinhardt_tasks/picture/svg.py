"""A graph as an SVG drawing, readable on light and dark pages (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from reinhardt_tasks.picture.folding import folded
from reinhardt_tasks.picture.graph import Graph
from reinhardt_tasks.picture.layout import Layout, Place, laid_out
from reinhardt_tasks.picture.node import SIGNS, Fold, Node, Shown, counted, counts_text

_BOX = (184, 46)
"""Width and height of a box, in pixels, as all lengths here."""
_GAP_ALONG, _GAP_ACROSS = 44, 16
_MARGIN = 16
_WIDE = 1_200
"""A drawing goes from left to right up to this width; a longer one from top to bottom."""
_LETTERS, _SMALL_LETTERS = 16, 23
"""Letters that fit on the two lines of a box."""

_TIP = """\
  <defs>
    <marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
      <path class="tip" d="M0,0.8 L10,5 L0,9.2 z"/>
    </marker>
  </defs>"""
_STYLE = Path(__file__).with_name("drawing.css")


def drawn(nodes: Sequence[Node], *, title: str) -> str:
    """`nodes` as an SVG document, folded where groups are wide and chains long.

    Raises ValueError for nodes that wait for each other, TooLargeError for more than can be drawn.
    """
    graph = Graph(folded(nodes))
    sheet = _Sheet(laid_out(graph))
    width, height = sheet.size
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"',
            '  role="img" aria-labelledby="title desc">',
            f'  <title id="title">{_safe(title)}</title>',
            f'  <desc id="desc">{_safe(_told(nodes))}</desc>',
            f"  <style>\n{_STYLE.read_text()}  </style>",
            _TIP,
            f'  <rect class="paper" width="{width}" height="{height}" rx="8"/>',
            *sheet.edges(),
            *(line for place, node in enumerate(graph.nodes) for line in sheet.box(place, node)),
            "</svg>\n",
        ]
    )


def _told(nodes: Sequence[Node]) -> str:
    """What the drawing shows, in words."""
    steps = "1 step" if len(nodes) == 1 else f"{len(nodes):,} steps"
    return f"{steps}: {counts_text(counted(nodes))}. Arrows lead from a step to those that wait for it."


class _Sheet:
    """The drawing's layout in pixels."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sideways = self._extent(_BOX[0], layout.layers - 1, _GAP_ALONG) <= _WIDE
        along, across = (0, 1) if self._sideways else (1, 0)
        self._steps = _BOX[along] + _GAP_ALONG, _BOX[across] + _GAP_ACROSS

    @staticmethod
    def _extent(box: int, gaps: float, gap: int) -> int:
        return round(box + gaps * (box + gap)) + 2 * _MARGIN

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        gaps = (self._layout.layers - 1, self._layout.across)
        if self._sideways:
            return self._extent(_BOX[0], gaps[0], _GAP_ALONG), self._extent(_BOX[1], gaps[1], _GAP_ACROSS)
        return self._extent(_BOX[0], gaps[1], _GAP_ACROSS), self._extent(_BOX[1], gaps[0], _GAP_ALONG)

    def _middle(self, place: Place) -> tuple[float, float]:
        along, across = place.along * self._steps[0], place.across * self._steps[1]
        x, y = (along, across) if self._sideways else (across, along)
        return x + _MARGIN + _BOX[0] / 2, y + _MARGIN + _BOX[1] / 2

    def edges(self) -> Iterator[str]:
        """A line from each box to those behind it: curved between the layers, straight where it passes one."""
        half = (_BOX[0] / 2, 0.0) if self._sideways else (0.0, _BOX[1] / 2)
        for places in self._layout.edges:
            middles = [self._middle(place) for place in places]
            leaving = [(x + half[0], y + half[1]) for x, y in middles[:-1]]
            coming = [(x - half[0], y - half[1]) for x, y in middles[1:]]
            parts = [f"L{_at(one)} {self._curve(one, other)}" for one, other in zip(leaving, coming, strict=True)]
            yield f'  <path class="edge" d="M{" ".join(parts)[1:]}"/>'

    def _curve(self, one: tuple[float, float], other: tuple[float, float]) -> str:
        (x0, y0), (x1, y1) = one, other
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        bent = ((x, y0), (x, y1)) if self._sideways else ((x0, y), (x1, y))
        return f"C{_at(bent[0])} {_at(bent[1])} {_at(other)}"

    def box(self, place: int, node: Shown) -> Iterator[str]:
        """One box with its two lines; the pointer over it shows all of them."""
        x, y = self._middle(self._layout.boxes[place])
        left, top = x - _BOX[0] / 2, y - _BOX[1] / 2
        kind, sign, under = _said(node)
        yield f'  <g class="{kind}" transform="translate({_at((left, top))})">'
        yield f"    <title>{_safe(_whole(node))}</title>"
        fold = " fold" if isinstance(node, Fold) else ""
        yield f'    <rect class="box{fold}" width="{_BOX[0]}" height="{_BOX[1]}" rx="8"/>'
        yield f'    <text class="label" x="12" y="20">{_safe(_fitted(_short(node.label), _LETTERS))}</text>'
        under = _safe(_fitted(under, _SMALL_LETTERS))
        yield f'    <text x="12" y="37"><tspan class="sign">{sign}</tspan> {under}</text>'
        yield "  </g>"


def _said(node: Shown) -> tuple[str, str, str]:
    """A node's class, its sign and its second line."""
    if isinstance(node, Fold):
        return "fold", "", counts_text(node.counts)
    under = f"{node.status.value}: {node.note}" if node.note else node.status.value
    return node.status.value, SIGNS[node.status], under


def _whole(node: Shown) -> str:
    if isinstance(node, Fold):
        return f"{node.label}: {counts_text(node.counts)}"
    facts = (node.task, node.status.value, node.note, node.id)
    return "\n".join([node.label, *(fact for fact in facts if fact and fact != node.label)])


def _short(label: str) -> str:
    """A label that is the dotted name of a task, without as many of its first parts as it takes to fit."""
    while len(label) > _LETTERS and re.match(r"[A-Za-z_]\w*\.[A-Za-z_]", label):
        label = label.partition(".")[2]
    return label


def _fitted(text: str, letters: int) -> str:
    """`text`, or its beginning and an ellipsis; letters of East Asian scripts take the room of two."""
    room = letters
    for place, letter in enumerate(text):
        room -= 2 if east_asian_width(letter) in "WF" else 1
        if room < 0:
            return f"{text[: place - 1].rstrip()}…"
    return text


def _safe(text: str) -> str:
    """`text` as it may stand in XML, with what is not printable written as an escape."""
    return escape("".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _at(point: tuple[float, float]) -> str:
    return f"{point[0]:g},{point[1]:g}"
