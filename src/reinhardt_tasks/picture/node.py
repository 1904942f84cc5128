"""What a picture is made of: one node for each message of a workflow, or for many that are folded into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from reinhardt_tasks.status import TaskStatus

Counts = Mapping[TaskStatus, int]
SIGNS: Final = {
    TaskStatus.PENDING: "○",
    TaskStatus.RUNNING: "▸",
    TaskStatus.RETRY: "↻",
    TaskStatus.SUCCESS: "✓",
    TaskStatus.FAILURE: "✗",
    TaskStatus.CANCELLED: "⊘",
}
"""What a status looks like where there is no colour."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `parents` are the ids of those it waits for; `note` is what else is to be said, such as an error."""

    id: str
    label: str
    status: TaskStatus
    task: str = ""
    parents: tuple[str, ...] = ()
    note: str = ""


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that are not shown: `branches` beside each other, or one after another (1), and how many stand where."""

    id: str
    branches: int
    counts: Counts
    parents: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How many are left out: `… 9,990 more`."""
        nodes = sum(self.counts.values())
        if self.branches in {1, nodes}:
            return f"… {nodes:,} more"
        return f"… {self.branches:,} more branches, {nodes:,} steps"


Shown = Node | Fold


def counted(nodes: Iterable[Node]) -> Counts:
    """How many nodes stand in each status, in the order of a message's life; statuses that nobody has are left out."""
    found = dict.fromkeys(TaskStatus, 0)
    for node in nodes:
        found[node.status] += 1
    return {status: number for status, number in found.items() if number}


def counts_text(counts: Counts) -> str:
    """`9,500 success, 490 pending`: the most frequent status first."""
    return ", ".join(f"{number:,} {status.value}" for status, number in sorted(counts.items(), key=lambda one: -one[1]))
