"""Values of declared types ↔ bytes: each comes back whole, or is an error with name, place and remedy."""

import enum
import math
from collections import OrderedDict, deque
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Literal, Never, NoReturn
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reinhardt_tasks.errors import (
    ConfigurationError,
    InvalidTextError,
    NotFiniteError,
    ResultMismatchError,
    SerializationError,
    UnencodableError,
)
from tests.unit.codec_types import (
    TYPES,
    Address,
    Box,
    Cat,
    Color,
    Dog,
    FullAddress,
    Level,
    Line,
    Movie,
    Note,
    Noted,
    Pair,
    Pixel,
    Point,
    Point3,
    Role,
    Row,
    Secretive,
    Small,
    Sparse,
    Swapped,
    codec,
)


@pytest.mark.parametrize(("annotation", "values"), [pytest.param(*row, id=str(row[0])) for row in TYPES])
@settings(max_examples=30)  # for each of fifty types
@given(examples=st.data())
def test_every_declared_type_comes_back_as_it_went(annotation, values, examples):
    """The reader gets an equal value of the same class, not its form on the wire."""
    value = examples.draw(values)
    both = codec(annotation)
    arrived = both.decode(both.encode(value))
    assert arrived == value
    assert type(arrived) is type(value)


@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_datetime_arrives_as_the_same_instant_in_utc(moment):
    """A zone is a rule of the sender; what travels is the instant."""
    both = codec(datetime)
    try:
        instant = moment.astimezone(UTC)
    except OverflowError:  # no such instant within the years 1 to 9999
        with pytest.raises(SerializationError):
            both.decode(both.encode(moment))
        return
    arrived = both.decode(both.encode(moment))
    assert arrived == instant
    assert arrived.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["1.10", "-0", "1E+400", "NaN", "Infinity", "0.1234567890123456789012345678901234567890"]
)
def test_decimals_keep_every_digit(text):
    """1.10 is not 1.1, and nothing goes through float."""
    both = codec(Decimal)
    assert str(both.decode(both.encode(Decimal(text)))) == text


@pytest.mark.parametrize(("annotation", "values"), [pytest.param(*row, id=str(row[0])) for row in TYPES])
@settings(max_examples=10)  # for each of fifty types
@given(examples=st.data())
def test_whoever_knows_no_type_reads_plain_values(annotation, values, examples):
    """A handle made from an id alone can look at every result."""
    value = examples.draw(values)
    raw = codec(annotation).encode(value)
    assert codec(Any).decode(raw) == msgspec.msgpack.decode(raw)


def test_a_float_may_be_infinite_or_no_number_where_it_is_declared():
    """The type asks for a float, and these are floats."""
    both = codec(list[float])
    infinite, nothing = both.decode(both.encode([float("inf"), float("nan")]))
    assert infinite == float("inf")
    assert math.isnan(nothing)


@pytest.mark.parametrize("annotation", [NoReturn, Never])
def test_a_task_that_never_returns_has_no_result(annotation):
    """Its handle waits for the error."""
    assert codec(annotation).decode(codec(annotation).encode(None)) is None


@pytest.mark.parametrize(
    ("annotation", "value", "arrived"),
    [
        (float, 1, 1.0),
        (Path, "a/b", Path("a/b")),
        (date, "2024-02-29", date(2024, 2, 29)),
        (set[int], [1, 2], {1, 2}),
        (Point, {"x": 1}, Point(1)),
        (Line, {"start": {"x": 1, "y": 2}, "at": "2024-01-01"}, Line(Point(1, 2.0), at=date(2024, 1, 1))),
        (Cat | Dog, {"type": "Dog", "tricks": ["sit"]}, Dog(["sit"])),
        (Pair, [1, "x"], Pair(1, "x")),
        (Address, {"street": "Elm", "built": "2001-01-01"}, Address(street="Elm", built=date(2001, 1, 1))),
        (dict[str, int], OrderedDict(a=1), {"a": 1}),
        (Any, (1, (2,)), [1, [2]]),
    ],
)
def test_a_value_may_be_given_in_its_form_on_the_wire(annotation, value, arrived):
    """A command line or a schedule has only JSON to offer; the task still gets what it declares."""
    both = codec(annotation)
    got = both.decode(both.encode(value))
    assert got == arrived
    assert type(got) is type(arrived)


