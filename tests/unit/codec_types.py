"""Types as applications declare them for arguments and results, and values of each."""

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar, Unpack
from uuid import UUID

import msgspec
import pydantic
from hypothesis import strategies as st

from reinhardt_tasks.codec import ArgumentsCodec, Limits, ValueCodec

T = TypeVar("T")
UserId = NewType("UserId", int)
Small = Annotated[int, msgspec.Meta(ge=0, le=9)]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Role(enum.StrEnum):
    ADMIN = "admin"


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Point3(Point):
    z: int = 0


@dataclass
class Pixel:
    x: int
    y: float


@dataclass(frozen=True)
class Line:
    start: Point
    names: frozenset[str] = frozenset()
    at: date | None = None


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Note:
    text: str
    extra: Any = None


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: list[str] = []


class Sparse(msgspec.Struct):
    a: int | msgspec.UnsetType = msgspec.UNSET
    b: Any | msgspec.UnsetType = msgspec.UNSET


class Camel(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    hump_count: int = 2


class Movie(TypedDict):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Address(pydantic.BaseModel):
    street: str
    built: date | None = None


class FullAddress(Address):
    town: str


class Swapped(pydantic.BaseModel):
    a: int = pydantic.Field(alias="b")
    b: int = pydantic.Field(alias="a")


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    full_name: str = pydantic.Field(alias="fullName", validation_alias="Name", serialization_alias="NAME")
    ids: list[UUID] = []
    address: Address | None = None


class Family(pydantic.BaseModel):
    children: "list[Family]"


class Secretive(pydantic.BaseModel):
    password: pydantic.SecretStr


class Noted(pydantic.BaseModel):
    shown: int
    hidden: int = pydantic.Field(default=0, exclude=True)


class Row:
    """As an ORM makes them: it can be neither written nor read without its database."""


words = st.text(st.characters(codec="utf-8"))
integers = st.integers(-(2**63), 2**64 - 1)
points = st.builds(Point, integers, st.floats(allow_nan=False))
plain = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | words | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | integers, inner, max_size=3),
    max_leaves=10,
)
trees = st.recursive(
    st.builds(Tree, words), lambda inner: st.builds(Tree, words, st.lists(inner, max_size=3)), max_leaves=6
)
persons = st.builds(
    Person.model_construct,
    full_name=words,
    ids=st.lists(st.uuids(), max_size=2),
    address=st.none() | st.builds(Address, street=words, built=st.none() | st.dates()),
)
TYPES = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, integers),
    (float, st.floats(allow_nan=False)),
    (str, words),
    (bytes, st.binary()),
    (bytearray, st.binary().map(bytearray)),
    (datetime, st.datetimes()),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Path, words.map(Path)),
    (PurePosixPath, words.map(PurePosixPath)),
    (UserId, integers),
    (Small, st.integers(0, 9)),
    (list, st.lists(plain, max_size=3)),
    (dict, st.dictionaries(words, plain, max_size=3)),
    (list[int], st.lists(integers)),
    (list[str], st.lists(words)),
    (list[Path], st.lists(words.map(Path))),
    (set[str], st.sets(words)),
    (frozenset[date], st.frozensets(st.dates())),
    (tuple[int, str], st.tuples(integers, words)),
    (tuple[date, ...], st.lists(st.dates()).map(tuple)),
    (dict[str, int], st.dictionaries(words, integers)),
    (dict[int, list[bytes]], st.dictionaries(integers, st.lists(st.binary()))),
    (dict[tuple[int, str], UUID], st.dictionaries(st.tuples(integers, words), st.uuids())),
    (dict[str, object], st.dictionaries(words, plain, max_size=3)),
    (date | None, st.none() | st.dates()),
    (int | str | None, st.none() | integers | words),
    (list[Point] | dict[str, Any] | None, st.none() | st.lists(points) | st.dictionaries(words, plain, max_size=2)),
    (Point, points),
    (Line, st.builds(Line, points, st.frozensets(words), st.none() | st.dates())),
    (Tree, trees),
    (Box[Point], st.builds(Box, points)),
    (Note, st.builds(Note, words, plain)),
    (Cat | Dog, st.builds(Cat, integers) | st.builds(Dog, st.lists(words))),
    (Camel, st.builds(Camel, integers)),
    (Movie, st.fixed_dictionaries({"title": words, "year": integers})),
    (Pair, st.builds(Pair, integers, words)),
    (Person, persons),
    (list[Person], st.lists(persons, max_size=3)),
    (dict[str, Person | None], st.dictionaries(words, st.none() | persons, max_size=3)),
    (Any, plain),
    (object, plain),
    (Any | None, plain),
]


def codec(annotation, limits=None, **options) -> ValueCodec:
    """A codec of the result of task `app.make`."""
    return ValueCodec(annotation, where="the result", name="app.make", limits=limits or Limits(), **options)


def calls(function, **options) -> ArgumentsCodec:
    """A codec of the calls of `function` as task `app.work`."""
    return ArgumentsCodec(function, task_name="app.work", **options)


def wire(raw: bytes) -> object:
    """What stands on the wire, without types."""
    return msgspec.msgpack.decode(raw)


class Options(TypedDict, total=False):
    dpi: int
    when: date


async def resize(image: Point, width: int = 800, *, name: str = "small", at: date | None = None) -> Path:
    """A task as most are."""


def everything(
    a: int, b: date = date(2024, 1, 1), /, c: str = "c", *rest: Path, d: set[int], e: Any = None, **more: UUID
):
    """Every kind of parameter, and all of them back."""
    return a, b, c, rest, d, e, more


def keywords(**options: Unpack[Options]):
    """Keywords of declared types."""


def loose(first, second=2):
    """No annotations."""


def plainly(text: str, count: int = 1, ratio: float = 0.5) -> None:
    """The simplest types, which are checked by class alone."""
