"""The table of legal steps, written out a second time."""

from __future__ import annotations

from reinhardt_tasks.status import TRANSITIONS, TaskStatus


def test_the_table_is_the_one_that_is_drawn() -> None:
    """Every legal step and no other; a change here is a change of the promises to users."""
    drawn = {
        "pending": "running failure cancelled",
        "running": "success failure retry pending cancelled",
        "retry": "running failure cancelled",
        "success": "",
        "failure": "pending",
        "cancelled": "pending",
    }
    assert {old.value: {new.value for new in steps} for old, steps in TRANSITIONS.items()} == {
        old: set(steps.split()) for old, steps in drawn.items()
    }
    assert set(TRANSITIONS) == set(TaskStatus)
