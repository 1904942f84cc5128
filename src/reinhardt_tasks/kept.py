"""What a result store keeps under an id, as bytes: a value by its codec, or an error as text and facts."""

from __future__ import annotations

import inspect
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

import msgspec

from reinhardt_tasks import errors
from reinhardt_tasks.errors import BadPayloadError, ExecutionFailedError, TaskError
from reinhardt_tasks.failure import judge
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, capped
from reinhardt_tasks.retry import RetryStrategy

Fact = str | int | float | None
_KINDS: Final = MappingProxyType(
    {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, TaskError)}
)
"""The errors that come back as what they were: those of this package, whose facts are texts and numbers."""


class KeptError(msgspec.Struct, frozen=True, array_like=True):
    """An error as it is kept: the name of its class, its facts (the text is one of them), and its notes."""

    kind: str
    facts: dict[str, Fact]
    notes: list[str] = []


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The encoded value, or the error."""

    value: bytes = b""
    error: KeptError | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Kept).decode


def keep_value(encoded: bytes) -> bytes:
    """A value's bytes, as they are kept."""
    return _encode(Kept(encoded))


def keep_error(task_id: TaskId, error: BaseException) -> bytes:
    """An error, as it is kept: one of this package with its facts, any other as an ExecutionFailedError about it."""
    told = error if isinstance(error, TaskError) and _KINDS.get(type(error).__name__) is type(error) else None
    told = told or _failed(task_id, error)
    facts = {name: _fact(value) for name, value in vars(told).items() if name != "__notes__"}
    return _encode(Kept(error=KeptError(type(told).__name__, facts, [_text(note) for note in _notes(told)])))


def kept_in(raw: bytes, task_id: TaskId) -> bytes | TaskError:
    """The value's bytes, or the error. Raises BadPayloadError for what is neither."""
    try:
        kept = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        text = f"the result of {task_id} cannot be read: {error}. Find out what else writes to this store."
        raise BadPayloadError(text, where="the result") from error
    return kept.value if kept.error is None else _error_of(kept.error, task_id)


def _failed(task_id: TaskId, error: BaseException) -> ExecutionFailedError:
    """The error that stands for one of a class that does not travel."""
    record = ErrorRecord.decode(judge(RetryStrategy.no_retry(), error).record.encode())
    failure = ExecutionFailedError(
        f"What was to make the result of {task_id} failed: {record.type}: {record.message}",
        task_id=str(task_id),
        error_type=record.type,
        error_message=record.message,
        traceback_text=record.traceback,
        reason=record.reason.value,
    )
    failure.add_note(f"Where it was raised:\n{record.traceback}")
    return failure


def _error_of(kept: KeptError, task_id: TaskId) -> TaskError:
    """The error as it was; of a class that this version does not know, as one that it does."""
    kind = _KINDS.get(kept.kind)
    facts: dict[str, Any] = kept.facts
    if kind is None:
        error: TaskError = ExecutionFailedError(
            str(facts.get("message", "")), task_id=str(task_id), error_type=kept.kind
        )
    else:
        known = {field.name for field in fields(kind)}
        error = kind(**{name: value for name, value in facts.items() if name in known})
    for note in kept.notes:
        error.add_note(note)
    return error


def _fact(value: object) -> Fact:
    """A fact as it travels."""
    return value if value is None or isinstance(value, int | float) else _text(value)


def _text(value: object) -> str:
    return capped(str(value))


def _notes(error: BaseException) -> list[object]:
    return getattr(error, "__notes__", [])