class Text(str):
    __slots__ = ()


class Moment(datetime):
    """As libraries that stop the clock in tests make them."""


@pytest.mark.parametrize(
    ("annotation", "value", "arrived"),
    [
        (str, Text("safe"), "safe"),
        (str, Role.ADMIN, "admin"),
        (int, Level.HIGH, 2),
        (datetime, Moment(2024, 1, 2, 3), datetime.fromisoformat("2024-01-02T03:00")),
        (datetime, Moment(2024, 1, 2, 3, tzinfo=UTC), datetime(2024, 1, 2, 3, tzinfo=UTC)),
        (Box[str], Box(Text("safe")), Box("safe")),
        (Box[datetime], Box(Moment(2024, 1, 2)), Box(datetime.fromisoformat("2024-01-02"))),
    ],
)
def test_a_subclass_of_a_builtin_arrives_as_the_builtin(annotation, value, arrived):
    """It is one, as far as the declared type says."""
    both = codec(annotation)
    got = both.decode(both.encode(value))
    assert got == arrived
    assert type(got) is type(arrived)


def test_a_field_that_is_not_set_is_not_sent():
    """Msgspec leaves it out, and so does the reader."""
    both = codec(Sparse)
    assert both.encode(Sparse()) == b"\x80"
    assert both.decode(both.encode(Sparse(a=1))) == Sparse(a=1)


@pytest.mark.parametrize(
    ("annotation", "value", "place", "said"),
    [
        (int, "x", "the result", "Expected `int`, got `str`"),
        (int, True, "the result", "Expected `int`, got `bool`"),
        (int, 1.0, "the result", "Expected `int`, got `float`"),
        (bool, 1, "the result", "Expected `bool`, got `int`"),
        (str, None, "the result", "Expected `str`, got `null`"),
        (str, b"x", "the result", "Expected `str`, got `bytes`"),
        (bytes, "eA==", "the result", "Expected `bytes`, got `str`"),
        (str, UUID(int=0), "the result", "Expected `str`, got `uuid`"),
        (None, 1, "the result", "Expected `null`, got `int`"),
        (list[str], ["a", UUID(int=0)], "the result[1]", "Expected `str`, got `uuid`"),
        (list[int], deque([1]), "the result", "got `collections.deque`"),
        (dict[str, list[int]], {"a": [1, "x"]}, "the result[...][1]", "Expected `int`, got `str`"),
        (dict[int, int], {"a": 1}, "the result", "Expected `int`, got `str`"),
        (Color, "green", "the result", "Invalid enum value 'green'"),
        (Literal["a"], "b", "the result", "Invalid enum value 'b'"),
        (Small, 12, "the result", "Expected `int` <= 9"),
        (tuple[int, int], (1, 2, 3), "the result", "length 2"),
        (Point, Point("a"), "the result.x", "Expected `int`, got `str`"),
        (Point, Point3(1, 2.0, 3), "the result", "Expected `Point`, got `Point3`"),
        (Point, Pixel(1, 2.0), "the result", "Expected `Point`, got `Pixel`"),
        (Line, Line(Point3(1)), "the result.start", "Expected `Point`, got `Point3`"),
        (Line, Line(Pixel(1, 2.0)), "the result.start", "Expected `Point`, got `Pixel`"),
        (Box[Point | None], Box(Pixel(1, 2.0)), "the result.content", "Expected `Point`, got `Pixel`"),
        (list[Line], [Line(Point(1)), Line(Point3(1))], "the result[1].start", "got `Point3`"),
        (Point, {"x": 1, "w": 2}, "the result", "`Point` has no field 'w'"),
        (dict[str, Point], {"p": {"x": 1, "w": 2}}, "the result['p']", "`Point` has no field 'w'"),
        (Movie, {"title": "M", "year": 1931, "by": "Lang"}, "the result", "`Movie` has no field 'by'"),
        (Cat | Dog, {"type": "Dog", "lives": 9}, "the result", "`Dog` has no field 'lives'"),
        (Path, 3, "the result", "Expected `Path`, got `int`"),
        (PurePosixPath, PurePath, "the result", "got `type`"),
        (Address, {"street": 3}, "the result", "No valid `Address`: street: Input should be a valid string"),
        (Address, Noted(shown=1), "the result", "Expected `Address`, got `Noted`"),
        (Address, FullAddress(street="Elm", town="Oz"), "the result", "Expected `Address`, got `FullAddress`"),
        (list[Address], [FullAddress(street="Elm", town="Oz")], "the result[0]", "got `FullAddress`"),
        (int, Row(), "the result", "Expected `int`, got `Row`"),
    ],
)
def test_a_result_of_another_type_is_refused_where_it_differs(annotation, value, place, said):
    """A handle could not read it back, so the task that returned it is told: what, where, and what to do."""
    with pytest.raises(ResultMismatchError) as caught:
        codec(annotation).encode(value)
    error = caught.value
    assert (error.name, error.where) == ("app.make", place)
    assert error.given.endswith(type(value).__qualname__)
    assert said in str(error)
    assert str(error).startswith(f"Task app.make: {place} does not fit")
    assert f"declared `{error.expected}`" in str(error)
    assert "Return what is declared, or correct the annotation." in str(error)


