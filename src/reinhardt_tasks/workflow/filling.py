"""The arguments of a step, once the results of others are filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.definition import MAX_FILLED
from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.handle import Place
from reinhardt_tasks.message import Envelope
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow.fetching import Fetched, fetch


@dataclass(frozen=True, slots=True)
class Fixed:
    """A Place that is one open backend."""

    seal: Seal
    opened: TaskBackend

    async def backend(self) -> TaskBackend:
        """See Place."""
        return self.opened


async def filled(place: Place, task: Task[Any, Any], envelope: Envelope, *, encoded: bool) -> Any:
    """What to call the task with, as its codec decodes it; as bytes where it is `encoded`.

    Each result is taken as it was encoded by the task that returned it, and read as the parameter is declared: it
    arrives as if it had been passed at enqueue. Raises SerializationError for what does not fit, ConfigurationError
    where errors are to be taken into another process, and what `fetch` raises.
    """
    inputs = envelope.w or {}
    fetched = await fetch(place, inputs, limit=MAX_FILLED)
    given = {name: fetched.encoded(part) for name, part in fetched.expression.items()}
    arguments = task.arguments_for(len(envelope.a) + sum(map(len, given.values())) + 64 * len(given))
    raw = arguments.merge(envelope.a, given)
    if not fetched.errors:
        return raw if encoded else arguments.decode(raw)
    if encoded:
        raise ConfigurationError(
            f"task {task.name} is given errors as values, and those do not travel to a process; let it run in a thread "
            "(runs_in='thread')",
            setting="runs_in",
        )
    return _with_errors(list(arguments.types), arguments.decode(raw), fetched)


def _with_errors(
    names: Sequence[str], call: tuple[tuple[Any, ...], dict[str, Any]], fetched: Fetched
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call with the errors in their places."""
    by_position, by_name = call
    args = [_restored(fetched, name, value) for name, value in zip(names, by_position, strict=False)]
    kwargs = {name: _restored(fetched, name, value) for name, value in by_name.items()}
    return (*args, *by_position[len(args) :]), kwargs


def _restored(fetched: Fetched, name: str, value: Any) -> Any:
    return fetched.restored(fetched.expression[name], value) if name in fetched.expression else value
