"""Arrays of parameters, packed many values at a time: in PostgreSQL's binary form, and as text for any driver; pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final, Self

_HEADER: Final = struct.Struct("!iiIii")
_LENGTH: Final = struct.Struct("!i").pack
_FLOAT: Final = struct.Struct("!id").pack
_NULL: Final = _LENGTH(-1)
_UUID: Final = _LENGTH(16)
_BOOLEANS: Final = (_LENGTH(1) + b"\0", _LENGTH(1) + b"\1")


class Packed(bytes):
    """An array in binary form."""

    __slots__ = ()
    sql: ClassVar[str]
    """Its type in SQL."""
    oid: ClassVar[int]
    element: ClassVar[int]
    """The oid of its elements' type."""

    @classmethod
    def of(cls, values: Iterable[Any]) -> Self:
        """From values, any of which may be None. Raises UnicodeEncodeError, struct.error."""
        return cls(_array(cls.element, [_NULL if value is None else cls.packed(value) for value in values]))

    @classmethod
    def packed(cls, value: Any) -> bytes:
        """One element, its length in front; here one that is given as its bytes."""
        return _LENGTH(len(value)) + bytes(value)

    @classmethod
    def literal(cls, values: Iterable[Any]) -> str:
        """The array as text."""
        return "{" + ",".join("NULL" if value is None else cls.said(value) for value in values) + "}"

    @classmethod
    def said(cls, value: Any) -> str:
        """One element as text."""
        return str(value)


class Uuids(Packed):
    """From 16 bytes each."""

    __slots__ = ()
    sql, element, oid = "uuid[]", 2950, 2951

    @classmethod
    def packed(cls, value: bytes) -> bytes:
        """See Packed."""
        return _UUID + value

    @classmethod
    def said(cls, value: bytes) -> str:
        """See Packed."""
        return value.hex()


class Blobs(Packed):
    """From bytes."""

    __slots__ = ()
    sql, element, oid = "bytea[]", 17, 1001

    @classmethod
    def said(cls, value: bytes) -> str:
        """See Packed."""
        return f'"\\\\x{value.hex()}"'


class Texts(Packed):
    """From texts."""

    __slots__ = ()
    sql, element, oid = "text[]", 25, 1009

    @classmethod
    def packed(cls, value: str) -> bytes:
        """See Packed."""
        return super().packed(value.encode())

    @classmethod
    def said(cls, value: str) -> str:
        """See Packed."""
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Integers(Packed):
    """From integers of up to 32 bits."""

    __slots__ = ()
    sql, element, oid = "int[]", 23, 1007

    @classmethod
    def of(cls, values: Iterable[int]) -> Self:
        """See Packed; none may be None."""
        known = tuple(values)
        pairs = [4] * (2 * len(known))
        pairs[1::2] = known
        return cls(_array(cls.element, [struct.pack(f"!{len(pairs)}i", *pairs)], len(known)))


class Floats(Packed):
    """From numbers."""

    __slots__ = ()
    sql, element, oid = "float8[]", 701, 1022

    @classmethod
    def packed(cls, value: float) -> bytes:
        """See Packed."""
        return _FLOAT(8, value)

    @classmethod
    def said(cls, value: float) -> str:
        """See Packed."""
        return repr(float(value))


class Booleans(Packed):
    """From truths."""

    __slots__ = ()
    sql, element, oid = "boolean[]", 16, 1000

    @classmethod
    def packed(cls, value: bool) -> bytes:  # noqa: FBT001 - an element
        """See Packed."""
        return _BOOLEANS[value]


KINDS: Final[tuple[type[Packed], ...]] = (Uuids, Blobs, Texts, Integers, Floats, Booleans)


def _array(element: int, parts: Sequence[bytes], count: int | None = None) -> bytes:
    """One dimension, from 1. The flag for NULLs may be set without there being any."""
    length = len(parts) if count is None else count
    if not length:
        return struct.pack("!iiI", 0, 0, element)
    return _HEADER.pack(1, 1, element, length, 1) + b"".join(parts)
