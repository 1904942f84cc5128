"""Pictures of a workflow: its nodes as lines of text and as a drawing."""

from __future__ import annotations

from reinhardt_tasks.picture.layout import TooLargeError
from reinhardt_tasks.picture.node import SIGNS, Fold, Node, Shown, counted, counts_text
from reinhardt_tasks.picture.svg import drawn
from reinhardt_tasks.picture.tree import Line, lines

__all__ = ["SIGNS", "Fold", "Line", "Node", "Shown", "TooLargeError", "counted", "counts_text", "drawn", "lines"]
