"""A workflow's lines as a terminal shows them: rails, signs and colours, in columns that fit its width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.text import Text

from reinhardt_tasks.cli.tables import STATUS_STYLES, status_text
from reinhardt_tasks.cli.text import visible
from reinhardt_tasks.picture import SIGNS, Fold, Line, counts_text
from reinhardt_tasks.status import TaskStatus

_STATUS = max(len(status.value) for status in TaskStatus)
_SHARE = 0.5
"""How much of the width the rails and labels may take."""
_NAMED = 3
"""Labels of parents that are told; of more, the rest is counted."""


def tree_lines(shown: Sequence[Line], *, width: int) -> list[Text]:
    """Each line: rail, sign and label, then the status, then what else there is to say; cut at `width`."""
    room = int(width * _SHARE)
    lefts = [_left(line, room) for line in shown]
    size = min(room, max((left.cell_len for left in lefts), default=0))
    found = []
    for line, left in zip(shown, lefts, strict=True):
        left.truncate(size, overflow="ellipsis", pad=True)
        whole = left.append("  ").append_text(_right(line))
        whole.truncate(width, overflow="ellipsis")
        found.append(whole)
    return found


def _left(line: Line, room: int) -> Text:
    rail = line.rail if len(line.rail) <= room // 2 else f"…{line.rail[-(room // 2) :]}"
    found = Text(rail, "dim")
    if isinstance(line.node, Fold):
        return found.append(line.node.label, "italic")
    style = STATUS_STYLES[line.node.status]
    return found.append(f"{SIGNS[line.node.status]} ", style).append(visible(line.node.label))


def _right(line: Line) -> Text:
    if isinstance(line.node, Fold):
        return Text(counts_text(line.node.counts), "italic")
    found = status_text(line.node.status)
    told = " · ".join(_told(line))
    if told:
        found.append(" " * (_STATUS - len(found)) + f"  {visible(told)}", "dim")
    return found


def _told(line: Line) -> Iterable[str]:
    if isinstance(line.node, Fold):
        return
    if line.node.task not in {"", line.node.label}:
        yield line.node.task
    if line.after:
        yield f"after {_listed(line.after)}"
    if line.node.note:
        yield line.node.note


def _listed(labels: Sequence[str]) -> str:
    """`left, right`, `fetch × 9, … 91 more`, `a, b, c and 7 more`."""
    numbers = list(Counter(labels).items())
    named = ", ".join(label if number == 1 else f"{label} × {number}" for label, number in numbers[:_NAMED])
    more = sum(number for _, number in numbers[_NAMED:])
    return f"{named} and {more:,} more" if more else named
