"""Calls ↔ bytes: they bind as in Python, arrive as the function declares them, and errors name the parameter."""

import inspect
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reinhardt_tasks.codec import Limits
from reinhardt_tasks.errors import (
    ArgumentError,
    BadPayloadError,
    ConfigurationError,
    InvalidTextError,
    NotFiniteError,
    PayloadTooDeepError,
    PayloadTooLargeError,
    SerializationError,
    UnencodableError,
)
from tests.unit.codec_types import (
    TYPES,
    Address,
    Point,
    Row,
    calls,
    everything,
    integers,
    keywords,
    loose,
    plain,
    plainly,
    resize,
    wire,
    words,
)


@pytest.mark.parametrize(
    ("args", "kwargs", "wired"),
    [
        (("a",), {}, {"text": "a"}),
        (("a", 2), {}, {"text": "a", "count": 2}),
        ((), {"text": "a", "ratio": 1.5}, {"text": "a", "ratio": 1.5}),
        (("a",), {"count": 3}, {"text": "a", "count": 3}),
    ],
)
def test_only_what_was_passed_is_sent(args, kwargs, wired):
    """A default that is changed later applies to messages already waiting."""
    raw = calls(plainly).encode(args, kwargs)
    assert wire(raw) == wired

    def plainly_later(text: str, count: int = 100, ratio: float = 100.0) -> None: ...

    got_args, got_kwargs = calls(plainly_later).decode(raw)
    arrived = inspect.signature(plainly_later).bind(*got_args, **got_kwargs).arguments
    assert arrived == {"count": 100, "ratio": 100.0} | wired


@given(
    a=integers,
    b=st.dates(),
    c=words,
    rest=st.lists(words.map(Path), max_size=2),
    d=st.sets(integers),
    e=plain,
    more=st.dictionaries(st.sampled_from(["x", "a", "b", "rest", "more"]), st.uuids()),
)
def test_every_kind_of_parameter_travels(*, a, b, c, rest, d, e, more):
    """Positional-only, star, keyword-only and double star; even a keyword named like a positional-only parameter."""
    both = calls(everything)
    args, kwargs = both.decode(both.encode((a, b, c, *rest), {"d": d, "e": e, **more}))
    assert everything(*args, **kwargs) == (a, b, c, tuple(rest), d, e, more)


@given(a=integers, d=st.sets(integers))
def test_defaults_are_left_to_the_function(a, d):
    """What is not passed is what the function says."""
    both = calls(everything)
    args, kwargs = both.decode(both.encode((a,), {"d": d}))
    assert everything(*args, **kwargs) == everything(a, d=d)


def test_star_arguments_stand_under_their_own_names():
    """The form on the wire is part of what other languages may write."""
    raw = calls(everything).encode((1, date(2024, 2, 3), "c", Path("p")), {"d": {1}, "x": UUID(int=1)})
    assert wire(raw) == {
        "a": 1,
        "b": "2024-02-03",
        "c": "c",
        "rest": ["p"],
        "d": [1],
        "more": {"x": str(UUID(int=1))},
    }


def test_keywords_may_be_declared_one_by_one():
    """Unpack[TypedDict] gives each keyword its own type."""
    both = calls(keywords)
    assert both.decode(both.encode((), {"dpi": 3, "when": date(2024, 1, 1)}))[1] == {"dpi": 3, "when": date(2024, 1, 1)}
    with pytest.raises(ArgumentError, match=r"parameter 'options'.*no field 'dip'"):
        both.encode((), {"dip": 3})


@pytest.mark.parametrize(("annotation", "values"), [pytest.param(*row, id=str(row[0])) for row in TYPES])
@settings(max_examples=30)  # for each of fifty types
@given(examples=st.data())
def test_arguments_of_every_declared_type_arrive_as_declared(annotation, values, examples):
    """The function is called with real objects."""

    def task(value, *rest, **named): ...

    task.__annotations__ = {"value": annotation, "rest": annotation, "named": annotation}
    one, two, three = (examples.draw(values) for _ in range(3))
    both = calls(task)
    args, kwargs = both.decode(both.encode((one, two), {"name": three}))
    assert (args, kwargs) == ((one, two), {"name": three})
    assert [type(value) for value in (*args, *kwargs.values())] == [type(one), type(two), type(three)]


