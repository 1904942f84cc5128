"""Where a message stands: `TaskStatus`, the one table of legal transitions, and `TaskPriority`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from reinhardt_tasks.errors import TransitionError


class TaskStatus(StrEnum):
    """The six states of a message; see docs/state-machine.md for the picture."""

    PENDING = "pending"
    RUNNING = "running"
    RETRY = "retry"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the message by itself."""
        return self in FINISHED


_S = TaskStatus
FINISHED: Final = frozenset({_S.SUCCESS, _S.FAILURE, _S.CANCELLED})
UNFINISHED: Final = frozenset(_S) - FINISHED
FALLEN: Final = frozenset({_S.FAILURE, _S.CANCELLED})
"""The ends after which a message may be requeued, and what waits for it is cancelled."""

TRANSITIONS: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.RUNNING, _S.FAILURE, _S.CANCELLED}),
        _S.RUNNING: frozenset({_S.SUCCESS, _S.FAILURE, _S.RETRY, _S.PENDING, _S.CANCELLED}),
        _S.RETRY: frozenset({_S.RUNNING, _S.FAILURE, _S.CANCELLED}),
        _S.SUCCESS: frozenset(),
        _S.FAILURE: frozenset({_S.PENDING}),
        _S.CANCELLED: frozenset({_S.PENDING}),
    }
)
"""Every legal step. `RUNNING → PENDING` is a release or a rescue, `FAILURE | CANCELLED → PENDING` a requeue."""


def check_transition(old: TaskStatus, new: TaskStatus, *, task_id: str = "") -> None:
    """Raise TransitionError unless the table allows the step from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        allowed = ", ".join(sorted(TRANSITIONS[old])) or "nothing"
        raise TransitionError(
            f"message {task_id} is {old} and cannot become {new}; from {old} it may become: {allowed}",
            task_id=task_id,
            from_status=old.value,
            to_status=new.value,
        )


class TaskPriority(int):
    """How urgent a message is: 0 to 9, 9 first, 5 by default. Out of range is a ValueError."""

    __slots__ = ()

    def __new__(cls, value: int = 5) -> Self:
        """The priority `value`; booleans and fractions are refused like numbers out of range."""
        if type(value) not in {int, cls} or not 0 <= value <= 9:
            raise ValueError(f"a priority is a whole number from 0 to 9 (9 is served first), not {value!r}")
        return super().__new__(cls, value)
