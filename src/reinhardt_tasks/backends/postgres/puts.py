"""Packing messages for `put`: what messages of one kind have in common travels once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reinhardt_tasks.backends.postgres.arrays import Blobs, Booleans, Floats, Integers, Packed, Texts, Uuids
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Guard, Put

Kind = tuple[Any, ...]
"""All that a message says but for its id and body, in the order of `_KIND`, its parents last."""
Columns = list[tuple[type[Packed], Sequence[Any]]]
"""The arrays of the function `put`."""
_KIND: Final[tuple[type[Packed], ...]] = (
    Texts,  # name
    Texts,  # queue
    Integers,  # priority
    Floats,  # delay
    Floats,  # run_at
    Floats,  # result_ttl
    Integers,  # max_losses
    Uuids,  # workflow
    Texts,  # unique_key
    Floats,  # unique_for
    Booleans,  # tolerant
    Booleans,  # held
)
SCALARS: Final = ("boolean", "text", "float8", "float8", "boolean", "boolean")
"""The types of the values that follow the arrays."""


def columns(messages: Sequence[AnyMessage]) -> Columns:
    """What the arrays of the function `put` hold."""
    kinds: dict[Kind, int] = {}
    numbers = [kinds.setdefault(_kind(message), len(kinds) + 1) for message in messages]
    waits = [(number, parent) for kind, number in kinds.items() for parent in kind[-1]]
    return [
        (Uuids, [message.id for message in messages]),
        (Blobs, [message.body for message in messages]),
        (Integers, numbers),
        *zip(_KIND, list(zip(*kinds, strict=True))[:-1], strict=True),
        (Integers, [number for number, _ in waits]),
        (Uuids, [parent for _, parent in waits]),
    ]


def _kind(message: AnyMessage) -> Kind:
    return (
        message.name,
        message.queue,
        message.priority,
        message.delay,
        message.run_at,
        message.result_ttl,
        message.max_losses,
        message.workflow,
        message.unique_key,
        message.unique_for if message.unique_key is not None else None,
        message.tolerant,
        message.held,
        message.waits_on,
    )


def scalars(guard: Guard | None, *, wake: bool, as_new: bool = False) -> list[Any]:
    """The values that follow the arrays."""
    guarded = [False, None, None, None] if guard is None else [True, guard.schedule, guard.expected, guard.due]
    return [*guarded, wake, as_new]


def pack(messages: Sequence[AnyMessage], guard: Guard | None, *, as_new: bool) -> list[Any]:
    """The values of the function `put`, for a connection of our own."""
    arrays = (kind.of(values) for kind, values in columns(messages))
    return [*arrays, *scalars(guard, wake=False, as_new=as_new)]


def unpack(messages: Sequence[AnyMessage], known: Sequence[bytes | None] | None) -> list[Put]:
    """What became of each message."""
    if known is None:
        return [Put(message.id, created=True) for message in messages]
    return [
        Put(message.id, created=True) if id is None else Put(TaskId(id), created=False)
        for message, id in zip(messages, known, strict=True)
    ]
