"""Limits, and bytes from outside: what is too large, too deep or damaged is one kind of error."""

import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reinhardt_tasks.codec import Limits, ValueCodec
from reinhardt_tasks.errors import (
    BadPayloadError,
    ConfigurationError,
    PayloadTooDeepError,
    PayloadTooLargeError,
    ResultMismatchError,
    SerializationError,
    UnencodableError,
)
from tests.unit.codec_types import TYPES, Address, Family, Note, Person, Tree, codec, plain


def nested(levels: int, innermost=0):
    """Lists within lists."""
    for _ in range(levels):
        innermost = [innermost]
    return innermost


@pytest.mark.parametrize(
    ("annotation", "inside", "over"),
    [
        (str, "x" * 97, "x" * 98),
        (bytes, b"x" * 97, b"x" * 98),
        (Any, "x" * 97, "x" * 98),
        (list[str], ["x" * 96], ["x" * 97]),
        (list[int], [0] * 96, [0] * 97),
        (Note, Note("x" * 84), Note("x" * 85)),
    ],
)
def test_size_is_limited_to_the_byte(annotation, inside, over):
    """The limit itself is allowed, one more is not, and both figures are told."""
    both = codec(annotation, Limits(max_size=99))
    assert both.decode(both.encode(inside)) == inside
    with pytest.raises(
        PayloadTooLargeError, match=r"100 bytes( or more)?; the limit is 99\. Store it elsewhere and pass its key"
    ) as caught:
        both.encode(over)
    assert (caught.value.size, caught.value.limit) == (100, 99)


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [(str, str), (bytes, bytes), (Any, list), (list[str], list), (dict[str, bytes], dict), (Note, Note), (Any, dict)],
)
def test_a_huge_value_is_refused_before_it_is_copied(annotation, shape):
    """A gigabyte by mistake must not take a second gigabyte: sizes are added up first."""
    block = "x" * 1_000_000 if annotation is not bytes and annotation != dict[str, bytes] else b"x" * 1_000_000
    value = {str: block * 4, bytes: block * 4, list: [block] * 4, dict: dict.fromkeys("abcd", block)}.get(shape)
    value = Note(block, [block]) if shape is Note else value
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLargeError):
            codec(annotation).encode(value)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (bytearray, memoryview(bytes(4_000_000))),
        (list[int], [0] * 2_000_000),
        (list, [0] * 2_000_000),
        (Any, [0] * 2_000_000),
        (PurePath, PurePath("x" * 4_000_000)),
        (PurePath | None, PurePath("x" * 4_000_000)),
        (Address, Address(street="x" * 4_000_000)),
        (Person | None, Person(Name="x" * 4_000_000)),
        (list[Person], [Person(Name="", address=Address(street="x" * 4_000_000))]),
    ],
    ids=["memoryview", "numbers", "list", "any", "path", "no path", "model", "no model", "models"],
)
def test_a_huge_value_of_any_type_is_refused_before_it_is_looked_through(annotation, value):
    """Nothing is made of it: neither a copy of its own class, nor text, nor a list of its items."""
    both = codec(annotation)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLargeError, match="or more"):
            both.encode(value)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_model_that_holds_itself_is_too_deep():
    """It is looked at before pydantic is, which would call it a circular reference."""
    one = Family(children=[])
    one.children.append(one)
    with pytest.raises(PayloadTooDeepError):
        codec(Family).encode(one)


def test_a_value_that_repeats_itself_without_end_is_refused_soon():
    """Thirty lists that hold each other twice are a billion items when written out."""
    value = [0]
    for _ in range(30):
        value = [value, value]
    with pytest.raises(PayloadTooLargeError, match="or more"):
        codec(Any).encode(value)


@pytest.mark.parametrize("annotation", [Any, object, list, list[Any] | None])
def test_depth_is_limited_to_the_level(annotation):
    """Sixty-four levels are allowed, sixty-five are not, and the limit is told."""
    both = codec(annotation)
    assert both.decode(both.encode(nested(64))) == nested(64)
    with pytest.raises(
        PayloadTooDeepError, match=r"more than 64 levels deep, which is the limit\. Flatten it"
    ) as caught:
        both.encode(nested(65))
    assert (caught.value.depth, caught.value.limit) == (65, 64)
    with pytest.raises(PayloadTooDeepError):
        both.decode(msgspec.msgpack.encode(nested(65)))


def test_depth_is_limited_in_a_class_that_holds_itself():
    """A tree has no depth of its own type: each node and its list are a level each."""
    both = codec(Tree, Limits(max_depth=6))
    small = Tree("a", [Tree("b", [Tree("c")])])
    assert both.decode(both.encode(small)) == small
    with pytest.raises(PayloadTooDeepError):
        both.encode(Tree("a", [small]))
    with pytest.raises(PayloadTooDeepError):
        both.decode(msgspec.msgpack.encode(Tree("a", [small])))


@pytest.mark.parametrize("annotation", [Any, list, Tree])
def test_a_value_that_holds_itself_is_refused(annotation):
    """There is no end to it."""
    endless: list = []
    endless.append(endless)
    tree = Tree("a")
    tree.children.append(tree)
    with pytest.raises(PayloadTooDeepError, match="levels deep"):
        codec(annotation).encode(tree if annotation is Tree else endless)


