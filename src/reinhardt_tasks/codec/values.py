"""One value of a declared type ↔ bytes."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import NoneType
from typing import Any, Never, NewType, NoReturn

import msgspec

from reinhardt_tasks.codec import wire
from reinhardt_tasks.codec.limits import DEFAULT, Limits
from reinhardt_tasks.codec.misfit import KEY_HINT, Misfit, too_large
from reinhardt_tasks.codec.refusals import Place, placed, unencodable, unreadable
from reinhardt_tasks.codec.shape import Shape
from reinhardt_tasks.codec.walks import Plain, Walk
from reinhardt_tasks.errors import ArgumentError, ConfigurationError, ResultMismatchError, SerializationError

_NOTHING = (None, NoReturn, Never)
_EXACT = (NoneType, bool, int, float, str, bytes)


class ValueCodec:
    """Encodes and decodes values of the type `annotation`; errors place them at `where` in the task `name`.

    Values of None, bool, int, float, str and bytes are checked by their class alone. All others are checked by msgspec
    against the type, walked where the type leaves something open, and decoded once as the reader will.

    Where no type is declared (Any, object), None, bool, int, finite float, str, bytes, and lists and dicts of them
    travel; a tuple arrives as a list. A value may be given in the form it has on the wire, such as text for a Path or a
    dict for a dataclass, and arrives as declared. An aware datetime arrives as the same instant in UTC.

    Raises ConfigurationError if the type cannot travel.
    """

    def __init__(
        self,
        annotation: object,
        *,
        where: str,
        name: str | None = None,
        limits: Limits = DEFAULT,
        mismatch: type[ArgumentError | ResultMismatchError] = ResultMismatchError,
    ) -> None:
        self.annotation = annotation
        self.exact = _exact(annotation)
        self._sized = self.exact in {str, bytes}
        self._place = Place(name, where)
        self._limits = limits
        self._mismatch_kind = mismatch
        declared: Any = NoneType if annotation in _NOTHING else annotation
        try:
            shape = Shape(declared, limits)
            self._read = msgspec.msgpack.Decoder(declared, dec_hook=wire.from_wire).decode
        except (TypeError, RecursionError) as error:
            raise self._impossible(error) from error
        self.open = shape.open
        self._walk = shape.walk
        undeclared = isinstance(shape.walk, Plain)
        self._holder = None if undeclared else _holder(declared)
        self._arrived = Plain(limits, tolerant=True) if undeclared else shape.walk

    def for_size(self, size: int) -> ValueCodec:
        """One like it that reads values of `size` bytes; itself where it does."""
        if size <= self._limits.max_size:
            return self
        return ValueCodec(
            self.annotation,
            where=self._place.where,
            name=self._place.name,
            limits=replace(self._limits, max_size=size),
            mismatch=self._mismatch_kind,
        )

    def encode(self, value: object) -> bytes:
        """The value as bytes.

        Raises SerializationError: ArgumentError or ResultMismatchError if it is of another type, UnencodableError,
        NotFiniteError, InvalidTextError, PayloadTooLargeError, PayloadTooDeepError.
        """
        if type(value) is not self.exact or (self._sized and len(value) > self._limits.max_size):  # type: ignore[arg-type]
            return self._encode_checked(value)
        try:
            raw = wire.encode(value)
        except (UnicodeEncodeError, OverflowError) as error:
            raise unencodable(self._place, error, self._limits) from error
        if len(raw) > self._limits.max_size:
            raise self._place.unfit(too_large(len(raw), self._limits.max_size))
        return raw

    def decode(self, raw: bytes) -> Any:
        """The value in `raw`. Raises SerializationError, whatever the bytes are.

        Without a declared type, a value of one that the writer had declared comes in its form on the wire: a UUID as
        text, a dataclass as a dict.
        """
        if len(raw) > self._limits.max_size:
            raise self._place.unfit(too_large(len(raw), self._limits.max_size))
        try:
            value = self._read(raw)
        except MemoryError:
            raise
        except Exception as error:  # a class of the user's may raise anything when it is made
            raise unreadable(self._place, error, self._limits) from error
        if self.open:
            self._look(self._arrived, value)
        return value

    def look(self, value: object) -> None:
        """Refuses a decoded value that `encode` would not have let pass. Raises SerializationError."""
        self._look(self._walk, value)

    def _look(self, walk: Walk | None, value: object) -> None:
        try:
            if walk is not None:
                walk(value, 0)
        except (Misfit, RecursionError) as error:
            raise unreadable(self._place, error, self._limits) from error

    def _encode_checked(self, given: object) -> bytes:
        value = wire.as_base(given)
        try:
            # The walk comes first: what is too large is refused before anything of its size is made of it.
            size = 1 if self._walk is None else self._walk(value, 0)
            if size > self._limits.max_size:
                raise too_large(size, self._limits.max_size, note=" or more")
            if self._holder is not None:
                msgspec.convert((value,), self._holder, dec_hook=wire.from_wire)
            raw = wire.encode(value)
            if self._holder is not None:
                self._read(raw)
        except MemoryError:
            raise
        except Exception as error:  # as in decode
            raise self._refusal(error, given) from error
        if len(raw) > self._limits.max_size:
            raise self._place.unfit(too_large(len(raw), self._limits.max_size))
        return raw

    def _refusal(self, error: Exception, value: object) -> SerializationError:
        match error:
            case Misfit(kind=None):
                return self._mismatch(error.text, error.path, value)
            case msgspec.ValidationError():
                text, path = placed(error)
                return self._mismatch(text, path.removeprefix("[0]"), value)
        return unencodable(self._place, error, self._limits)

    def _mismatch(self, text: str, path: str, value: object) -> SerializationError:
        declared, given = shown(self.annotation), shown(type(value))
        if issubclass(self._mismatch_kind, ArgumentError):
            came = "given"
            remedy = "Pass what is declared" if wire.can_be_declared(type(value)) else KEY_HINT
        else:
            came, remedy = "returned", "Return what is declared, or correct the annotation"
        types = (
            f"inside what is declared `{declared}`" if given == declared else f"declared `{declared}`, {came} `{given}`"
        )
        text = f"does not fit: {text} ({types}). {remedy}"
        return self._place.refuse(self._mismatch_kind, text, path, expected=declared, given=given)

    def _impossible(self, error: Exception) -> ConfigurationError:
        why = "it holds itself without a class between them" if isinstance(error, RecursionError) else str(error)
        text = f"is declared `{shown(self.annotation)}`, which cannot travel: {why}.{_remedy(why)}"
        return ConfigurationError(self._place.sentence(text), setting=self._place.where)


def shown(annotation: object) -> str:
    """The type as it is written in code."""
    return inspect.formatannotation(annotation)


def _exact(annotation: object) -> type | None:
    """The class whose instances fit without a look at them, if the declared type is one of the simplest."""
    while isinstance(annotation, NewType):
        annotation = annotation.__supertype__
    if annotation in _NOTHING:
        return NoneType
    return next((kind for kind in _EXACT if annotation is kind), None)


def _holder(declared: Any) -> type[msgspec.Struct]:
    """A Struct of one item: msgspec keeps what it learns about a Struct, but learns any other type at each call."""
    return msgspec.defstruct("Holder", [("value", declared)], array_like=True)


def _remedy(why: str) -> str:
    if "union" in why:
        return " Declare one of them, or make the classes msgspec Structs with `tag=True`"
    return " Give its members only str values or only int values" if "Enum" in why else ""
