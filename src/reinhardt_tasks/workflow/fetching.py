"""The results that an expression stands for, read from where the messages live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.definition import MAX_FILLED
from reinhardt_tasks.errors import (
    BadPayloadError,
    PayloadTooLargeError,
    ResultExpiredError,
    ResultTimeoutError,
    TaskError,
)
from reinhardt_tasks.handle import Place
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Record, decode_envelope
from reinhardt_tasks.results import failure_in, is_for_another
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.culprits import culprits
from reinhardt_tasks.workflow.expression import (
    WHOLE,
    Expression,
    id_in,
    is_gathered,
    is_tolerant,
    references,
    replaced,
)

_FIRST_PAGE: Final = 50
"""Results that are read before it is known how large they are."""
_AT_ONCE: Final = 4
"""Pages on their way at the same time."""
_NOTHING: Final = b"\xc0"


class NotYetError(ResultTimeoutError):
    """A message runs again whose result is asked for: it, or what came before it, was requeued."""


@dataclass(slots=True)
class Fetched:
    """An expression with the encoded results it stands for, and the errors of those that failed and may."""

    expression: Any
    results: dict[TaskId, bytes | None] = field(default_factory=dict)
    """None where none was stored, as for a message that a backend only notes."""
    errors: dict[TaskId, TaskError] = field(default_factory=dict)
    names: dict[TaskId, str] = field(default_factory=dict)
    """The tasks that the results come from."""

    def encoded(self, expression: Expression) -> bytes:
        """The value that a part of the expression stands for; errors are left out of their lists."""
        return msgspec.msgpack.encode(self._raw(expression))

    def _raw(self, expression: Expression) -> Any:
        match expression:
            case bytes():
                return msgspec.Raw(self.results[id_in(expression)] or _NOTHING)
            case list():
                return [self._raw(part) for part in expression if not self.is_error(part)]
            case _:
                return {name: self._raw(part) for name, part in expression.items()}

    def is_error(self, expression: Expression) -> bool:
        """Whether an error stands in its place."""
        return isinstance(expression, bytes) and id_in(expression) in self.errors

    def has_errors(self, expression: Expression) -> bool:
        """Whether an error stands anywhere in it."""
        return bool(self.errors) and any(id_in(one) in self.errors for one in references(expression))

    def restored(self, expression: Expression, value: Any) -> Any:
        """`value`, decoded from what `encoded` gave, with the errors in their places.

        Raises BadPayloadError where they have none, because the value is no list, tuple or dict there.
        """
        if not self.has_errors(expression):
            return value
        if type(expression) is list and type(value) in (list, tuple):
            rest = iter(value)
            items = (
                self.errors[id_in(part)] if self.is_error(part) else self.restored(part, next(rest))  # type: ignore[arg-type]
                for part in expression
            )
            return type(value)(list(items))
        if type(expression) is dict and type(value) is dict:
            return {name: self.restored(part, value[name]) for name, part in expression.items()}
        raise BadPayloadError(
            f"errors are among the values, which are read as a {type(value).__qualname__}; declare the "
            "parameter as a list or a tuple, or over a graph as a dict"
        )


async def fetch(place: Place, expression: Any, *, limit: int | None = None) -> Fetched:
    """All results that `expression` stands for.

    Raises ResultExpiredError for one that is no longer kept, NotYetError for one that is not there yet (its message
    was requeued after the workflow had gone past it), PayloadTooLargeError when together they have more than
    `limit` bytes, SignatureError for one that was not closed by the queue's keys, and what the backend raises.
    """
    backend = await place.backend()
    fetched = Fetched(await _without_gathered(place, backend, expression))
    tolerant: dict[TaskId, bool] = {}
    for one in references(fetched.expression):
        id = id_in(one)
        tolerant[id] = tolerant.get(id, True) and is_tolerant(one)
    pages = _Pages(list(tolerant), limit)
    while wave := pages.next_wave():
        for page, records in zip(wave, await asyncio.gather(*map(backend.get, wave)), strict=True):
            sizes = [_take(place, fetched, id, one, tolerant) for id, one in zip(page, records, strict=True)]
            pages.count(sum(sizes), max(sizes))
    await _trace(place, fetched)
    return fetched


async def _trace(place: Place, fetched: Fetched) -> None:
    """Let the errors of what was cancelled for another's sake, as in a chain, be those of what failed."""
    cancelled = [id for id, error in fetched.errors.items() if is_for_another(error)]
    for id, culprit in (await culprits(place, cancelled)).items():
        fetched.errors[id] = failure_in(culprit) or fetched.errors[id]


