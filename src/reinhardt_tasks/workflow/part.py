"""What workflows are made of: messages, steps, and workflows again."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from reinhardt_tasks.errors import ArgumentError, OptionError
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message
from reinhardt_tasks.names import check_label
from reinhardt_tasks.options import positive_seconds
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.step import Step
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow.expression import Expression, id_in
from reinhardt_tasks.workflow.fit import check_fit

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Value:
    """What a part of a workflow comes to: an expression, and the messages after whose success it is there."""

    expression: Expression
    after: tuple[TaskId, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether one message stands for it, whose failure is its own."""
        return isinstance(self.expression, bytes) and self.after == (id_in(self.expression),)


def waits_of(value: Value | None) -> tuple[TaskId, ...]:
    """The messages after which `value` is there."""
    return () if value is None else value.after


def unique(ids: Iterable[Iterable[TaskId]]) -> tuple[TaskId, ...]:
    """All of them in order, each once."""
    return tuple(dict.fromkeys(chain.from_iterable(ids)))


class Ground(Protocol):
    """Where a workflow lays its messages out."""

    def part(self, part: Part, before: Value | None, label: str | None) -> Value:
        """What `part` comes to, once what is `before` it has; its messages get the name `label`."""

    def filled(
        self, step: Step[Any, Any], inputs: Mapping[str, Expression], waits: tuple[TaskId, ...], label: str | None
    ) -> Value:
        """What a step returns whose parameters are filled by `inputs`; each time it is another message."""

    def single(self, value: Value | None) -> Value | None:
        """The same value, for many to take: where it is of several messages, one gathers them."""

    def gathered(self, members: Sequence[Value], before: Value | None) -> Value:
        """The list of the members' values; where there are none, it is there when what is `before` them is."""

    def tolerated(self, members: Sequence[Value], before: Value | None) -> Value:
        """The list of the members' values, or their errors. It is there only if what is `before` them is."""


class Workflow(ABC, Generic[R_co]):
    """Messages that wait for each other, enqueued as one. `timeout` is how long all of it may take, in seconds.

    One value is one workflow: enqueued again it is the same one, not a second. What stands in it is a pattern: its
    messages get ids of their own, so that a part may stand in many places, in many workflows, and by itself.
    """

    __slots__ = ("fixed", "ids", "laid", "name", "timeout")

    def __init__(self, name: str, timeout: Seconds | None) -> None:
        self.name = check_label(name, f"a {type(self).__name__}")
        self.timeout = _limit(timeout)
        self.laid: list[Any] = []
        """What it was turned into when it was enqueued last, by which seal; see `plan`."""
        self.ids: list[TaskId] = []
        """The ids of its messages, in the order in which they are laid; the same whichever seal closes them."""
        self.fixed = False
        """Whether it is enqueued, by itself or inside another, so that it must not become another one."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    @abstractmethod
    def gives(self) -> Any:
        """The declared type of its result."""

    @abstractmethod
    def takers(self) -> Iterator[Step[Any, Any]]:
        """Its steps that take what comes before it."""

    @abstractmethod
    def lay(self, ground: Ground, before: Value | None, label: str | None) -> Value:
        """Lay its messages out on `ground`; what it comes to, once what is `before` it has."""


Part: TypeAlias = "Message[Any] | Step[Any, Any] | Workflow[Any]"
"""What can stand in a workflow."""


def checked_part(part: object, where: str) -> Part:
    """`part`, if it can stand in a workflow. Raises ArgumentError."""
    if isinstance(part, Message | Step | Workflow):
        return part
    hint = "pass what task.message(…) or task.step(…) returns, or another workflow"
    if isinstance(part, Task):
        short = part.name.rpartition(".")[2]
        hint = f"it is the task itself; pass {short}.message(…), or {short}.step(…) to take the result before it"
    elif isinstance(part, TaskExecutor) or (isinstance(part, type) and issubclass(part, TaskExecutor)):
        hint = (
            "a class has no message of its own; pass queue.tasks[name].message(…) with its fields by keyword, or "
            "queue.tasks[name].step(…) to take the result before it as its first field"
        )
    elif inspect.iscoroutine(part):
        part.close()
        hint = "it is a coroutine: the task was called; pass what task.message(…) or task.step(…) returns"
    raise ArgumentError(f"{where} cannot hold {part!r}: {hint}.", where=where, given=type(part).__qualname__)


def name_of(part: Part) -> str:
    """How errors and pictures call it."""
    if isinstance(part, Workflow):
        return repr(part)
    return part.message.name if isinstance(part, Step) else part.name


def given_by(part: Part) -> Any:
    """The declared type of its result."""
    if isinstance(part, Workflow):
        return part.gives
    return part.message.returns if isinstance(part, Step) else part.returns


def takers_in(part: Part) -> Iterator[Step[Any, Any]]:
    """The steps in it that take what comes before it."""
    if isinstance(part, Workflow):
        yield from part.takers()
    elif isinstance(part, Step):
        yield part


def check_sequence(before: Part, part: Part, where: str) -> None:
    """Raise ArgumentError when a part surely cannot take what the one before it returns."""
    check_taken(given_by(before), name_of(before), part, where)


def check_taken(given: Any, by: str, part: Part, where: str) -> None:
    """Raise ArgumentError when a part surely cannot take a result of the type `given`, which comes from `by`."""
    for step in takers_in(part):
        for parameter, wanted in step.takes.items():
            check_fit(given, wanted, parameter=parameter, task=step.message.name, by=by, workflow=where)


def _limit(timeout: Seconds | None) -> float | None:
    try:
        return None if timeout is None else positive_seconds(timeout, "timeout")
    except ValueError as error:
        raise OptionError(f"timeout of the workflow: {error}", setting="timeout") from None
