"""Packing messages for `put`: what messages of one kind have in common travels once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reinhardt_tasks.backends.postgres.arrays import Blobs, Booleans, Floats, Integers, Texts, Uuids
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Guard, Put

Kind = tuple[Any, ...]
"""All that a message says but for its id and body."""
VALUES: Final = 22
"""How many values `pack` gives."""


def pack(messages: Sequence[AnyMessage], guard: Guard | None, *, wake: bool) -> list[Any]:
    """The values of the function `put`."""
    kinds: dict[Kind, int] = {}
    numbers = [kinds.setdefault(_kind(message), len(kinds) + 1) for message in messages]
    waits = [(number, parent) for kind, number in kinds.items() for parent in kind[11]]
    columns: list[tuple[Any, ...]] = list(zip(*kinds, strict=True)) if kinds else [()] * 12
    return [
        Uuids.of([message.id for message in messages]),
        Blobs.of([message.body for message in messages]),
        Integers.of(numbers),
        Texts.of(columns[0]),
        Texts.of(columns[1]),
        Integers.of(columns[2]),
        Floats.of(columns[3]),
        Floats.of(columns[4]),
        Floats.of(columns[5]),
        Integers.of(columns[6]),
        Uuids.of(columns[7]),
        Texts.of(column[0] for column in columns[8]),
        Floats.of(column[1] for column in columns[8]),
        Booleans.of(columns[9]),
        Booleans.of(columns[10]),
        Integers.of([number for number, _ in waits]),
        Uuids.of([parent for _, parent in waits]),
        guard is not None,
        guard.schedule if guard is not None else None,
        guard.expected if guard is not None else None,
        guard.due if guard is not None else None,
        wake,
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
        (message.unique_key, message.unique_for if message.unique_key is not None else None),
        message.tolerant,
        message.held,
        message.waits_on,
    )


def unpack(messages: Sequence[AnyMessage], known: Sequence[bytes | None] | None) -> list[Put]:
    """What became of each message."""
    if known is None:
        return [Put(message.id, created=True) for message in messages]
    return [
        Put(message.id, created=True) if id is None else Put(TaskId(id), created=False)
        for message, id in zip(messages, known, strict=True)
    ]
