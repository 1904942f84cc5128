"""Arrays of parameters in PostgreSQL's binary form, packed many values at a time; pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

_HEADER: Final = struct.Struct("!iiIii")
_LENGTH: Final = struct.Struct("!i").pack
_FLOAT: Final = struct.Struct("!id").pack
_NULL: Final = _LENGTH(-1)
_UUID: Final = _LENGTH(16)
_BOOLEANS: Final = (_LENGTH(1) + b"\0", _LENGTH(1) + b"\1")


class Uuids(bytes):
    """A uuid[]."""

    __slots__ = ()
    element: Final = 2950
    oid: Final = 2951

    @classmethod
    def of(cls, values: Iterable[bytes | None]) -> Uuids:
        """From values of 16 bytes each."""
        parts = [_NULL if value is None else _UUID + value for value in values]
        return cls(_array(cls.element, parts))


class Blobs(bytes):
    """A bytea[]."""

    __slots__ = ()
    element: Final = 17
    oid: Final = 1001

    @classmethod
    def of(cls, values: Iterable[bytes]) -> Blobs:
        """From bytes."""
        return cls(_array(cls.element, [_LENGTH(len(value)) + value for value in values]))


class Texts(bytes):
    """A text[]."""

    __slots__ = ()
    element: Final = 25
    oid: Final = 1009

    @classmethod
    def of(cls, values: Iterable[str | None]) -> Texts:
        """From texts. Raises UnicodeEncodeError for what is not valid Unicode."""
        raw = [None if value is None else value.encode() for value in values]
        return cls(_array(cls.element, [_NULL if value is None else _LENGTH(len(value)) + value for value in raw]))


class Integers(bytes):
    """An int4[]."""

    __slots__ = ()
    element: Final = 23
    oid: Final = 1007

    @classmethod
    def of(cls, values: Sequence[int]) -> Integers:
        """From integers. Raises struct.error for one that needs more than 32 bits."""
        pairs = [4] * (2 * len(values))
        pairs[1::2] = values
        return cls(_array(cls.element, [struct.pack(f"!{len(pairs)}i", *pairs)], len(values)))


class Floats(bytes):
    """A float8[]."""

    __slots__ = ()
    element: Final = 701
    oid: Final = 1022

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Floats:
        """From numbers."""
        return cls(_array(cls.element, [_NULL if value is None else _FLOAT(8, value) for value in values]))


class Booleans(bytes):
    """A boolean[]."""

    __slots__ = ()
    element: Final = 16
    oid: Final = 1000

    @classmethod
    def of(cls, values: Iterable[bool]) -> Booleans:
        """From truths."""
        return cls(_array(cls.element, [_BOOLEANS[value] for value in values]))


KINDS: Final = (Uuids, Blobs, Texts, Integers, Floats, Booleans)


def _array(element: int, parts: Sequence[bytes], count: int | None = None) -> bytes:
    """One dimension, from 1. The flag for NULLs may be set without there being any."""
    length = len(parts) if count is None else count
    if not length:
        return struct.pack("!iiI", 0, 0, element)
    return _HEADER.pack(1, 1, element, length, 1) + b"".join(parts)
