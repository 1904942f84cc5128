"""Whether the result of one step can be given to the next, judged by what both declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from msgspec import inspect as types

from reinhardt_tasks.codec.values import shown
from reinhardt_tasks.errors import ArgumentError


def _forms(gives: str, *, besides: str = "") -> tuple[frozenset[str], frozenset[str]]:
    """The forms on the wire that values of a type have, and those that it is read from: these, and some `besides`."""
    given = frozenset(gives.split())
    return given, given | frozenset(besides.split())


_FORMS: Final[dict[type[types.Type], tuple[frozenset[str], frozenset[str]]]] = {
    types.NoneType: _forms("null"),
    types.BoolType: _forms("bool"),
    types.IntType: _forms("int"),
    types.FloatType: _forms("float", besides="int"),
    types.StrType: _forms("text", besides="moment date time duration uuid decimal"),
    types.BytesType: _forms("bytes"),
    types.DateTimeType: _forms("instant moment", besides="text"),
    types.DateType: _forms("date", besides="text"),
    types.TimeType: _forms("time", besides="text"),
    types.TimeDeltaType: _forms("duration", besides="text"),
    types.UUIDType: _forms("uuid", besides="text bytes"),
    types.DecimalType: _forms("decimal", besides="text int float"),
    types.DictType: _forms("map"),
    types.TypedDictType: _forms("map"),
    types.DataclassType: _forms("map"),
    types.ListType: _forms("array"),
    types.SetType: _forms("array"),
    types.FrozenSetType: _forms("array"),
    types.VarTupleType: _forms("array"),
    types.TupleType: _forms("array"),
    types.NamedTupleType: _forms("array"),
}
"""The types whose values have only one form on the wire, or two (a datetime with a zone is no text); all others may
have any."""
_SERIES: Final = (types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType)


def check_fit(given: Any, wanted: Any, *, parameter: str, task: str, by: str, workflow: str) -> None:
    """Raise ArgumentError when what `by` returns can surely not be the `parameter` of `task`."""
    if misfits(given, wanted):
        raise ArgumentError(
            f"{workflow}: parameter {parameter!r} of {task} is declared `{shown(wanted)}`, and {by} before it returns "
            f"`{shown(given)}`. Correct one of the annotations, or put a step between them.",
            name=task,
            where=f"parameter {parameter!r}",
            expected=shown(wanted),
            given=shown(given),
        )


def misfits(given: Any, wanted: Any) -> bool:
    """Whether no value declared `given` can be one declared `wanted`. What is not declared fits, and is fit for all."""
    return _differ(_node(given), _node(wanted))


def series(members: Iterable[Any]) -> Any:
    """The type of a list of values of these types: of one type where all are the same."""
    kinds = list(members)
    first = kinds[0] if kinds else Any
    return list[first] if all(kind == first for kind in kinds) else list[Any]  # type: ignore[valid-type]


def _node(declared: Any) -> types.Type:
    if declared is NoReturn:
        return types.NoneType()
    try:
        return types.type_info(declared)
    except (TypeError, ValueError, RecursionError):
        return types.AnyType()


def _differ(given: types.Type, wanted: types.Type) -> bool:
    """Whether no alternative of one can be an alternative of the other."""
    return all(_clash(one, other) for one in _alternatives(given) for other in _alternatives(wanted))


def _alternatives(node: types.Type) -> Iterator[types.Type]:
    if isinstance(node, types.Metadata):
        yield from _alternatives(node.type)
    elif isinstance(node, types.UnionType):
        for one in node.types:
            yield from _alternatives(one)
    else:
        yield node


def _clash(given: types.Type, wanted: types.Type) -> bool:
    one, other = _FORMS.get(type(given)), _FORMS.get(type(wanted))
    if one is None or other is None:
        return False
    if not one[0] & other[1]:
        return True
    if isinstance(given, _SERIES) and isinstance(wanted, _SERIES):
        return _differ(given.item_type, wanted.item_type)
    if isinstance(given, types.DictType) and isinstance(wanted, types.DictType):
        return _differ(given.value_type, wanted.value_type)
    return False
