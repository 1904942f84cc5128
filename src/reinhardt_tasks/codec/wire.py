"""The MessagePack encoder of all values, and the hooks for the classes that msgspec does not know itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import inspect as types

from reinhardt_tasks.codec.misfit import KEY_HINT, Misfit
from reinhardt_tasks.codec.models import is_model, model_from, model_text
from reinhardt_tasks.errors import UnencodableError

_UNCHECKED = (types.RawType, types.ExtType)  # bytes that are not looked into


def _through_text(read: Callable[[str], object], write: Callable[[Any], str]) -> Callable[[Any], object]:
    return lambda value: read(write(value))


# Bound here, as libraries that stop the clock in tests put classes of their own in the place of these.
_BASES: dict[type, Callable[[Any], object]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    datetime: _through_text(datetime.fromisoformat, datetime.isoformat),
    date: _through_text(date.fromisoformat, date.isoformat),
}


@lru_cache(maxsize=512)
def base_of(kind: type) -> type | None:
    """The builtin class whose instances stand on the wire for those of `kind`, if it is such a class or a subclass."""
    if kind is bool or issubclass(kind, Enum):
        return None
    return next((base for base in _BASES if issubclass(kind, base)), None)


def as_base(value: object) -> object:
    """A value of a subclass of str, int, float, datetime or date as one of that class; any other as it is."""
    kind: type = type(value)
    base = base_of(kind)
    return value if base is None or base is kind else _BASES[base](value)


def to_wire(value: object) -> object:
    """What stands on the wire for a value of a class of its own. Raises Misfit if it has no such form."""
    if isinstance(value, PurePath):
        return str(value)
    base = as_base(value)
    if base is not value:
        return base
    kind = type(value)
    if is_model(kind):
        return model_text(value)  # type: ignore[arg-type]  # a value of a Model class is a Model
    raise Misfit(UnencodableError, f"holds a value of type `{kind.__qualname__}`", KEY_HINT, given=kind.__qualname__)


def from_wire(kind: type, wire: Any) -> object:
    """The value of class `kind` that `wire` stands for; a value that is one already is returned as it is.

    Raises TypeError or ValueError, to which msgspec adds the place.
    """
    if kind is object:
        return wire
    if isinstance(wire, kind) and (type(wire) is kind or not is_model(kind)):
        return wire
    if issubclass(kind, PurePath) and isinstance(wire, str):
        return kind(wire)
    if is_model(kind) and isinstance(wire, (str, bytes, dict, list)):
        return model_from(kind, wire)
    raise TypeError(f"Expected `{kind.__qualname__}`, got `{type(wire).__qualname__}`")


def has_form(kind: type) -> bool:
    """Whether `to_wire` and `from_wire` know the class `kind`, which msgspec calls a custom type."""
    return kind is object or kind is msgspec.UnsetType or is_model(kind) or issubclass(kind, PurePath)


def can_be_declared(kind: type) -> bool:
    """Whether a value of class `kind` travels where it is annotated so."""
    try:
        node = types.type_info(kind)
    except TypeError:
        return False
    return has_form(kind) if isinstance(node, types.CustomType) else not isinstance(node, _UNCHECKED)


encode = msgspec.msgpack.Encoder(enc_hook=to_wire).encode
"""Any value as MessagePack. Raises Misfit, UnicodeEncodeError, OverflowError, RecursionError."""
