"""Whether the result of one step can be given to the next, judged by what both declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from msgspec import inspect as types

from reinhardt_tasks.codec.values import shown
from reinhardt_tasks.errors import ArgumentError

_TEXT: Final = frozenset({"text"})
_NUMBER: Final = frozenset({"number"})
_FORMS: Final[dict[type[types.Type], frozenset[str]]] = {
    types.NoneType: frozenset({"null"}),
    types.BoolType: frozenset({"bool"}),
    types.IntType: _NUMBER,
    types.FloatType: _NUMBER,
    types.StrType: _TEXT,
    types.BytesType: frozenset({"bytes"}),
    types.DateTimeType: _TEXT,
    types.DateType: _TEXT,
    types.TimeType: _TEXT,
    types.TimeDeltaType: _TEXT,
    types.UUIDType: _TEXT | {"bytes"},
    types.DecimalType: _TEXT | _NUMBER,
    types.DictType: frozenset({"map"}),
    types.TypedDictType: frozenset({"map"}),
    types.DataclassType: frozenset({"map"}),
    types.ListType: frozenset({"array"}),
    types.SetType: frozenset({"array"}),
    types.FrozenSetType: frozenset({"array"}),
    types.VarTupleType: frozenset({"array"}),
    types.TupleType: frozenset({"array"}),
    types.NamedTupleType: frozenset({"array"}),
}
"""The forms on the wire of the types that have only one, or two; all others may have any."""
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
    if not one & other:
        return True
    if isinstance(given, _SERIES) and isinstance(wanted, _SERIES):
        return _differ(given.item_type, wanted.item_type)
    if isinstance(given, types.DictType) and isinstance(wanted, types.DictType):
        return _differ(given.value_type, wanted.value_type)
    return False
