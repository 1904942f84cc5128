"""The frequent frames of AMQP 0.9.1, packed and read without an object for each.

A frame is its type, channel and size, that many bytes, and the byte 0xCE. A message is three of them or more: a method,
a header with the properties, and the body in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec
from pika import data, spec

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
DELIVER: Final = b"\x00\x3c\x00\x3c"
ACK: Final = b"\x00\x3c\x00\x50"
NACK: Final = b"\x00\x3c\x00\x78"
"""Class and method of basic.deliver, basic.ack and basic.nack."""
FRAME: Final = Struct(">BHI")
OVERHEAD: Final = FRAME.size + 1
_END: Final = b"\xce"
_PLAIN: Final = 0x1880
"""The flags of a message with delivery mode, priority and id, and nothing else."""
_WITH_HEADERS: Final = 0x3880
_PROPERTIES: Final = Struct(">HHQH")
_CONTENT: Final = Struct(">BHIHHQH")
_TAG: Final = Struct(">Q")
_SETTLED: Final = Struct(">BHIHHQB")
_REQUEUE: Final = 2


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A message as it was delivered, in the session and under the tag that it is settled by.

    `consumer` is the queue on the server that it came from. `redelivered` says that it has been handed out before.
    `priority` is None, and `id` empty, where another client has set none.
    """

    session: int
    tag: int
    consumer: bytes
    redelivered: bool
    priority: int | None
    id: str
    body: bytes
    headers: Mapping[str, Any]


class Parcel(NamedTuple):
    """A message to be published: to `exchange` under `key`, as one that survives a restart or not (`mode` 2 or 1)."""

    exchange: str
    key: str
    body: bytes
    id: str
    priority: int = 5
    mode: int = 2
    headers: Mapping[str, Any] | None = None


# Packing --------------------------------------------------------------------------------------------------------------


def published(channel: int, parcel: Parcel, largest: int) -> bytes:
    """The frames of a `mandatory` basic.publish; pieces of the body have `largest` bytes at most."""
    exchange, key, body = parcel.exchange.encode(), parcel.key.encode(), parcel.body
    method = b"".join((b"\x00\x3c\x00\x28\x00\x00", _short(exchange), _short(key), b"\x01"))
    properties = _properties(parcel)
    frames = [_frame(METHOD, channel, method)]
    flags = _WITH_HEADERS if parcel.headers else _PLAIN
    frames.append(_CONTENT.pack(HEADER, channel, 14 + len(properties), 60, 0, len(body), flags) + properties + _END)
    frames.extend(_frame(BODY, channel, body[at : at + largest]) for at in range(0, len(body), largest))
    return b"".join(frames)


def _properties(parcel: Parcel) -> bytes:
    fixed = bytes((parcel.mode, parcel.priority)) + _short(parcel.id.encode())
    if not parcel.headers:
        return fixed
    pieces: list[bytes] = []
    data.encode_table(pieces, dict(parcel.headers))
    return b"".join(pieces) + fixed


def acknowledged(channel: int, tag: int, *, multiple: bool) -> bytes:
    """A basic.ack: of one delivery, or of all up to it."""
    return _SETTLED.pack(METHOD, channel, 13, 60, 80, tag, multiple) + _END


def given_back(channel: int, tag: int) -> bytes:
    """A basic.nack of one delivery, which goes back to where it stood in its queue."""
    return _SETTLED.pack(METHOD, channel, 13, 60, 120, tag, _REQUEUE) + _END


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((FRAME.pack(kind, channel, len(payload)), payload, _END))


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


# Reading --------------------------------------------------------------------------------------------------------------


def confirm(buffer: bytes, start: int) -> tuple[int, bool]:
    """The tag of a basic.ack or basic.nack that begins at `start`, and whether it stands for all before it too."""
    return _TAG.unpack_from(buffer, start + 11)[0], bool(buffer[start + 19] & 1)


def delivery(session: int, buffer: bytes, start: int) -> tuple[Delivery | None, int]:
    """The delivery whose basic.deliver begins at `start`, and where it ends.

    None where its body is no single frame, which others have to read; the end is 0 where it is not all there yet.
    """
    header = start + OVERHEAD + FRAME.unpack_from(buffer, start)[2]
    body = _after(buffer, header)
    if not body:
        return None, 0
    _, _, size, flags = _PROPERTIES.unpack_from(buffer, header + 7)
    if not size:
        return None, body
    end = _after(buffer, body)
    if len(buffer) >= body + FRAME.size and FRAME.unpack_from(buffer, body)[2] != size:
        return None, body
    if not end:
        return None, 0
    tag_at = start + 12 + buffer[start + 11]
    priority, identifier, headers = _read_properties(buffer, header + 21, body - 1, flags)
    return (
        Delivery(
            session,
            _TAG.unpack_from(buffer, tag_at)[0],
            buffer[start + 12 : tag_at],
            bool(buffer[tag_at + 8]),
            priority,
            identifier,
            buffer[body + 7 : end - 1],
            headers,
        ),
        end,
    )


def _after(buffer: bytes, start: int) -> int:
    """Where the frame at `start` ends; 0 where it is not all there."""
    if len(buffer) < start + FRAME.size:
        return 0
    end: int = start + OVERHEAD + FRAME.unpack_from(buffer, start)[2]
    return end if end <= len(buffer) else 0


def _read_properties(buffer: bytes, start: int, end: int, flags: int) -> tuple[int | None, str, Mapping[str, Any]]:
    if flags == _PLAIN:
        return buffer[start + 1], buffer[start + 3 : end].decode(errors="replace"), _NONE
    found: Any = spec.BasicProperties()  # type: ignore[no-untyped-call]
    found.decode(buffer[start - 2 : end])
    return taken(found)


def taken(found: Any) -> tuple[int | None, str, Mapping[str, Any]]:
    """Priority, id and headers among the properties that pika has read."""
    return found.priority, str(found.message_id or ""), found.headers or _NONE


_NONE: Final[Mapping[str, Any]] = {}
