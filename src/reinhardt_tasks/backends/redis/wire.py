"""How messages, claims and outcomes are written for the scripts, and what scripts answer is read."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    DAY,
    AnyMessage,
    Beat,
    Claim,
    Guard,
    Orders,
    Outcome,
    Put,
    Report,
    Settled,
)

Part = bytes | str | int | float

_LOSSES: Final = 3
_PARENTS_AT_ONCE: Final = 2_000
"""The most parents that one step links a message to."""
_MOST: Final = 2**32 - 1
"""The highest count that has room; a limit above it is as good as none."""
_PLAIN, _OPTIONS, _LASTING, _MARKED = 0, 1, 2, 4
_TOLERANT, _HELD, _WORKFLOW, _KEY, _WINDOW, _MOMENT, _DELAY, _LINKED = 1, 2, 4, 8, 16, 32, 64, 128
_pack_options = struct.Struct(">BdddId").pack
_pack_size = struct.Struct(">I").pack
_pack_token = struct.Struct(">16sI").pack
_pack_outcome = struct.Struct(">16sIBBd").pack
_read_state = struct.Struct(">xHxIIII36xd").unpack_from
"""Of a state (see lua/store.lua): marks, losses, attempts, unknowns, number, run_at."""
_TIMED: Final = 1024
_encode_beat = msgspec.msgpack.Encoder().encode
_SETTLED: Final = tuple(Settled)


# Put ------------------------------------------------------------------------------------------------------------------


def as_puts(messages: Sequence[AnyMessage]) -> tuple[list[Part], bool]:
    """The arguments that stand for `messages`, two for each, and whether all of them are plain: without options."""
    parts: list[Part] = []
    plain = True
    for message in messages:
        stored = as_put(message)
        plain = plain and stored[0] == _PLAIN
        parts += (message.id, stored)
    return parts, plain


def as_put(message: AnyMessage) -> bytes:
    """What is stored of a message, but for the moment it is stored, which the server puts in front."""
    if (
        message.delay <= 0
        and message.run_at is None
        and message.unique_key is None
        and not message.waits_on
        and message.workflow is None
        and message.result_ttl == DAY
        and message.max_losses == _LOSSES
        and message.unique_for is None
        and not message.held
    ):
        return _head(_PLAIN, message.priority, message.queue, message.name) + message.body
    lasting = message.result_ttl != DAY or message.unique_for is not None
    marked = message.held or message.tolerant or message.delay > 0 or message.run_at is not None
    kind = _OPTIONS | (_LASTING if lasting else 0) | (_MARKED if marked else 0)
    head = _head(kind, message.priority, message.queue, message.name)
    options = _options(message)
    return b"".join((head, _pack_size(len(options)), options, message.body))


@lru_cache(maxsize=1024)
def _head(kind: int, priority: int, queue: str, name: str) -> bytes:
    parts = [bytes((kind, priority))]
    for text in (queue, name):
        raw = text.encode()
        if len(raw) > 255:
            raise QueueError(f"{text!r} is longer than 255 bytes; shorten it", queue=queue)
        parts += (bytes((len(raw),)), raw)
    return b"".join(parts)


def _options(message: AnyMessage) -> bytes:
    bits = (
        (_TOLERANT if message.tolerant else 0)
        | (_HELD if message.held else 0)
        | (_WORKFLOW if message.workflow is not None else 0)
        | (_KEY if message.unique_key is not None else 0)
        | (_WINDOW if message.unique_for is not None else 0)
        | (_MOMENT if message.run_at is not None else 0)
        | (_DELAY if message.delay > 0 else 0)
        | (_LINKED if _is_wide(message) else 0)
    )
    parts = [
        _pack_options(
            bits,
            message.delay,
            message.run_at or 0.0,
            message.result_ttl,
            max(0, min(message.max_losses, _MOST)),
            message.unique_for or 0.0,
        ),
        message.workflow or b"",
    ]
    if message.unique_key is not None:
        key = message.unique_key.encode()
        parts += (_pack_size(len(key)), key)
    return b"".join((*parts, *message.waits_on))


def guard(guard: Guard | None) -> tuple[Part, Part, Part]:
    """The arguments of the script `put` that stand for a guard."""
    if guard is None:
        return "", "", ""
    return guard.schedule, "" if guard.expected is None else guard.expected, guard.due


def links(messages: Sequence[AnyMessage]) -> Iterator[list[bytes]]:
    """The arguments of the script `link`, for each of its calls before a `put` of `messages`."""
    for message in filter(_is_wide, messages):
        parents = list(dict.fromkeys(message.waits_on))
        for first in range(0, len(parents), _PARENTS_AT_ONCE):
            yield [message.id, *parents[first : first + _PARENTS_AT_ONCE]]


def _is_wide(message: AnyMessage) -> bool:
    return len(message.waits_on) > _PARENTS_AT_ONCE


def puts(messages: Sequence[AnyMessage], answer: int | list[int | bytes]) -> list[Put]:
    """What `put` answers. Raises QueueError where a parent is not stored."""
    if isinstance(answer, int):
        return [Put(message.id, created=True) for message in messages]
    if answer[:1] == [b"parent"]:
        child, parent = messages[int(answer[1]) - 1], answer[2]
        raise QueueError(
            f"message {child.id} waits for {TaskId(parent)}, which is not stored here; "
            "put the parent first, or earlier in the same call",
            queue=child.queue,
        )
    return [
        Put(message.id if standing in {1, b""} else TaskId(standing), created=standing == 1)
        for message, standing in zip(messages, answer, strict=True)
    ]


# Workers --------------------------------------------------------------------------------------------------------------


def beat(beat: Beat) -> list[Part]:
    """The arguments of the script `beat`."""
    kept = _encode_beat(msgspec.structs.replace(beat, reports=()) if beat.reports else beat)
    return [beat.worker, kept, beat.number, beat.lease, int(beat.leaving), *reports(beat.reports)]


def reports(reports: Iterable[Report]) -> list[Part]:
    """Reports of progress, two arguments each."""
    parts: list[Part] = []
    for report in reports:
        parts += (_pack_token(report.id, _number(report.number)), report.progress)
    return parts


def outcomes(outcomes: Iterable[Outcome]) -> list[Part]:
    """Outcomes, an argument each."""
    return [
        _pack_outcome(outcome.id, _number(outcome.number), outcome.kind, outcome.unknown, outcome.delay)
        + outcome.payload
        for outcome in outcomes
    ]


def _number(number: int) -> int:
    """The number of a claim; one that no claim can have is told as 0, which none has either."""
    return number if 0 <= number <= _MOST else 0


def settled(answer: bytes) -> list[Settled]:
    """What the fence says to each outcome."""
    return [_SETTLED[code] for code in answer]


def orders(answer: list[int | bytes]) -> Orders:
    """What a worker is told."""
    registered, draining, *cancels = answer
    return Orders(tuple(TaskId(id) for id in cancels), bool(draining), bool(registered))


def claims(answer: list[bytes]) -> list[Claim]:
    """What a worker is given: for each claim the id, what was put, and the state, empty in a first run."""
    given: list[Claim] = []
    fields = iter(answer)
    for id, put, state in zip(fields, fields, fields, strict=True):
        if not state:
            given.append(Claim(TaskId(id), 1, put[_body_at(put) :]))
            continue
        marks, losses, attempts, unknowns, number, run_at = _read_state(state)
        moment = run_at if marks & _TIMED else None
        given.append(Claim(TaskId(id), number, put[_body_at(put) :], attempts, losses, unknowns, moment))
    return given


def _body_at(put: bytes) -> int:
    """Where in what was put (see lua/store.lua) the body begins."""
    at = 11 + put[10]
    at += 1 + put[at]
    if put[8]:
        at += 4 + int.from_bytes(put[at : at + 4], "big")
    return at
