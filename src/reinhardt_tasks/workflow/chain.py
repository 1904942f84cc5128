"""Steps one after the other: `TaskChain`, its builder, and how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from enum import StrEnum
from itertools import pairwise
from typing import Any, Generic, Self, TypeVar, overload

from reinhardt_tasks.errors import ConfigurationError, TransitionError
from reinhardt_tasks.message import Message
from reinhardt_tasks.names import check_label
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.step import Step
from reinhardt_tasks.workflow.part import (
    Ground,
    Part,
    Value,
    Workflow,
    check_sequence,
    checked_part,
    given_by,
    takers_in,
)

B = TypeVar("B")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class ChainStatus(StrEnum):
    """How far a workflow is."""

    PENDING = "pending"
    """Nothing of it has begun."""
    RUNNING = "running"
    """Some of it has."""
    COMPLETED = "completed"
    """It has its result."""
    FAILED = "failed"
    """It will have none: a step failed for good, or it was cancelled."""


class TaskChain(Workflow[R_co]):
    """Steps in order, each given the result of the one before it; its own result is that of the last. Immutable.

    `position` and `failed` say how far it is, for code that walks it itself; what is enqueued always begins anew, and
    `WorkflowHandle` tells how far that is.
    """

    __slots__ = ("failed", "position", "steps")

    def __init__(self, name: str, steps: tuple[Part, ...], *, timeout: Seconds | None = None) -> None:
        super().__init__(name, timeout)
        if not steps:
            raise ConfigurationError(
                f"chain {name} has no steps, so it could have no result; add one, or use a TaskGroup, which may have "
                "no members",
                setting="steps",
            )
        for before, step in pairwise(steps):
            check_sequence(before, step, f"chain {name}")
        self.steps = steps
        self.position = 0
        """How many steps are done."""
        self.failed = False

    def __len__(self) -> int:
        return len(self.steps)

    # How far it is ------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Part | None:
        """The step that is next; None when all are done, or one failed."""
        return None if self.failed or self.is_complete else self.steps[self.position]

    @property
    def is_complete(self) -> bool:
        """Whether all steps are done."""
        return self.position == len(self.steps)

    @property
    def status(self) -> ChainStatus:
        """How far it is."""
        if self.failed:
            return ChainStatus.FAILED
        if self.is_complete:
            return ChainStatus.COMPLETED
        return ChainStatus.RUNNING if self.position else ChainStatus.PENDING

    def advance(self) -> Self:
        """The chain with its current step done. Raises TransitionError where there is none."""
        return self._moved(self.position + 1, failed=False)

    def fail(self) -> Self:
        """The chain with its current step failed. Raises TransitionError where there is none."""
        return self._moved(self.position, failed=True)

    def _moved(self, position: int, *, failed: bool) -> Self:
        if self.current is None:
            raise TransitionError(
                f"chain {self.name} is {self.status}: it has no current step to move on from",
                from_status=self.status.value,
            )
        other = copy(self)
        other.position, other.failed = position, failed
        return other

    # As a workflow ------------------------------------------------------------------------------------------------

    @property
    def gives(self) -> Any:
        """See Workflow."""
        return given_by(self.steps[-1])

    def takers(self) -> Iterator[Step[Any, Any]]:
        """See Workflow."""
        return takers_in(self.steps[0])

    def lay(self, ground: Ground, before: Value | None, label: str | None) -> Value:
        """See Workflow."""
        value = ground.part(self.steps[0], before, label)
        for step in self.steps[1:]:
            value = ground.part(step, value, label)
        return value


class TaskChainBuilder(Generic[R]):
    """Collects the steps of a chain: messages, steps, and other workflows.

    `TaskChainBuilder("album").add(fetch.message(url)).add(resize.step(width=90)).build()`. A step takes the result of
    what was added before it; a message takes nothing, and only waits for that.
    """

    def __init__(self: TaskChainBuilder[Any], name: str = "chain", *, timeout: Seconds | None = None) -> None:
        self._name = check_label(name, "a TaskChain")
        self._timeout = timeout
        self._steps: list[Part] = []

    @overload
    def add(self, item: Message[B] | Step[R, B], /) -> TaskChainBuilder[B]: ...
    @overload
    def add(self, item: Workflow[B], /) -> TaskChainBuilder[B]: ...
    def add(self, item: Any, /) -> TaskChainBuilder[Any]:
        """Let this come next. Raises ArgumentError for what cannot stand in a chain."""
        self._steps.append(checked_part(item, f"chain {self._name}"))
        return self

    def add_all(self, items: Iterable[Message[Any] | Step[Any, Any] | Workflow[Any]], /) -> TaskChainBuilder[Any]:
        """Let these come next, in order."""
        for item in items:
            self.add(item)
        return self

    def build(self) -> TaskChain[R]:
        """The chain. Raises ConfigurationError for one without steps, ArgumentError where a step cannot take a result.

        Only what surely cannot be is refused: what is not annotated passes.
        """
        return TaskChain(self._name, tuple(self._steps), timeout=self._timeout)
