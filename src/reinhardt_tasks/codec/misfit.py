"""Why a value cannot travel, while the place in it is still being gathered."""

from __future__ import annotations

from typing import Any

from reinhardt_tasks.errors import PayloadTooDeepError, PayloadTooLargeError, SerializationError

KEY_HINT = "Pass its key (such as its id) and load it in the task"


class Misfit(Exception):  # noqa: N818 - never leaves the codec
    """A value that cannot travel. `kind` is the error to raise for it; None: that of a value of another type.

    `text` goes on from the place ("holds a set …"), `remedy` is a sentence. `path` grows from the inside out, as each
    container adds its own step.
    """

    def __init__(self, kind: type[SerializationError] | None, text: str, remedy: str = "", **facts: Any) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.remedy = remedy
        self.facts = facts
        self.path = ""

    def inside(self, step: str) -> Misfit:
        """The same, seen from the container that holds the value at `step`."""
        self.path = step + self.path
        return self


def too_large(size: int, limit: int, note: str = "") -> Misfit:
    """For `size` bytes where `limit` are allowed."""
    return Misfit(
        PayloadTooLargeError,
        f"takes {size} bytes{note}; the limit is {limit}",
        "Store it elsewhere and pass its key, or raise `max_size`",
        size=size,
        limit=limit,
    )


def too_deep(limit: int) -> Misfit:
    """For a value nested more than `limit` levels deep, or without end."""
    return Misfit(
        PayloadTooDeepError,
        f"is nested more than {limit} levels deep, which is the limit",
        "Flatten it, or pass a key to where it is stored",
        depth=limit + 1,
        limit=limit,
    )
