"""Messages side by side, their results gathered in order: `TaskGroup`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar, overload

from reinhardt_tasks.errors import ArgumentError, TaskError
from reinhardt_tasks.message import Message
from reinhardt_tasks.retry import Seconds
from reinhardt_tasks.step import Step
from reinhardt_tasks.workflow.fit import series
from reinhardt_tasks.workflow.part import Ground, Part, Value, Workflow, check_taken, checked_part, given_by, takers_in

A = TypeVar("A")
B = TypeVar("B")
R_co = TypeVar("R_co", covariant=True)


class TaskGroup(Workflow[R_co]):
    """Any number of messages that may run at the same time; its result is the list of theirs, in order.

    With a `callback` that is called with the list, and its result is the group's. A failed member fails the group,
    unless `return_errors`: then its error stands in the list in its place, as a TaskError; that of a workflow is the
    error of its step that failed. A group of none has its result, an empty list, at once. A step among the members
    takes what comes before the group in a chain.
    """

    __slots__ = ("callback", "messages", "return_errors")

    # A member may be a message, or a workflow of the same result.
    @overload
    def __init__(
        self: TaskGroup[list[A]],
        messages: Iterable[Message[A] | Step[Any, A] | Workflow[A]],
        callback: None = None,
        *,
        return_errors: Literal[False] = False,
        name: str = ...,
        timeout: Seconds | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TaskGroup[list[A | TaskError]],
        messages: Iterable[Message[A] | Step[Any, A] | Workflow[A]],
        callback: None = None,
        *,
        return_errors: bool,
        name: str = ...,
        timeout: Seconds | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TaskGroup[B],
        messages: Iterable[Message[A] | Step[Any, A] | Workflow[A]],
        callback: Step[list[A], B],
        *,
        return_errors: Literal[False] = False,
        name: str = ...,
        timeout: Seconds | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TaskGroup[B],
        messages: Iterable[Message[A] | Step[Any, A] | Workflow[A]],
        callback: Step[list[A | TaskError], B],
        *,
        return_errors: bool,
        name: str = ...,
        timeout: Seconds | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TaskGroup[Any],
        messages: Iterable[Message[Any] | Step[Any, Any] | Workflow[Any]],
        callback: Workflow[Any],
        *,
        return_errors: bool = False,
        name: str = ...,
        timeout: Seconds | None = ...,
    ) -> None: ...
    def __init__(
        self,
        messages: Iterable[Any],
        callback: Any = None,
        *,
        return_errors: bool = False,
        name: str = "group",
        timeout: Seconds | None = None,
    ) -> None:
        super().__init__(name, timeout)
        where = f"group {name}"
        self.messages: tuple[Part, ...] = tuple(checked_part(item, where) for item in _each(messages, where))
        self.callback: Part | None = None if callback is None else checked_part(callback, where)
        self.return_errors = return_errors
        if self.callback is not None:
            check_taken(self._gathered, "each member", self.callback, where)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def _gathered(self) -> Any:
        """The type of the list; nobody knows it where errors may stand in it."""
        return list[Any] if self.return_errors else series(map(given_by, self.messages))

    @property
    def gives(self) -> Any:
        """See Workflow."""
        return self._gathered if self.callback is None else given_by(self.callback)

    def takers(self) -> Iterator[Step[Any, Any]]:
        """See Workflow."""
        for member in self.messages:
            yield from takers_in(member)

    def lay(self, ground: Ground, before: Value | None, label: str | None) -> Value:
        """See Workflow."""
        if len(self.messages) > 1:
            before = ground.single(before)
        members = [ground.part(member, before, label) for member in self.messages]
        gathered = (ground.tolerated if self.return_errors else ground.gathered)(members, before)
        return gathered if self.callback is None else ground.part(self.callback, gathered, label)


def _each(messages: object, where: str) -> Iterable[Any]:
    if isinstance(messages, Iterable):
        return messages
    raise ArgumentError(
        f"{where} takes an iterable of messages, not {messages!r}; pass [message]",
        where=where,
        given=type(messages).__qualname__,
    )
