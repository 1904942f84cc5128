"""Steps of workflows, which get their first argument later, and tasks that are classes."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.codec import Limits, ValueCodec
from reinhardt_tasks.errors import ArgumentError, BadPayloadError, ConfigurationError, PayloadTooLargeError
from tests.unit.codec_types import Person, Point, calls, integers, keywords, loose, plainly, points, resize, wire


@given(image=points, width=integers, at=st.none() | st.dates())
def test_a_step_is_the_call_less_its_first_parameter(image, width, at):
    """The result of the step before is put in as it was encoded, and the whole is a call like any other."""
    both = calls(resize)
    step = both.encode_step((width,), {"at": at})
    assert wire(step) == {"width": width, "at": None if at is None else at.isoformat()}
    before = ValueCodec(Point, where="the result").encode(image)
    merged = both.merge(step, {"image": before})
    assert both.decode(merged) == both.decode(both.encode((image, width), {"at": at}))


def test_the_codec_tells_what_a_step_takes_and_gives():
    """A chain is checked with these when it is built."""
    both = calls(resize)
    assert (both.first_parameter, both.first_type, both.result_type) == ("image", Point, Path)
    assert (calls(loose).first_type, calls(loose).result_type) == (Any, Any)
    assert calls(keywords).first_parameter is None

    def named(*, a: int, b: int): ...

    assert calls(named).first_parameter == "a"


def test_a_dependency_is_never_the_first_parameter():
    """The worker fills it in, the step before does not."""

    def task(db: object, a: int): ...

    both = calls(task, skip={"db"})
    assert both.first_parameter == "a"
    assert both.decode(both.merge(both.encode_step((), {}), {"a": b"\x07"})) == ((), {"a": 7})


def test_a_step_binds_as_strictly_as_a_call():
    """Too many, unknown, or the first parameter itself: refused."""
    both = calls(resize)
    for args, kwargs in [((1, 2), {}), ((), {"wide": 1}), ((), {"image": Point(1)}), (("x",), {})]:
        with pytest.raises(ArgumentError):
            both.encode_step(args, kwargs)


def test_a_task_without_parameters_is_no_step():
    """There is nothing to receive the result before it."""

    def task(): ...

    with pytest.raises(ConfigurationError, match=r"Task app\.work takes no first parameter .* Give it one"):
        calls(task).encode_step((), {})


def test_any_parameters_may_be_left_out():
    """As a node of a graph leaves out those that its edges fill; one that there is not, or is a `*args`, is refused."""
    both = calls(resize)
    part = both.encode_without(("width",), (Point(1),), {})
    assert both.decode(both.merge(part, {"width": b"\x07"})) == both.decode(both.encode((Point(1), 7), {}))
    with pytest.raises(ArgumentError, match="parameter 'height' is to be filled, and there is none"):
        both.encode_without(("height",), (), {})
    with pytest.raises(ArgumentError, match="parameter 'options'"):
        calls(keywords).encode_without(("options",), (), {})


def test_a_merge_that_cannot_be_is_refused():
    """Broken steps, a value twice, or more than the limit."""
    both = calls(plainly, limits=Limits(max_size=50))
    with pytest.raises(BadPayloadError, match=r"app\.work: the call cannot be read"):
        both.merge(b"\xc1", {"text": b"\xc0"})
    with pytest.raises(BadPayloadError, match="already"):
        both.merge(both.encode(("a",), {}), {"text": b"\xa1b"})
    with pytest.raises(PayloadTooLargeError, match=r"most of them in parameter 'text'; the limit is 50"):
        both.merge(both.encode_step((), {}), {"text": msgspec.msgpack.encode("x" * 60)})
    with pytest.raises(BadPayloadError, match="parameter 'text' cannot be read: Expected `str`, got `int`"):
        both.decode(both.merge(both.encode_step((), {}), {"text": b"\x01"}))


# Tasks that are classes ----------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Clean:
    folder: Path
    older_than: timedelta = timedelta(days=7)
    only: list[str] = field(default_factory=list)

    async def execute(self) -> int: ...


class Handmade:
    def __init__(self, person: Person, *, loud: bool = False) -> None:
        self.person = person
        self.loud = loud


def test_a_class_is_taken_for_its_fields():
    """The fields are the payload; a default factory makes a new value in the worker."""
    both = calls(Clean)
    raw = both.encode((), {"folder": Path("a")})
    assert wire(raw) == {"folder": "a"}
    args, kwargs = both.decode(raw)
    assert Clean(*args, **kwargs) == Clean(folder=Path("a"))
    assert both.result_type is int
    with pytest.raises(ArgumentError, match="parameter 'older_than'"):
        both.encode((), {"folder": Path("a"), "older_than": 3})


def test_a_class_with_an_init_of_its_own_is_taken_for_that():
    """Annotations of `__init__` count."""
    both = calls(Handmade)
    person = Person(Name="Ada")
    args, kwargs = both.decode(both.encode((person,), {"loud": True}))
    assert (args, kwargs) == ((), {"person": person, "loud": True})
    assert both.result_type is Handmade