@pytest.mark.parametrize(
    ("value", "place", "remedy"),
    [
        (uuid4(), "the result", "Annotate it `UUID`"),
        ({"at": [date(2024, 1, 1)]}, "the result['at'][0]", "Annotate it `date`"),
        ([Path("a")], "the result[0]", "Annotate it `"),
        ({1, 2}, "the result", "Annotate it `set`"),
        ([Point(1)], "the result[0]", "Annotate it `Point`"),
        (Address(street="Elm"), "the result", "Annotate it `Address`"),
        (Level.LOW, "the result", "Annotate it `Level`"),
        ({(1, 2): 3}, "the result", "Annotate the type of the keys"),
        ({True: 3}, "the result", "Annotate the type of the keys"),
        ([Row()], "the result[0]", "Pass its key"),
        ([Text("safe")], "the result[0]", "Pass it as a `str`"),
        (len, "the result", "Pass its key"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_where_no_type_is_declared(value, place, remedy):
    """A UUID would arrive as text: whoever wants one says so in the annotation."""
    with pytest.raises(UnencodableError) as caught:
        codec(Any).encode(value)
    assert caught.value.where == place
    assert str(caught.value).startswith(f"Task app.make: {place} ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (Note, Note("a", uuid4()), "the result.extra"),
        (Note, {"text": "a", "extra": [Row()]}, "the result.extra[0]"),
        (dict[str, object], {"a": uuid4()}, "the result['a']"),
        (list[Any] | None, [1, uuid4()], "the result[1]"),
        (tuple[int, Any], (1, uuid4()), "the result[1]"),
        (dict, {(1, 2): 3}, "the result"),
    ],
)
def test_a_place_of_no_declared_type_is_looked_at_wherever_it_is(annotation, value, place):
    """Any inside a declared type is as strict as Any itself."""
    with pytest.raises(UnencodableError) as caught:
        codec(annotation).encode(value)
    assert caught.value.where == place


def test_a_field_that_holds_a_row_is_refused_with_the_remedy():
    """Msgspec does not look into an object that has the declared class; the encoder meets the row."""
    with pytest.raises(UnencodableError, match=r"holds a value of type `Row`\. Pass its key \(such as its id\)"):
        codec(Box[int]).encode(Box(Row()))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")], {"a": float("nan")}])
def test_nan_and_infinity_are_refused_where_no_type_is_declared(value):
    """Not every reader knows nan."""
    with pytest.raises(NotFiniteError, match="Annotate it float") as caught:
        codec(Any).encode(value)
    assert caught.value.where in {"the result", "the result[1]", "the result['a']"}


@pytest.mark.parametrize("annotation", [str, Any, list[str], dict[str, int], Path, Box[str]])
def test_text_that_is_not_unicode_is_refused(annotation):
    """A lone surrogate has no UTF-8; a name of a file may hold one."""
    bad = "a\ud800"
    value = {list[str]: [bad], dict[str, int]: {bad: 1}, Path: Path(bad), Box[str]: Box(bad)}.get(annotation, bad)
    with pytest.raises(InvalidTextError, match=r"^Task app.make: the result holds text .* pass it as bytes\.$"):
        codec(annotation).encode(value)


@pytest.mark.parametrize(
    ("annotation", "value"), [(int, 2**64), (int, -(2**63) - 1), (Any, [2**64]), (Box[int], Box(2**70))]
)
def test_an_integer_beyond_64_bits_is_refused(annotation, value):
    """MessagePack has no larger ones."""
    with pytest.raises(UnencodableError, match=r"outside -2\*\*63 … 2\*\*64-1\. Declare it str or Decimal"):
        codec(annotation).encode(value)


@pytest.mark.parametrize(
    "value",
    [Secretive(password="hush"), Noted(shown=1, hidden=2), Noted.model_construct(shown="no int")],
    ids=["secret", "excluded", "unvalidated"],
)
def test_a_model_that_its_own_json_does_not_hold_is_refused(value):
    """Stars in place of a password, a field left out: better no message than that one."""
    with pytest.raises(UnencodableError, match=type(value).__name__) as caught:
        codec(type(value)).encode(value)
    assert "hush" not in str(caught.value)


def test_a_model_is_read_by_the_names_of_its_fields_alone():
    """An alias is for other readers; here one may even be the name of another field."""
    both = codec(Swapped)
    assert both.decode(both.encode(Swapped(a=1, b=2))) == Swapped(a=1, b=2)


def test_a_secret_is_not_repeated_in_the_error():
    """Pydantic shows the input it refuses; errors end up in logs."""
    with pytest.raises(SerializationError) as caught:
        codec(Address).encode({"street": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Point | Line, "make the classes msgspec Structs with `tag=True`"),
        (Path | str, "Declare one of them"),
        (set[int] | list[int], "Declare one of them"),
        (Address | int, "Declare one of them"),
        (Row, "`Row` has no form on the wire: make it a dataclass"),
        (list[Row], "For a row of a database: pass its key"),
        (Row | None, "pass its key"),
        (deque[int], "has no form on the wire"),
        (enum.Enum("Mixed", {"A": (1, 2)}), "only str values or only int values"),
        (msgspec.Raw, "declare bytes"),
        (complex, "has no form on the wire"),
    ],
)
def test_a_type_that_cannot_travel_is_refused_when_it_is_declared(annotation, said):
    """The mistake is in the definition, so that is where the error comes, with the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        codec(annotation)
    assert str(caught.value).startswith("Task app.make: the result is declared `")
    assert "which cannot travel" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.setting == "the result"


def test_an_older_pydantic_is_named(monkeypatch):
    """Reading models by field names came with pydantic 2.11."""

    def read_as_before(json_data: str) -> None: ...

    monkeypatch.setattr(Address, "model_validate_json", read_as_before)
    with pytest.raises(ConfigurationError, match=r"install pydantic 2\.11 or newer"):
        codec(Address)