def test_a_default_is_the_functions_own_object():
    """No copy: a sentinel stays itself, and what cannot travel may still be a default."""
    sentinel = Row()

    def task(a: int, b: Any = sentinel, c: dict[str, int] = {}): ...  # noqa: B006 - that it is shared is the point

    args, kwargs = calls(task).decode(calls(task).encode((1,), {}))
    assert args[1] is sentinel
    assert args[2] is task.__defaults__[1]
    assert kwargs == {}


# Calls that do not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "where", "said"),
    [
        ((), {}, "parameter 'image'", "missing a required argument: 'image'"),
        ((), {"width": 1}, "parameter 'image'", "missing a required argument: 'image'"),
        ((Point(1), 2, "x"), {}, "the call", "too many positional arguments"),
        ((Point(1),), {"wide": 3}, "parameter 'wide'", "got an unexpected keyword argument 'wide'"),
        ((Point(1),), {"image": Point(2)}, "parameter 'image'", "multiple values for argument 'image'"),
    ],
)
def test_a_call_that_does_not_fit_the_signature_is_refused(args, kwargs, where, said):
    """The mistake is found where the call is written, and the error shows what the task takes."""
    with pytest.raises(ArgumentError) as caught:
        calls(resize).encode(args, kwargs)
    assert str(caught.value).startswith(f"Task app.work: {where} does not fit: {said}")
    assert "The task takes (image, width, *, name, at)." in str(caught.value)
    assert (caught.value.name, caught.value.where) == ("app.work", where)


def test_what_goes_by_position_alone_is_not_taken_by_name():
    """As Python has it."""

    def task(a: int, /): ...

    with pytest.raises(ArgumentError, match=r"'a'.* The task takes \(a, /\)"):
        calls(task).encode((), {"a": 1})


@pytest.mark.parametrize(
    ("args", "kwargs", "where", "said"),
    [
        ((Point(1), "300"), {}, "parameter 'width'", "Expected `int`, got `str` (declared `int`, given `str`)"),
        ((Point(1), True), {}, "parameter 'width'", "Expected `int`, got `bool`"),
        ((Point("x"),), {}, "parameter 'image'.x", "Expected `int`, got `str`"),
        (({"x": 1, "why": 2},), {}, "parameter 'image'", "`Point` has no field 'why'"),
        ((Point(1),), {"at": "soon"}, "parameter 'at'", "Invalid RFC3339"),
        ((Row(),), {}, "parameter 'image'", "Expected `Point`, got `Row`"),
    ],
)
def test_an_argument_of_another_type_is_refused_at_enqueue(args, kwargs, where, said):
    """Not in the worker, an hour later."""
    with pytest.raises(ArgumentError) as caught:
        calls(resize).encode(args, kwargs)
    assert str(caught.value).startswith(f"Task app.work: {where} does not fit: ")
    assert said in str(caught.value)
    assert caught.value.where == where
    remedy = "Pass its key (such as its id) and load it in the task." if args == (Row(),) else "Pass what is declared."
    assert remedy in str(caught.value) or isinstance(args[0], Row)


def test_a_row_of_a_database_is_refused_with_the_remedy():
    """Its key is what should travel; the task loads it afresh."""

    def task(user_id: int, anything=None): ...

    with pytest.raises(ArgumentError, match=r"parameter 'user_id' .*got `Row`.*Pass its key \(such as its id\)"):
        calls(task).encode((Row(),), {})
    with pytest.raises(UnencodableError, match=r"parameter 'anything' .*`Row`.*Pass its key \(such as its id\)"):
        calls(task).encode((1, Row()), {})


