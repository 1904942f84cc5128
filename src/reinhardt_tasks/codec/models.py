"""pydantic models travel as the JSON text they make of themselves; pydantic is never imported from here."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, Self, TypeGuard

from reinhardt_tasks.codec.misfit import Misfit
from reinhardt_tasks.errors import UnencodableError

Wire = str | bytes | dict[str, Any] | list[Any]


class Model(Protocol):
    """The part of pydantic.BaseModel that is used here."""

    def model_dump_json(self, *, by_alias: bool, round_trip: bool, warnings: str) -> str:
        """The model as JSON text."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: str | bytes, *, by_alias: bool, by_name: bool) -> Self:
        """The model in a JSON text."""
        ...

    @classmethod
    def model_validate(cls, obj: object) -> Self:
        """The model that a mapping or list stands for."""
        ...


def is_model(kind: object) -> TypeGuard[type[Model]]:
    """Whether `kind` is a pydantic 2 model class."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def is_old(kind: type[Model]) -> bool:
    """Whether `kind` is of a pydantic before 2.11, which cannot read a model by field names when it has aliases."""
    return "by_name" not in inspect.signature(kind.model_validate_json).parameters


def model_text(model: Model) -> str:
    """The model as JSON by field names. Raises Misfit where reading that back would give another model."""
    kind = type(model)
    try:
        text = model.model_dump_json(by_alias=False, round_trip=True, warnings="error")
        same = _read(kind, text) == model
    except Exception as error:
        remedy = "Make it of valid values that JSON can hold"
        raise Misfit(UnencodableError, f"has no JSON as a `{kind.__qualname__}`: {_reasons(error)}", remedy) from error
    if not same:
        raise Misfit(
            UnencodableError,
            f"is a `{kind.__qualname__}` that does not come back equal from its own JSON",
            "Secrets, excluded fields, private attributes and subclasses in a field do not travel: pass a key to them",
        )
    return text


def model_from(kind: type[Model], wire: Wire) -> Model:
    """The model in `wire`: its JSON text, or a mapping or list given in its place. Raises ValueError if it is none."""
    try:
        return _read(kind, wire) if isinstance(wire, (str, bytes)) else kind.model_validate(wire)
    except ValueError as error:
        raise ValueError(f"No valid `{kind.__qualname__}`: {_reasons(error)}") from error


def _read(kind: type[Model], text: str | bytes) -> Model:
    return kind.model_validate_json(text, by_alias=False, by_name=True)


def _reasons(error: Exception) -> str:
    """What pydantic found wrong and where, without the values, which may be secret."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return type(error).__name__
    found = errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in found)
