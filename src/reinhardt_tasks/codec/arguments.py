"""The arguments of a call ↔ bytes, by the annotations of the task's function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from reinhardt_tasks.codec import wire
from reinhardt_tasks.codec.arrival import Arrival
from reinhardt_tasks.codec.limits import DEFAULT, Limits
from reinhardt_tasks.codec.misfit import too_large
from reinhardt_tasks.codec.parameters import Binder, Parameters
from reinhardt_tasks.codec.refusals import Place, unreadable
from reinhardt_tasks.codec.values import ValueCodec
from reinhardt_tasks.errors import ArgumentError, ConfigurationError


class ArgumentsCodec:
    """Encodes the calls of one task, and decodes them to what its function is called with.

    Made once per task. `skip` names the parameters that the worker fills in, which callers may not pass. On the wire a
    call is a map from parameter to value with only what was passed, so that a default changed later applies; `*args`
    is an array under its own name and `**kwargs` a map under its own.

    A class is taken for its fields: `decode` then gives the keyword arguments to make an instance with, and
    `result_type` is what its `execute` returns.

    Raises ConfigurationError, naming task and parameter, if an annotation cannot be resolved or its type cannot travel.
    """

    first_parameter: str | None
    """The parameter that the result of the step before is passed as; None where the function takes none."""
    first_type: Any
    """Its declared type; None without one."""
    result_type: Any
    """The declared type of what the function returns; Any where there is none."""
    types: Mapping[str, Any]
    """The declared type of each parameter that travels."""

    def __init__(
        self,
        function: Callable[..., object],
        *,
        task_name: str,
        skip: Collection[str] = (),
        limits: Limits = DEFAULT,
    ) -> None:
        parameters = Parameters.of(function, task_name, skip)
        self._limits = limits
        self._place = Place(task_name, "the call")
        self._codecs = {
            name: ValueCodec(
                declared, where=f"parameter '{name}'", name=task_name, limits=limits, mismatch=ArgumentError
            )
            for name, declared in parameters.types.items()
        }
        self._exact = {name: codec.exact for name, codec in self._codecs.items()}
        self._parameters = parameters
        self._binder = Binder(parameters)
        self._partial: dict[tuple[str, ...], Binder] = {}
        self._arrival = Arrival(parameters, self._codecs, limits=limits, by_name=isinstance(function, type))
        self.first_parameter = parameters.first
        self.first_type = parameters.types[parameters.first] if parameters.first else None
        self.types = parameters.types
        self.result_type = parameters.returns

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The call as bytes.

        Raises ArgumentError if it does not fit the parameters; UnencodableError, NotFiniteError, InvalidTextError,
        PayloadTooLargeError, PayloadTooDeepError, all SerializationError, if a value cannot travel.
        """
        return self._encoded(self._binder.bind(args, kwargs))

    def encode_step(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The call less its first parameter, which `merge` adds. Raises as `encode`."""
        return self.encode_without((self.require_first(),), args, kwargs)

    def encode_without(self, names: tuple[str, ...], args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The call less some parameters, which `merge` adds. Raises as `encode`, and for one that there is not."""
        binder = self._partial.get(names)
        if binder is None:
            binder = self._partial[names] = Binder(self._parameters.without(names))
        return self._encoded(binder.bind(args, kwargs))

    def merge(self, raw: bytes, given: Mapping[str, bytes]) -> bytes:
        """The call that a step becomes, given the encoded values that it leaves out. Raises SerializationError."""
        try:
            step = _read_parts(raw)
        except Exception as error:
            raise unreadable(self._place, error, self._limits) from error
        doubled = sorted(given.keys() & step.keys())
        if doubled:
            raise self._place.damaged(f"the step has a value for its parameter '{doubled[0]}' already")
        parts = {**{name: msgspec.Raw(value) for name, value in given.items()}, **step}
        return self._bounded(wire.encode(parts), parts)

    def decode(self, raw: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What to call the function with: `function(*args, **kwargs)`.

        Raises SerializationError, whatever the bytes are: BadPayloadError if they do not fit the parameters.
        """
        if len(raw) > self._limits.max_size:
            raise self._place.unfit(too_large(len(raw), self._limits.max_size))
        return self._arrival.read(raw)

    def decode_parts(self, raw: bytes) -> dict[str, Any]:
        """What was passed, by parameter, be it a whole call or a step. Raises SerializationError."""
        try:
            parts = _read_parts(raw)
        except Exception as error:
            raise unreadable(self._place, error, self._limits) from error
        return {name: self._codecs[name].decode(bytes(part)) for name, part in parts.items() if name in self._codecs}

    def _encoded(self, call: Mapping[str, object]) -> bytes:
        exact, longest = self._exact, self._limits.max_size
        for name, value in call.items():
            kind = type(value)
            if kind is not exact[name] or ((kind is str or kind is bytes) and len(value) > longest):  # type: ignore[arg-type]
                return self._encoded_singly(call)
        try:
            raw = wire.encode(call)
        except (UnicodeEncodeError, OverflowError):
            return self._encoded_singly(call)  # which finds out where
        return raw if len(raw) <= longest else self._encoded_singly(call)

    def _encoded_singly(self, call: Mapping[str, object]) -> bytes:
        parts = {name: msgspec.Raw(self._codecs[name].encode(value)) for name, value in call.items()}
        return self._bounded(wire.encode(parts), parts)

    def _bounded(self, raw: bytes, parts: Mapping[str, msgspec.Raw]) -> bytes:
        """The call, if it is not too large; the error names its largest part."""
        if len(raw) <= self._limits.max_size:
            return raw
        largest = max(parts, key=lambda name: len(bytes(parts[name])))
        note = f", most of them in parameter '{largest}'"
        raise self._place.unfit(too_large(len(raw), self._limits.max_size, note))

    def require_first(self) -> str:
        """The first parameter. Raises ConfigurationError where the function takes none."""
        if self.first_parameter is None:
            raise ConfigurationError(
                f"Task {self._place.name} takes no first parameter to receive the result of the step before it. "
                "Give it one, or add it to the workflow as a message of its own."
            )
        return self.first_parameter


_read_parts = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