class _Pages:
    """What to read at once: more and more, unless results turn out to be large."""

    def __init__(self, ids: Sequence[TaskId], limit: int | None) -> None:
        self._ids = ids
        self._limit = limit
        self._start = 0
        self._total = 0
        self._largest = 1

    def next_wave(self) -> list[Sequence[TaskId]]:
        """Pages that are read at the same time; none at the end."""
        if not self._start:
            self._start = _FIRST_PAGE
            return [self._ids[:_FIRST_PAGE]] if self._ids else []
        size = max(1, min(MAX_BATCH, MAX_FILLED // (_AT_ONCE * self._largest)))
        starts = range(self._start, min(len(self._ids), self._start + _AT_ONCE * size), size)
        self._start += _AT_ONCE * size
        return [self._ids[start : min(start + size, len(self._ids))] for start in starts]

    def count(self, size: int, largest: int) -> None:
        """Take note of a page of `size` bytes, and of the `largest` result in it. Raises PayloadTooLargeError."""
        self._total += size
        self._largest = max(self._largest, largest)
        if self._limit is not None and self._total > self._limit:
            raise PayloadTooLargeError(
                f"the results that this step takes have {self._total} bytes or more together; the limit is "
                f"{self._limit}. Let the steps before it store what they make elsewhere, and return its key.",
                where="the inputs",
                size=self._total,
                limit=self._limit,
            )


def _take(place: Place, fetched: Fetched, id: TaskId, record: Record | None, tolerant: Mapping[TaskId, bool]) -> int:
    """Enter what became of one message; the bytes it takes."""
    if record is not None and record.status is TaskStatus.SUCCESS and not record.expired:
        result = None if record.result is None else place.seal.open(record.result, id)
        fetched.results[id], fetched.names[id] = result, record.name
        return len(result or b"")
    if record is not None and not record.status.finished:
        raise _not_yet(id)
    failure = None if record is None else failure_in(record)
    if failure is None or isinstance(failure, ResultExpiredError) or not tolerant[id]:
        raise _lost(id)
    fetched.errors[id] = failure
    return 0


async def check_ended(place: Place, expression: Any) -> None:
    """Raise NotYetError unless everything that `expression` stands for has ended, well or not."""
    backend = await place.backend()
    ids = [id_in(one) for one in references(await _without_gathered(place, backend, expression))]
    for start in range(0, len(ids), MAX_BATCH):
        for record in await backend.get(ids[start : start + MAX_BATCH]):
            if record is not None and not record.status.finished:
                raise _not_yet(record.id)


def _not_yet(id: TaskId) -> NotYetError:
    return NotYetError(f"message {id} was requeued and has not ended again; ask once it has", task_id=str(id))


def _lost(id: TaskId) -> ResultExpiredError:
    return ResultExpiredError(
        f"the result of message {id}, which this step takes, is no longer kept. Enqueue the workflow anew, and raise "
        "`result_ttl` of that task if a workflow is to be requeued later than that",
        task_id=str(id),
    )


async def _without_gathered(place: Place, backend: TaskBackend, expression: Any) -> Any:
    """The expression with what gathering messages stand for in their places."""
    kept: set[bytes] = set()
    while gathering := [one for one in references(expression) if is_gathered(one) and one not in kept]:
        known: dict[bytes, Expression] = {}
        for start in range(0, len(gathering), MAX_BATCH):
            await _look_up(place, backend, list(dict.fromkeys(gathering[start : start + MAX_BATCH])), known)
        kept.update(one for one in gathering if one not in known)
        expression = replaced(expression, known)
    return expression


async def _look_up(
    place: Place, backend: TaskBackend, gathering: Sequence[bytes], known: dict[bytes, Expression]
) -> None:
    """Enter what gathering messages stand for; one that failed, and may, stands for itself."""
    for one, record in zip(gathering, await backend.get([id_in(one) for one in gathering], body=True), strict=True):
        if record is None or record.body is None:
            raise _lost(id_in(one))
        if record.status is TaskStatus.SUCCESS:
            envelope = decode_envelope(place.seal.open(record.body))
            known[one] = (envelope.w or {}).get(WHOLE, [])
