"""What fills a parameter of a step: the result of one message, or lists and dicts of such results, to any depth.

An expression is MessagePack: bytes are the id of a message and stand for its result, lists and dicts for themselves.
The id may have marks behind it: TOLERANT where a failure counts as a value, the error; GATHERED where the message is
one that gathers, and stands for the expression in its own envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from reinhardt_tasks.errors import BadPayloadError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Envelope

Expression: TypeAlias = "bytes | list[Expression] | dict[str, Expression]"
TOLERANT: Final = b"?"
GATHERED: Final = b"*"
WHOLE: Final = ""
"""The parameter, among a gathering message's inputs, that has its expression."""
_ID: Final = 16  # bytes


def reference(id: TaskId, marks: bytes = b"") -> bytes:
    """The expression that stands for the result of one message."""
    return bytes(id) + marks


def id_in(reference: bytes) -> TaskId:
    """The message that a reference is to."""
    return TaskId(reference[:_ID])


def is_tolerant(reference: bytes) -> bool:
    """Whether a failure of the message counts as a value."""
    return len(reference) > _ID and TOLERANT in reference[_ID:]


def is_gathered(reference: bytes) -> bool:
    """Whether the message stands for the expression in its envelope, not for a result of its own."""
    return len(reference) > _ID and GATHERED in reference[_ID:]


def references(expression: Any) -> list[bytes]:
    """All references in an expression, in order. Raises BadPayloadError for what is none."""
    found: list[bytes] = []
    _collect(expression, found)
    return found


def _collect(expression: Any, found: list[bytes]) -> None:
    match expression:
        case bytes() if len(expression) >= _ID:
            found.append(expression)
        case list():
            for part in expression:  # a loop of its own: wide lists are of bytes
                if type(part) is bytes and len(part) >= _ID:
                    found.append(part)
                else:
                    _collect(part, found)
        case dict():
            for part in expression.values():
                _collect(part, found)
        case _:
            raise BadPayloadError(f"the inputs of a step cannot be read: {expression!r:.80} stands for no result")


def depth_of(expression: Expression) -> int:
    """How many lists and dicts stand in each other; what gathering messages stand for does not count."""
    if isinstance(expression, bytes):
        return 0
    parts = expression.values() if isinstance(expression, dict) else expression
    return 1 + max((depth_of(part) for part in parts if not isinstance(part, bytes)), default=0)


def parents_in(envelope: Envelope) -> list[TaskId]:
    """The messages that one waits for by its envelope, each once: those whose results it takes, then the others."""
    taken = references(dict(envelope.w or {}))
    return list(dict.fromkeys(id_in(reference) for reference in [*taken, *(envelope.o or ())]))


def replaced(expression: Expression, by: Mapping[bytes, Expression]) -> Expression:
    """The expression with others in the place of some references."""
    match expression:
        case bytes():
            return by.get(expression, expression)
        case list():
            return [replaced(part, by) for part in expression]
        case _:
            return {name: replaced(part, by) for name, part in expression.items()}