@pytest.mark.parametrize(
    ("function", "args", "kind", "where"),
    [
        (plainly, ("a\udfff",), InvalidTextError, "parameter 'text'"),
        (plainly, ("a", 2**64), UnencodableError, "parameter 'count'"),
        (loose, (1, float("nan")), NotFiniteError, "parameter 'second'"),
        (loose, (1, {"a": [float("inf")]}), NotFiniteError, "parameter 'second'['a'][0]"),
        (loose, ([], {1: {2}}), UnencodableError, "parameter 'second'[1]"),
        (everything, (1, date(1, 1, 1), "c", Path("a"), Path("b\ud800")), InvalidTextError, "parameter 'rest'"),
    ],
)
def test_a_value_that_cannot_travel_names_its_parameter(function, args, kind, where):
    """Among ten arguments the caller sees which."""
    kwargs = {"d": set()} if function is everything else {}
    with pytest.raises(kind) as caught:
        calls(function).encode(args, kwargs)
    assert caught.value.where == where
    assert caught.value.name == "app.work"


def test_what_the_worker_fills_in_is_not_for_callers():
    """A dependency is no argument, by name or by position."""

    def task(a: int, db: object = "Depends", b: int = 5): ...

    both = calls(task, skip={"db"})
    for args, kwargs in [((1,), {"db": 1}), ((1, 2), {}), ((1, 2, 3), {})]:
        with pytest.raises(
            ArgumentError, match=r"'db' is filled in by the worker, leave it out. The task takes \(a, b\)"
        ):
            both.encode(args, kwargs)
    assert both.decode(both.encode((1,), {"b": 2})) == ((1,), {"b": 2})
    assert both.decode(both.encode((1,), {})) == ((1,), {})
    with pytest.raises(BadPayloadError, match="parameter 'db'"):
        both.decode(msgspec.msgpack.encode({"a": 1, "db": 2}))


def test_what_the_worker_fills_in_may_come_after_a_star():
    """Keyword-only dependencies leave everything else as it is."""

    def task(a: int, *rest: int, db: object = None, **more: int): ...

    both = calls(task, skip=["db"])
    assert both.decode(both.encode((1, 2, 3), {"x": 4})) == ((1, 2, 3), {"x": 4})
    for stolen in ("db", "a"):
        with pytest.raises(BadPayloadError, match=f"parameter '{stolen}' cannot be read: it stands among the other"):
            both.decode(msgspec.msgpack.encode({"a": 1, "more": {stolen: 1}}))


# Definitions that cannot work ----------------------------------------------------------------------------------------


def test_a_dependency_in_front_of_what_goes_by_position_is_refused():
    """The function could not be called."""

    def task(db: object, /, a: int): ...
    def star(db: object, *rest: int): ...

    for function in (star, task):
        with pytest.raises(ConfigurationError, match=r"come last, after a `\*`"):
            calls(function, skip={"db"})
    with pytest.raises(ConfigurationError, match="no parameter 'dbb'"):
        calls(star, skip={"dbb"})


def test_a_name_that_cannot_be_resolved_is_refused_with_function_and_parameter():
    """A type imported under TYPE_CHECKING only is not there when messages arrive."""

    def task(a: int, image: "list[Picture]"): ...  # noqa: F821 - that is the test

    with pytest.raises(ConfigurationError) as caught:
        calls(task)
    assert "Task app.work: parameter 'image' is annotated 'list[Picture]', which cannot be resolved" in str(
        caught.value
    )
    assert "not under TYPE_CHECKING" in str(caught.value)


def test_a_result_that_cannot_be_resolved_is_named_as_such():
    """The return annotation is read as well."""

    def task() -> "Picture": ...  # noqa: F821 - that is the test

    with pytest.raises(ConfigurationError, match="the result is annotated 'Picture'"):
        calls(task)


def test_a_type_that_cannot_travel_names_the_parameter():
    """At definition, with the remedy."""

    def task(a: int, shape: Point | Address | None): ...

    with pytest.raises(
        ConfigurationError, match=r"Task app.work: parameter 'shape' is declared .* Declare one of them"
    ):
        calls(task)

    def rows(*users: Row): ...

    with pytest.raises(ConfigurationError, match=r"parameter 'users' .* pass its key"):
        calls(rows)


def test_a_function_without_a_signature_is_refused():
    """Some of C's have none."""
    with pytest.raises(ConfigurationError, match="Wrap it in a function of your own"):
        calls(dict)


# Limits and bytes from outside ---------------------------------------------------------------------------------------


