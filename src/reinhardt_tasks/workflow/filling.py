"""The arguments of a step, once the results of others are filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.codec.refusals import problem_in
from reinhardt_tasks.codec.values import shown
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.definition import MAX_FILLED
from reinhardt_tasks.errors import BadPayloadError, ConfigurationError
from reinhardt_tasks.handle import Place
from reinhardt_tasks.message import Envelope
from reinhardt_tasks.task import Task
from reinhardt_tasks.workflow.expression import id_in, references
from reinhardt_tasks.workflow.fetching import Fetched, fetch
from reinhardt_tasks.workflow.shelf import Shelf, is_shared

_NAMED: Final = 3
"""Tasks that an error names, at most, of those that fill a parameter."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A Place that is one open backend."""

    seal: Seal
    opened: TaskBackend

    async def backend(self) -> TaskBackend:
        """See Place."""
        return self.opened


Find = Callable[[str], Task[Any, Any] | None]
"""The task of a name."""


async def filled(
    place: Place, task: Task[Any, Any], envelope: Envelope, *, encoded: bool, shelf: Shelf | None = None, find: Find
) -> Any:
    """What to call the task with, as its codec decodes it; as bytes where it is `encoded`.

    Each result is taken as it was encoded by the task that returned it, and read as the parameter is declared: it
    arrives as if it had been passed at enqueue. What the `shelf` has is not read again. Raises SerializationError for
    what does not fit, ConfigurationError where errors are to be taken into another process, and what `fetch` raises.
    """
    inputs = await _inputs(place, envelope.w or {}, shelf or Shelf())
    size = len(envelope.a) + sum(len(one) + 64 for one in inputs.encoded.values())
    arguments = task.arguments_for(size)
    raw = arguments.merge(envelope.a, inputs.encoded)
    if encoded and inputs.fetched.errors:
        raise ConfigurationError(
            f"task {task.name} is given errors as values, and those do not travel to a process; let it run in a thread "
            "(runs_in='thread')",
            setting="runs_in",
        )
    if encoded:
        return raw
    try:
        call = arguments.decode(raw)
    except BadPayloadError as error:
        raise _worded(error, task, inputs, find) from error
    return _with_errors(list(arguments.types), call, inputs)


def _worded(error: BadPayloadError, task: Task[Any, Any], inputs: _Inputs, find: Find) -> BadPayloadError:
    """The error for a call that does not decode; for a parameter that is filled it names what fills it."""
    name = next((one for one in inputs.expressions if (error.where or "").startswith(f"parameter '{one}'")), None)
    problem = problem_in(error)
    if name is None or problem is None:
        return error
    ids = {id_in(one) for one in references(inputs.expressions[name])}
    makers = sorted({inputs.fetched.names[id] for id in ids if id in inputs.fetched.names})
    before = " and ".join(_told(maker, find(maker)) for maker in makers[:_NAMED])
    return BadPayloadError(
        f"{problem}. It is filled by what comes before it, {before}, and is declared "
        f"`{shown(task.arguments.types[name])}`. Correct one of the annotations and requeue the step, or put another "
        "step between them.",
        name=task.name,
        where=error.where,
    )


def _told(name: str, task: Task[Any, Any] | None) -> str:
    """A task with the type of its results."""
    return name if task is None else f"{name}, which returns `{shown(task.returns.annotation)}`"


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What fills the parameters of a step: by parameter its expression, and its encoded value."""

    fetched: Fetched
    expressions: Mapping[str, Any]
    encoded: Mapping[str, bytes]


async def _inputs(place: Place, wanted: Mapping[str, Any], shelf: Shelf) -> _Inputs:
    if len(wanted) == 1 and is_shared(only := next(iter(wanted.values()))):
        filling = await shelf.filling(place, only)
        return _Inputs(
            filling.fetched,
            dict.fromkeys(wanted, filling.fetched.expression),
            dict.fromkeys(wanted, filling.encoded),
        )
    fetched = await fetch(place, wanted, limit=MAX_FILLED)
    encoded = {name: fetched.encoded(part) for name, part in fetched.expression.items()}
    return _Inputs(fetched, fetched.expression, encoded)


def _with_errors(
    names: Sequence[str], call: tuple[tuple[Any, ...], dict[str, Any]], inputs: _Inputs
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call with the errors in their places."""
    if not inputs.fetched.errors:
        return call
    by_position, by_name = call
    args = [_restored(inputs, name, value) for name, value in zip(names, by_position, strict=False)]
    kwargs = {name: _restored(inputs, name, value) for name, value in by_name.items()}
    return (*args, *by_position[len(args) :]), kwargs


def _restored(inputs: _Inputs, name: str, value: Any) -> Any:
    expression = inputs.expressions.get(name)
    return value if expression is None else inputs.fetched.restored(expression, value)
