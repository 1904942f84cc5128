"""A task written as a class: `TaskExecutor`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, dataclass_transform

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.lifespan import Dependency
from reinhardt_tasks.names import place_of

R_co = TypeVar("R_co", covariant=True)


@dataclass_transform(kw_only_default=True)
class TaskExecutor:
    """Derive from it to write a task as a class: its fields are the payload, `execute` is what runs.

    A subclass becomes a dataclass with fields by keyword. Only `execute` is a reserved name. Options of the task
    stand in the decorator: `@queue.task(priority=3)`; enqueue it with `await queue.enqueue(SendEmail(to=…))`.
    """

    def __init_subclass__(cls, **options: bool) -> None:
        super().__init_subclass__()
        dataclass(cls, **{"kw_only": True, **options})

    async def execute(self) -> Any:
        """What the task does; what it returns is its result. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} has no execute of its own")


class Executable(Protocol[R_co]):
    """What `enqueue` needs of an executor to know the type of its result."""

    def execute(self) -> Coroutine[Any, Any, R_co]:
        """See TaskExecutor."""


def check_executor(executor: type) -> None:
    """Raise ConfigurationError unless `executor` is a class that can be registered."""
    if not issubclass(executor, TaskExecutor):
        raise ConfigurationError(
            f"the class {executor.__qualname__} at {place_of(executor)} is no TaskExecutor; derive it from that, or "
            "register a function",
            setting="task",
        )
    if executor.execute is TaskExecutor.execute or not inspect.iscoroutinefunction(executor.execute):
        raise ConfigurationError(
            f"the class {executor.__qualname__} at {place_of(executor)} needs a method `async def execute(self)`",
            setting="task",
        )
    if set(inspect.signature(executor).parameters) != {field.name for field in fields(executor) if field.init}:  # type: ignore[arg-type]
        raise ConfigurationError(
            f"the class {executor.__qualname__} at {place_of(executor)} is made from something else than its fields; "
            "leave __init__ and InitVar out, and derive what you need in `execute` or `__post_init__`",
            setting="task",
        )


def runner_of(executor: type[TaskExecutor]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A function that makes an instance from fields and runs it."""

    async def execute(**payload: Any) -> Any:
        return await executor(**payload).execute()

    return execute


def payload_of(item: TaskExecutor) -> dict[str, Any]:
    """The fields that `item` was made from, by name, without those that a provider gives."""
    payload = {field.name: getattr(item, field.name) for field in fields(item) if field.init}  # type: ignore[arg-type]
    return {name: value for name, value in payload.items() if not isinstance(value, Dependency)}