def test_size_counts_the_whole_call_and_names_its_largest_part():
    """Both figures are told, and where most of the bytes are."""
    both = calls(plainly, limits=Limits(max_size=100))
    both.encode(("x" * 92,), {})
    for call in [("x" * 93,), ("x" * 91, 1)]:
        with pytest.raises(PayloadTooLargeError, match="the limit is 100") as caught:
            both.encode(call, {})
        assert "parameter 'text'" in str(caught.value)
        assert caught.value.size > caught.value.limit == 100


def test_a_huge_argument_is_refused_before_it_is_copied():
    """A gigabyte by mistake must not take a second gigabyte."""
    both, text = calls(plainly), "x" * 4_000_000
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLargeError, match="parameter 'text' takes 4000000 bytes or more"):
            both.encode((text,), {})
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_depth_names_the_parameter():
    """The limit is told too."""
    with pytest.raises(PayloadTooDeepError, match=r"parameter 'second'\['a'\].* is nested more than 2 levels deep"):
        calls(loose, limits=Limits(max_depth=2)).encode((1, {"a": [[1]]}), {})


@pytest.mark.parametrize(
    ("call", "where", "said"),
    [
        ({"image": {"x": 1}, "colour": 1}, "parameter 'colour'", "Object contains unknown field `colour`"),
        ({"width": 1}, "parameter 'image'", "Object missing required field `image`"),
        ({"image": {"x": "1"}}, "parameter 'image'.x", "Expected `int`, got `str`"),
        ({"image": {"x": 1}, "width": 1.5}, "parameter 'width'", "Expected `int`, got `float`"),
        ([1], "the call", "Expected `object`, got `array`"),
        ({1: 2}, "the call", "Expected `str`"),
    ],
)
def test_bytes_that_do_not_fit_the_parameters_are_a_bad_payload(call, where, said):
    """Nothing is dropped silently: a parameter that this version does not know is an error too."""
    with pytest.raises(BadPayloadError) as caught:
        calls(resize).decode(msgspec.msgpack.encode(call))
    assert str(caught.value).startswith(f"Task app.work: {where} cannot be read: ")
    assert said in str(caught.value)
    assert caught.value.where == where


@pytest.mark.parametrize("function", [resize, everything, loose, plainly, keywords])
@given(raw=st.binary(max_size=80) | st.dictionaries(st.sampled_from("abcde"), plain).map(msgspec.msgpack.encode))
def test_any_bytes_decode_to_a_call_that_fits_or_raise_a_serialization_error(function, raw):
    """What a hostile producer wrote is refused, or is a call the function takes."""
    try:
        args, kwargs = calls(function).decode(raw)
    except SerializationError as error:
        refused = error
    else:
        inspect.signature(function).bind(*args, **kwargs)
        return
    assert refused.name == "app.work"


@given(st.data())
def test_a_changed_byte_of_a_real_call_decodes_or_raises_a_serialization_error(examples):
    """The nearest misses are made from what is right."""
    both = calls(everything)
    raw = bytearray(
        both.encode((1, date(2024, 1, 1), "c", Path("p")), {"d": {1, 2}, "e": {"k": [1.5]}, "x": UUID(int=7)})
    )
    raw[examples.draw(st.integers(0, len(raw) - 1))] ^= examples.draw(st.integers(1, 255))
    try:
        args, kwargs = both.decode(bytes(raw))
    except SerializationError:
        return
    everything(*args, **kwargs)


def test_undeclared_places_are_looked_at_on_arrival():
    """What encode refuses is not let in by the back door, and the parameter is named."""
    with pytest.raises(BadPayloadError, match=r"parameter 'second'\[0\] cannot be read: it is nan"):
        calls(loose).decode(msgspec.msgpack.encode({"first": 1, "second": [float("nan")]}))


def test_want_of_memory_is_no_fault_of_the_call(monkeypatch):
    """The message is good; it stays one."""

    def starved(raw: bytes) -> object:
        raise MemoryError

    both = calls(plainly)
    monkeypatch.setattr(both._arrival, "_read", starved)  # noqa: SLF001 - memory cannot be taken away on demand
    with pytest.raises(MemoryError):
        both.decode(b"\x80")
