"""What a declared type leaves open, compiled once per type into a walk over its values.

msgspec checks types, but it takes any object where the type says Any, drops keys that a class does not have, and writes
an instance of another class field by field. Where the type leaves nothing open there is nothing to walk.
"""

from __future__ import annotations

from typing import get_origin

from msgspec import inspect as types

from reinhardt_tasks.codec import walks
from reinhardt_tasks.codec.limits import Limits
from reinhardt_tasks.codec.misfit import KEY_HINT
from reinhardt_tasks.codec.models import is_model, is_old
from reinhardt_tasks.codec.walks import Walk
from reinhardt_tasks.codec.wire import has_form

_ObjectNode = types.StructType | types.DataclassType | types.TypedDictType
_CLASSES: dict[type[types.Type], tuple[type, ...]] = {
    types.StrType: (str,),
    types.BytesType: walks.BYTES,
    types.ByteArrayType: walks.BYTES,
    types.MemoryViewType: walks.BYTES,
    types.ListType: walks.ARRAYS,
    types.SetType: walks.ARRAYS,
    types.FrozenSetType: walks.ARRAYS,
    types.VarTupleType: walks.ARRAYS,
    types.TupleType: walks.ARRAYS,
    types.NamedTupleType: walks.ARRAYS,
    types.DictType: (dict,),
}


class Shape:
    """The compiled look at one declared type. `walk` is None where there is nothing to look at.

    `open` says that bytes from outside need the walk as well: the type holds Any, or itself.

    Raises TypeError, its text about the type, for a class that cannot travel and for what msgspec refuses.
    """

    def __init__(self, annotation: object, limits: Limits) -> None:
        self.open = False
        self._limits = limits
        self._known: dict[int, walks.Members] = {}
        self._unfinished: set[int] = set()
        self.walk = self._walk(types.type_info(annotation))

    def _walk(self, node: types.Type) -> Walk | None:
        match node:
            case types.StructType() | types.DataclassType() | types.TypedDictType():
                return self._members(node)
            case types.UnionType():
                return self._choice(node)
            case types.Metadata():
                return self._walk(node.type)
            case types.AnyType():
                return self._plain()
            case types.CustomType():
                return self._custom(get_origin(node.cls) or node.cls)
        return self._builtin(node)

    def _builtin(self, node: types.Type) -> Walk | None:
        walk: Walk | None = None
        match node:
            case types.StrType() | types.BytesType() | types.ByteArrayType() | types.MemoryViewType():
                walk = walks.length
            case types.ListType() | types.SetType() | types.FrozenSetType() | types.VarTupleType():
                item = self._walk(node.item_type)
                walk = walks.length if item is None else walks.Items(self._limits, item)
            case types.TupleType():
                walk = walks.Positions(self._limits, [self._walk(item) for item in node.item_types])
            case types.NamedTupleType():
                walk = walks.Positions(self._limits, [self._walk(field.type) for field in node.fields])
            case types.DictType():
                walk = self._entries(node)
            case types.RawType() | types.ExtType():
                raise TypeError("it holds bytes that nobody checks: declare bytes")
        return walk

    def _plain(self) -> Walk:
        self.open = True
        return walks.Plain(self._limits)

    def _custom(self, kind: type) -> Walk | None:
        if kind is object:
            return self._plain()
        if not has_form(kind):
            raise TypeError(
                f"`{getattr(kind, '__qualname__', kind)}` has no form on the wire: make it a dataclass, msgspec Struct "
                f"or pydantic model. For a row of a database: {KEY_HINT[0].lower()}{KEY_HINT[1:]}"
            )
        if is_model(kind) and is_old(kind):
            raise TypeError(f"`{kind.__qualname__}` is of an older pydantic: install pydantic 2.11 or newer")
        return walks.Weight(self._limits) if is_model(kind) else walks.path_length

    def _entries(self, node: types.DictType) -> Walk:
        key, value = self._walk(node.key_type), self._walk(node.value_type)
        return walks.Entries(self._limits, walks.plain_key if isinstance(key, walks.Plain) else key, value)

    def _members(self, node: _ObjectNode) -> walks.Members:
        known = self._known.get(id(node))
        if known is not None:
            self.open = self.open or id(node) in self._unfinished  # it holds itself: any depth may come
            return known
        made = self._known[id(node)] = _empty(node, self._limits)
        self._unfinished.add(id(node))
        for field in node.fields:
            walk = self._walk(field.type)
            if walk is not None:
                made.fields.append((field.name, field.encode_name, walk))
        self._unfinished.discard(id(node))
        return made

    def _choice(self, node: types.UnionType) -> Walk | None:
        branches: list[tuple[tuple[type, ...], Walk]] = []
        objects: list[walks.Members] = []
        for member in map(_bare, node.types):
            walk = self._walk(member)
            if isinstance(walk, walks.Plain):
                return walk
            if isinstance(walk, walks.Members):
                objects.append(walk)
            elif walk is not None:
                branches.append((_classes(member), walk))
        return walks.Choice(self._limits, branches, objects) if branches or objects else None


def _bare(node: types.Type) -> types.Type:
    return _bare(node.type) if isinstance(node, types.Metadata) else node


def _classes(node: types.Type) -> tuple[type, ...]:
    """The classes of the values that belong to a member of a union."""
    return (get_origin(node.cls) or node.cls,) if isinstance(node, types.CustomType) else _CLASSES[type(node)]


def _empty(node: _ObjectNode, limits: Limits) -> walks.Members:
    """The members of an object, its fields still to be filled in."""
    kind = dict if isinstance(node, types.TypedDictType) else get_origin(node.cls) or node.cls
    tag = (node.tag_field, node.tag) if isinstance(node, types.StructType) and node.tag_field is not None else None
    names = {field.encode_name for field in node.fields} | ({tag[0]} if tag else set())
    return walks.Members(limits, kind, getattr(node.cls, "__qualname__", str(node.cls)), frozenset(names), tag, [])
