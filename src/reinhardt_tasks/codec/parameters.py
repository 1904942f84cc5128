"""The parameters of a task's function with their types resolved, and binding a call to them."""

from __future__ import annotations

import functools
import inspect
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import UnionType
from typing import Any, Union, Unpack, get_args, get_origin, get_type_hints

from reinhardt_tasks.codec.refusals import Place
from reinhardt_tasks.errors import ArgumentError, ConfigurationError, TaskError

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_SERIES = (list, tuple)
_NAMED = re.compile(r"'(\w+)'")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the task `name` takes, in order, and the declared type of what it returns.

    `skip` are the parameters that the worker fills in. `types` has the declared type of each of the others: Any where
    there is none, of `*args` the tuple it is, of `**kwargs` the dict.
    """

    name: str
    signature: Signature
    skip: frozenset[str]
    types: Mapping[str, Any]
    returns: Any

    @classmethod
    def of(cls, function: Callable[..., object], name: str, skip: Collection[str]) -> Parameters:
        """The parameters of a function, or of a class. Raises ConfigurationError if they cannot be read."""
        signature, hints = _signature(function, name), _hints(function, name)
        strange = sorted(set(skip) - signature.parameters.keys())
        if strange:
            raise ConfigurationError(f"Task {name} has no parameter {strange[0]!r} for the worker to fill in.")
        types = {
            parameter.name: _declared(parameter, without_errors(hints.get(parameter.name, Any)))
            for parameter in signature.parameters.values()
            if parameter.name not in skip
        }
        return cls(name, signature, frozenset(skip), types, hints.get("return", Any))

    @property
    def first(self) -> str | None:
        """The parameter that a step of a workflow receives the result of the step before as."""
        taken = next((self.signature.parameters[name] for name in self.types), None)
        return None if taken is None or taken.kind in _VARIADIC else taken.name

    def without(self, names: Collection[str]) -> Parameters:
        """The same, less some parameters. Raises ArgumentError for one that there is not."""
        strange = [name for name in names if name not in self.types or self._is_variadic(name)]
        if strange:
            place = Place(self.name, f"parameter '{strange[0]}'")
            raise place.refuse(ArgumentError, f"is to be filled, and there is none. The task takes {self.signature}")
        rest = [one for name, one in self.signature.parameters.items() if name not in names]
        types = {name: declared for name, declared in self.types.items() if name not in names}
        return Parameters(self.name, self.signature.replace(parameters=rest), self.skip, types, self.returns)

    def _is_variadic(self, name: str) -> bool:
        return self.signature.parameters[name].kind in _VARIADIC


class Binder:
    """Binds the arguments of a call to the names of the parameters, as Python does, with errors that name the task."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        every = parameters.signature.parameters.values()
        taken = [one for one in every if one.name not in parameters.skip]
        self._positional = tuple(one.name for one in every if one.kind in _POSITIONAL)
        self._simple = not any(one.kind in {*_VARIADIC, Parameter.POSITIONAL_ONLY} for one in every)
        self._known = frozenset(parameters.types)
        self._required = frozenset(one.name for one in taken if _is_required(one))
        self._enough = _enough(self._positional, self._required, parameters.skip) if self._simple else range(0)

    def bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Name → value of what is passed, and nothing for defaults. Raises ArgumentError if the call does not fit."""
        bound = dict(zip(self._positional, args, strict=False))
        if not kwargs and len(args) in self._enough:
            return bound
        bound.update(kwargs)
        fits = self._required <= bound.keys() <= self._known and len(bound) == len(args) + len(kwargs)
        return bound if fits and self._simple else self._bind_as_python_does(args, kwargs)

    def _bind_as_python_does(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        skip = self._parameters.skip
        try:
            bound = _callable(self._parameters).bind(*args, **kwargs).arguments
        except TypeError as error:
            raise self._refused(str(error)) from None
        filled_in = sorted(skip & bound.keys())
        if filled_in:
            raise self._refused(f"'{filled_in[0]}' is filled in by the worker, leave it out")
        return bound

    def _refused(self, why: str) -> ArgumentError:
        named = _NAMED.search(why)
        place = Place(self._parameters.name, f"parameter {named[0]}" if named else "the call")
        taken = [
            one.replace(annotation=Parameter.empty, default=Parameter.empty)
            for one in self._parameters.signature.parameters.values()
            if one.name not in self._parameters.skip
        ]
        return place.refuse(ArgumentError, f"does not fit: {why}. The task takes {Signature(taken)}")


def _is_required(one: Parameter) -> bool:
    return one.default is Parameter.empty and one.kind not in _VARIADIC


def _enough(positional: tuple[str, ...], required: frozenset[str], skip: frozenset[str]) -> range:
    """How many arguments, all by position, fit without a look at their names."""
    most = next((index for index, name in enumerate(positional) if name in skip), len(positional))
    return range(len(required), most + 1) if required <= set(positional[:most]) else range(0)


def _callable(parameters: Parameters) -> Signature:
    """The signature with every parameter that the worker fills in optional."""
    return parameters.signature.replace(
        parameters=[
            one.replace(default=None) if one.name in parameters.skip else one
            for one in parameters.signature.parameters.values()
        ]
    )


def _signature(function: Callable[..., object], name: str) -> Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"Task {name}: the parameters of {function!r} cannot be read ({error}). Wrap it in a function of your own."
        ) from error


def _hints(function: Callable[..., object], name: str) -> dict[str, Any]:
    """The declared types by name of parameter, and `return`."""
    if not isinstance(function, type):
        return _resolved(function, name)
    hints = _resolved(function, name) | _resolved(inspect.getattr_static(function, "__init__"), name)
    execute = getattr(function, "execute", None)
    return hints | {"return": _resolved(execute, name).get("return", Any) if execute else function}


def _resolved(target: Any, name: str) -> dict[str, Any]:
    try:
        return get_type_hints(target, include_extras=True)
    except Exception as error:
        culprit, written = _culprit(target, error)
        raise ConfigurationError(
            f"Task {name}: {culprit} is annotated {written}, which cannot be resolved when the task is defined "
            f"({type(error).__name__}: {error}). Define or import the name at the top of the module, "
            "not under TYPE_CHECKING.",
            setting=culprit,
        ) from error


def _culprit(target: Any, error: Exception) -> tuple[str, str]:
    """Which annotation could not be resolved, and how it is written."""
    missing = getattr(error, "name", None)
    for name, written in getattr(target, "__annotations__", {}).items():
        if isinstance(written, str) and (missing is None or re.search(rf"\b{re.escape(missing)}\b", written)):
            return ("the result" if name == "return" else f"parameter '{name}'"), repr(written)
    return "a parameter", "with a name"


def _declared(parameter: Parameter, hint: Any) -> Any:
    """The type of the value that travels for a parameter."""
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    if parameter.kind is Parameter.VAR_KEYWORD:
        return get_args(hint)[0] if get_origin(hint) is Unpack else dict[str, hint]
    return hint


def without_errors(hint: Any) -> Any:
    """The type less the errors among its alternatives: those do not travel, they are put in after the rest is read."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        kept = [without_errors(one) for one in inner if not (isinstance(one, type) and issubclass(one, TaskError))]
        return functools.reduce(operator.or_, kept) if kept else hint
    if kind not in _SERIES:
        return hint
    changed = tuple(one if one is ... else without_errors(one) for one in inner)
    return hint if changed == inner else kind[changed]
