"""From the bytes of a call to the arguments its function is called with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import msgspec
from msgspec.structs import astuple

from reinhardt_tasks.codec import wire
from reinhardt_tasks.codec.limits import Limits
from reinhardt_tasks.codec.parameters import Parameters
from reinhardt_tasks.codec.refusals import Place, placed, unreadable
from reinhardt_tasks.codec.values import ValueCodec
from reinhardt_tasks.errors import ConfigurationError, SerializationError

_IMMUTABLE = (type(None), bool, int, float, str, bytes)
_NEVER_BY_NAME = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
_NAMEABLE = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_INSIDE = re.compile(r"\.(\w+)(.*)", re.DOTALL)
_FIELD = re.compile(r"field `(\w+)`")


class Arrival:
    """Reads calls of one task. All its parameters are one msgspec Struct, so that a call is decoded in one go.

    Arguments go by position where they may, up to the first parameter that the worker fills in; with `by_name` none do.
    """

    def __init__(
        self, parameters: Parameters, codecs: Mapping[str, ValueCodec], *, limits: Limits, by_name: bool
    ) -> None:
        self._name = parameters.name
        self._limits = limits
        passing = _Passing(parameters, by_name=by_name)
        self._by_position, self._by_name = len(passing.by_position), passing.by_name
        self._star, self._stars = passing.star is not None, passing.stars is not None
        self._nameable = passing.nameable
        self._flat = not (passing.by_name or self._star or self._stars)
        self._open = [(index, codecs[name]) for index, name in enumerate(passing.order) if codecs[name].open]
        self._defaults = [passing.default(name) for name in passing.order]
        call = msgspec.defstruct(
            "Call",
            [(f"p{index}", parameters.types[name], passing.field(name)) for index, name in enumerate(passing.order)],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        self._read = msgspec.msgpack.Decoder(call, dec_hook=wire.from_wire).decode

    def read(self, raw: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments. Raises SerializationError, whatever the bytes are."""
        try:
            values = astuple(self._read(raw))
        except MemoryError:
            raise
        except Exception as error:  # a class of the user's may raise anything when it is made
            raise self._unreadable(error) from error
        for index, codec in self._open:
            if values[index] is not self._defaults[index]:
                codec.look(values[index])
        return (values, {}) if self._flat else self._spread(values)

    def _spread(self, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        start, end = self._by_position, self._by_position + len(self._by_name)
        args = values[:start] + (values[end] if self._star else ())
        named = zip(self._by_name, values[start:end], strict=True)
        kwargs = {name: value for name, value in named if value is not msgspec.UNSET}
        if self._stars:
            others = values[-1]
            doubled = sorted(others.keys() & self._nameable)
            if doubled:
                raise Place(self._name, f"parameter '{doubled[0]}'").damaged("it stands among the other keywords")
            kwargs.update(others)
        return args, kwargs

    def _unreadable(self, error: Exception) -> SerializationError:
        if isinstance(error, msgspec.ValidationError):
            text, path = placed(error)
            inside, field = _INSIDE.match(path), _FIELD.search(text)
            if inside:
                return Place(self._name, f"parameter '{inside[1]}'").damaged(text, inside[2])
            if field and not path:
                return Place(self._name, f"parameter '{field[1]}'").damaged(text)
        return unreadable(Place(self._name, "the call"), error, self._limits)


class _Passing:
    """How each parameter is passed: by position, by name, or among `*args` (`star`) or `**kwargs` (`stars`)."""

    def __init__(self, parameters: Parameters, *, by_name: bool) -> None:
        self._parameters = parameters.signature.parameters
        self.by_position: list[str] = []
        self.by_name: list[str] = []
        self.star: str | None = None
        self.stars: str | None = None
        for one in self._parameters.values():
            if one.kind in _NEVER_BY_NAME and (by_name or one.name in parameters.skip):
                raise _misplaced(parameters, one.name)
            if one.name in parameters.skip:
                by_name = True
            else:
                self._sort(one, by_name=by_name)
        self.order = [*self.by_position, *self.by_name, *filter(None, (self.star, self.stars))]
        self.nameable = {one.name for one in self._parameters.values() if one.kind in _NAMEABLE}

    def _sort(self, one: Parameter, *, by_name: bool) -> None:
        match one.kind:
            case Parameter.VAR_POSITIONAL:
                self.star = one.name
            case Parameter.VAR_KEYWORD:
                self.stars = one.name
            case Parameter.KEYWORD_ONLY:
                self.by_name.append(one.name)
            case _:
                (self.by_name if by_name else self.by_position).append(one.name)

    def default(self, name: str) -> object:
        """What stands for a parameter that was not passed; Parameter.empty where it must be.

        UNSET for one that goes by name: it is left out of the call, as a class shows no value for a default factory.
        """
        if name == self.star:
            return ()
        default = self._parameters[name].default
        return msgspec.UNSET if name in self.by_name and default is not Parameter.empty else default

    def field(self, name: str) -> Any:
        """The parameter as a field of the Struct, whose own name cannot collide with an attribute of Struct."""
        if name == self.stars:
            return msgspec.field(name=name, default_factory=dict)
        default = self.default(name)
        if default is Parameter.empty:
            return msgspec.field(name=name)
        if default is msgspec.UNSET or isinstance(default, _IMMUTABLE):
            return msgspec.field(name=name, default=default)
        return msgspec.field(name=name, default_factory=lambda: default)


def _misplaced(parameters: Parameters, name: str) -> ConfigurationError:
    filled_in = ", ".join(repr(one) for one in sorted(parameters.skip)) or "the fields of a class"
    return ConfigurationError(
        f"Task {parameters.name}: parameter {name!r} goes by position alone, which cannot be with {filled_in}. "
        "Let what the worker fills in come last, after a `*`.",
        setting=f"parameter {name!r}",
    )
