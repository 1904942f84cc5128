"""Looking through a value before it is encoded: what would be lost on the way, how large it is, how deep.

A value of quite another type than a walk is for passes: the decoding that follows says better what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import PurePath
from typing import Any

import msgspec

from reinhardt_tasks.codec.limits import Limits
from reinhardt_tasks.codec.misfit import KEY_HINT, Misfit, too_deep, too_large
from reinhardt_tasks.codec.models import is_model
from reinhardt_tasks.codec.wire import base_of, can_be_declared
from reinhardt_tasks.errors import NotFiniteError, UnencodableError

Walk = Callable[[Any, int], int]
"""(value, depth it stands at) → a lower bound of its encoded size in bytes. Raises Misfit for what cannot travel."""

ARRAYS = (list, tuple, set, frozenset)
BYTES = (bytes, bytearray, memoryview)
_SIZED = (str, *BYTES, dict, *ARRAYS)
_UNSIZED_LEAVES = frozenset({type(None), bool, int})
_PLAIN_KEYS = frozenset({str, int})
_SHOWN = 40  # characters of a key in an error's text


def length(value: Any, _depth: int = 0) -> int:
    """The size of text and bytes, and of containers that hold nothing to look at."""
    return len(value) if isinstance(value, _SIZED) else 1


def path_length(value: Any, _depth: int = 0) -> int:
    """The size of a path, or of the text given in its place."""
    return len(str(value)) if isinstance(value, PurePath) else length(value)


def plain_key(key: Any, _depth: int = 0) -> int:
    """The size of a key that is not declared: str or int, which come back as they went."""
    if type(key) not in _PLAIN_KEYS:
        raise Misfit(
            UnencodableError,
            f"has a key of type `{type(key).__qualname__}` where none is declared",
            "Annotate the type of the keys, or they would come back as something else",
            given=type(key).__qualname__,
        )
    return len(key) if isinstance(key, str) else 1


@dataclass(frozen=True, slots=True, eq=False)
class _Container:
    limits: Limits

    def enter(self, depth: int) -> int:
        """The depth inside. Raises Misfit when that is too deep."""
        if depth >= self.limits.max_depth:
            raise too_deep(self.limits.max_depth)
        return depth + 1

    def weigh(self, size: int) -> int:
        """The size, when it is within the limit."""
        if size > self.limits.max_size:
            raise too_large(size, self.limits.max_size, note=" or more")
        return size


@dataclass(frozen=True, slots=True, eq=False)
class Items(_Container):
    """A list, set or tuple whose items all have one declared type."""

    item: Walk

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        if not isinstance(value, ARRAYS):
            return 1
        size = self.weigh(len(value))
        return self.weigh(size + _total(enumerate(value), self.item, self.enter(depth)))


@dataclass(frozen=True, slots=True, eq=False)
class Positions(_Container):
    """A tuple whose items each have their own declared type; None where there is nothing to look at."""

    items: Sequence[Walk | None]

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        if not isinstance(value, ARRAYS):
            return 1
        inner, size = self.enter(depth), self.weigh(len(value))
        for index, (item, walk) in enumerate(zip(value, self.items, strict=False)):
            if walk is not None:
                size += _step(walk, item, inner, f"[{index}]")
        return self.weigh(size)


@dataclass(frozen=True, slots=True, eq=False)
class Entries(_Container):
    """A dict with declared types of keys and values; None where there is nothing to look at."""

    key: Walk | None
    value: Walk | None

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        if not isinstance(value, dict):
            return 1
        inner, size = self.enter(depth), self.weigh(len(value))
        if self.key is not None:
            size += sum(self.key(key, inner) for key in value)
        if self.value is not None:
            size += _total(value.items(), self.value, inner)
        return self.weigh(size)


@dataclass(frozen=True, slots=True, eq=False)
class Plain(_Container):
    """A value whose type is not declared: None, bool, int, float, str, bytes, and lists and dicts of them.

    Nothing else, as it would come back as something else: a UUID as text. A tuple is taken and comes back as a list.
    `tolerant` lets pass what a writer may have declared though the reader does not: datetimes, nan, keys of any type.
    """

    tolerant: bool = False

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        kind = type(value)
        if kind is str or kind is bytes:
            return self.weigh(len(value))
        if kind in _UNSIZED_LEAVES:
            return 1
        if kind is dict:
            size = self.weigh(len(value))
            keys = size if self.tolerant else sum(map(plain_key, value))
            return self.weigh(keys + _total(value.items(), self, self.enter(depth)))
        if kind is list or kind is tuple:
            return self.weigh(self.weigh(len(value)) + _total(enumerate(value), self, self.enter(depth)))
        if (kind is float and (self.tolerant or isfinite(value))) or (kind is datetime and self.tolerant):
            return 9
        raise _undeclared(value)


@dataclass(frozen=True, slots=True, eq=False)
class Members(_Container):
    """An object with declared fields: dataclass, attrs class, Struct, or TypedDict (then `kind` is dict).

    A dict is taken in an object's place when it has no other keys than the fields. `fields` lists those to look at, as
    attribute, name on the wire and walk; it is filled once the object is made, as a class may hold itself.
    """

    kind: type
    shown: str
    names: frozenset[str]
    tag: tuple[str, object] | None
    fields: list[tuple[str, str, Walk]]

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        inner, size = self.enter(depth), len(self.names)
        if isinstance(value, dict):
            self._refuse_other_keys(value)
            for _, key, walk in self.fields:
                size += _step(walk, value.get(key), inner, f".{key}")
        elif type(value) is self.kind:
            for attribute, _, walk in self.fields:
                item = getattr(value, attribute, msgspec.UNSET)
                if item is not msgspec.UNSET:  # then nothing is written
                    size += _step(walk, item, inner, f".{attribute}")
        else:
            raise Misfit(None, f"Expected `{self.shown}`, got `{type(value).__qualname__}`")
        return self.weigh(size)

    def takes(self, value: object) -> bool:
        """Whether this is the one, among several classes, that `value` belongs to."""
        if isinstance(value, dict):
            return self.tag is None or value.get(self.tag[0]) == self.tag[1]
        return type(value) is self.kind

    def _refuse_other_keys(self, value: dict[Any, Any]) -> None:
        other = next((key for key in value if key not in self.names), None)
        if other is not None:
            raise Misfit(None, f"`{self.shown}` has no field {other!r:.{_SHOWN}}")


@dataclass(frozen=True, slots=True, eq=False)
class Weight(_Container):
    """A pydantic model by the text and bytes it holds, before it makes JSON of them; or what is given in its place."""

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        if is_model(type(value)):
            items: Collection[Any] = vars(value).values()
        elif isinstance(value, dict):
            items = value.values()
        elif isinstance(value, ARRAYS):
            items = value
        else:
            return length(value)
        inner, size = self.enter(depth), self.weigh(len(items))
        return self.weigh(size + sum(self(item, inner) for item in items))


@dataclass(frozen=True, slots=True, eq=False)
class Choice(_Container):
    """One of several types: `branches` by the classes of their values, `objects` one class, or several with tags."""

    branches: Sequence[tuple[tuple[type, ...], Walk]]
    objects: Sequence[Members]

    def __call__(self, value: Any, depth: int) -> int:
        """See Walk."""
        for classes, walk in self.branches:
            if isinstance(value, classes):
                return walk(value, depth)
        for members in self.objects:
            if members.takes(value):
                return members(value, depth)
        if self.objects and _has_fields(value):
            raise Misfit(
                None,
                f"Expected `{' | '.join(members.shown for members in self.objects)}`, got `{type(value).__qualname__}`",
            )
        return 1


def _total(steps: Iterable[tuple[object, Any]], walk: Walk, depth: int) -> int:
    """The sizes of the items together; a Misfit is told which of them it is in."""
    size, step = 0, None
    try:
        for step, item in steps:  # noqa: B007 - read when it fails
            size += walk(item, depth)
    except Misfit as misfit:
        raise misfit.inside(f"[{step!r:.{_SHOWN}}]") from None
    return size


def _step(walk: Walk, value: Any, depth: int, step: str) -> int:
    try:
        return walk(value, depth)
    except Misfit as misfit:
        raise misfit.inside(step) from None


def _has_fields(value: object) -> bool:
    return isinstance(value, msgspec.Struct) or hasattr(type(value), "__dataclass_fields__")


def _undeclared(value: object) -> Misfit:
    """Why a value cannot travel where no type is declared."""
    kind: type = type(value)
    if kind is float:
        return Misfit(NotFiniteError, f"is {value} where no type is declared", "Annotate it float, or pass None")
    shown = kind.__qualname__
    if kind is not object and can_be_declared(kind):
        remedy = f"Annotate it `{shown}`, or it would come back as something else"
    else:
        remedy = f"Pass it as a `{base.__name__}`" if (base := base_of(kind)) else KEY_HINT
    return Misfit(UnencodableError, f"holds a value of type `{shown}` where no type is declared", remedy, given=shown)