@pytest.mark.parametrize("limits", [{"max_size": 0}, {"max_depth": 0}, {"max_depth": 257}])
def test_limits_that_cannot_hold_are_refused(limits):
    """The error names the setting and its range."""
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        Limits(**limits)


# Bytes from outside --------------------------------------------------------------------------------------------------

DECLARED = [row[0] for row in TYPES]


@pytest.mark.parametrize("annotation", [pytest.param(one, id=str(one)) for one in DECLARED])
@settings(max_examples=30)  # for each of fifty types
@given(raw=st.binary(max_size=60) | plain.map(msgspec.msgpack.encode))
def test_any_bytes_decode_or_raise_a_serialization_error(annotation, raw):
    """Whatever a broken or hostile producer wrote, the worker meets one kind of error."""
    both = codec(annotation)
    try:
        value = both.decode(raw)
    except SerializationError as error:
        refused = error
    else:
        if annotation not in {Any, object, Any | None}:  # these also read what was declared by another
            both.encode(value)
        return
    assert refused.name == "app.make"
    assert refused.where.startswith("the result")


@pytest.mark.parametrize(
    ("annotation", "raw", "said"),
    [
        (Any, b"", "Input data was truncated"),
        (Any, b"\xc1", "malformed"),
        (Any, b"\xa1\xff", "UnicodeDecodeError"),
        (Any, b"\x00\x00", "trailing characters"),
        (Any, b"\xd4\x05a", "value of type `Ext`"),
        (list[Any], b"\x91\xd6\xff\x00\x00\x00\x00", "value of type `datetime`"),
        (list[Any], b"\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "is nan where no type is declared"),
        (Any, b"\xdd\xff\xff\xff\xff", "truncated"),
        (list[Any], b"\x91\x81\xc0\x01", "a key of type `NoneType`"),
        (int, b"\xa1x", "Expected `int`, got `str`"),
        (list[int], b"\x92\x01\xa1x", "Expected `int`, got `str`"),
        (Address, b"\xa1{", "Invalid JSON"),
        (PurePath, b"\x01", "Expected `PurePath`, got `int`"),
    ],
)
def test_bytes_that_do_not_fit_are_a_bad_payload_with_the_remedy(annotation, raw, said):
    """The dead letter says what is wrong and what can be done about it."""
    with pytest.raises(BadPayloadError) as caught:
        codec(annotation).decode(raw)
    assert str(caught.value).startswith("Task app.make: the result")
    assert "cannot be read: " in str(caught.value)
    assert said in str(caught.value)
    assert str(caught.value).endswith("deploy that one and requeue it, or delete it.")


@pytest.mark.parametrize("annotation", [Any, list, Tree, dict])
def test_bytes_nested_without_end_are_refused(annotation):
    """A hundred kilobytes can open a hundred thousand lists; the interpreter's stack must not decide."""
    opening = {Tree: b"\x81\xa8children\x91", dict: b"\x81\x01"}.get(annotation, b"\x91")
    with pytest.raises(SerializationError):
        codec(annotation, Limits(max_size=10**7)).decode(opening * 100_000 + b"\xc0")


def test_bytes_over_the_limit_are_not_even_read():
    """A message that no producer of this package would have sent."""
    with pytest.raises(PayloadTooLargeError, match="takes 1048577 bytes; the limit is 1048576"):
        codec(bytes).decode(b"\x00" * ((1 << 20) + 1))


@dataclass
class Picky:
    """Raises what nobody expects when it is made."""

    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise LookupError("below zero")


def test_a_class_that_raises_when_it_is_made_is_a_bad_payload():
    """Whatever a task's own classes raise, the message becomes a dead letter and the worker goes on."""
    with pytest.raises(BadPayloadError, match="LookupError: below zero"):
        codec(Picky).decode(msgspec.msgpack.encode({"x": -1}))


class Starved:
    """Stands for a decoder that finds no memory."""

    def __call__(self, raw: bytes) -> object:
        raise MemoryError


def test_want_of_memory_is_no_fault_of_the_message(monkeypatch):
    """The message is good; another worker, or a later run, may read it."""
    both = codec(int)
    monkeypatch.setattr(both, "_read", Starved())
    with pytest.raises(MemoryError):
        both.decode(b"\x01")


def test_a_class_that_raises_when_it_is_read_back_is_refused():
    """The worker would meet the same error."""
    broken = Picky(1)
    broken.x = -1
    with pytest.raises(
        UnencodableError, match=r"does not come back: LookupError: below zero\. Correct it, or its class\.$"
    ):
        codec(Picky).encode(broken)


def test_depth_is_limited_where_the_stack_is_nearly_used_up():
    """How deep the caller stands itself must not decide which error it gets."""

    def standing(levels: int) -> None:
        if levels:
            return standing(levels - 1)
        return codec(Any, Limits(max_depth=256)).decode(msgspec.msgpack.encode(nested(256)))

    for levels in range(0, sys.getrecursionlimit() - 100, 20):
        try:
            standing(levels)
        except PayloadTooDeepError:
            return
    pytest.fail("the stack was never used up")


def test_without_a_task_the_text_starts_with_the_place():
    """The door is of use for values that belong to no task."""
    with pytest.raises(ResultMismatchError, match=r"^the value does not fit"):
        ValueCodec(int, where="the value").encode("x")
