"""What is decided without a server: frames, acknowledgements, the steps of a delay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from reinhardt_tasks.backends.rabbitmq import frames
from reinhardt_tasks.backends.rabbitmq.frames import Parcel
from reinhardt_tasks.backends.rabbitmq.ladder import LONGEST, RUNGS, Ladder
from reinhardt_tasks.backends.rabbitmq.link import LONGEST_PAUSE, pause
from reinhardt_tasks.backends.rabbitmq.names import Names
from reinhardt_tasks.backends.rabbitmq.tags import Tags

NAMES = st.text("abc.:é", max_size=40)
HEADERS = st.dictionaries(
    st.text("abc", min_size=1, max_size=5), st.integers(0, 9) | st.text("xyz", max_size=9), max_size=3
)
PARCELS = st.builds(
    Parcel, NAMES, NAMES, st.binary(max_size=400), NAMES, st.integers(0, 9), st.integers(1, 2), st.none() | HEADERS
)


def read(data: bytes) -> list[Any]:
    """The frames in `data`, as pika reads them."""
    found = []
    while data:
        size, one = frame.decode_frame(data)
        assert size
        found.append(one)
        data = data[size:]
    return found


@given(PARCELS, st.integers(8, 100))
def test_what_is_packed_here_is_read_by_pika(parcel, largest):
    """Method, properties, and a body in pieces that are no larger than they may be."""
    method, header, *pieces = read(frames.published(3, parcel, largest))
    assert (method.channel_number, method.method.exchange, method.method.routing_key) == (
        3,
        parcel.exchange,
        parcel.key,
    )
    assert method.method.mandatory
    found = header.properties
    assert (found.message_id, found.priority, found.delivery_mode) == (parcel.id, parcel.priority, parcel.mode)
    assert (found.headers or {}) == (parcel.headers or {})
    assert all(len(piece.fragment) <= largest for piece in pieces)
    assert b"".join(piece.fragment for piece in pieces) == parcel.body
    assert header.body_size == len(parcel.body)


@given(PARCELS, st.booleans(), st.integers(1, 2**63), st.binary(max_size=30))
def test_what_the_broker_delivers_is_read_here_as_by_pika(parcel, again, tag, after):
    """Whole, whatever follows; and not before all of it is there."""
    largest = 10_000
    content = frames.published(1, parcel, largest)
    method = spec.Basic.Deliver("consumer", tag, again, parcel.exchange, parcel.key)
    data = frame.Method(1, method).marshal() + content[frame.decode_frame(content)[0] :]
    found, end = frames.delivery(5, data + after, 0)
    if not parcel.body:
        assert found is None  # pika's to read
        return
    assert end == len(data)
    assert found is not None
    assert (found.session, found.tag, found.consumer, found.redelivered) == (5, tag, b"consumer", again)
    assert (found.priority, found.id, found.body) == (parcel.priority, parcel.id, parcel.body)
    assert dict(found.headers) == (parcel.headers or {})
    for cut in range(len(frame.Method(1, method).marshal()), len(data)):
        assert frames.delivery(5, data[:cut], 0) == (None, 0)


@given(st.integers(1, 2**63), st.booleans())
def test_acknowledgements_are_those_of_the_protocol(tag, multiple):
    """And what the broker confirms has the same form."""
    data = frames.acknowledged(2, tag, multiple=multiple)
    [said] = read(data)
    assert (said.method.NAME, said.method.delivery_tag, said.method.multiple) == ("Basic.Ack", tag, multiple)
    assert frames.confirm(data, 0) == (tag, multiple)
    [back] = read(frames.given_back(2, tag))
    assert (back.method.NAME, back.method.delivery_tag) == ("Basic.Nack", tag)
    assert (back.method.multiple, back.method.requeue) == (False, True)


@given(st.lists(st.tuples(st.sampled_from(["ack", "back", "flush"]), st.integers(1, 12)), max_size=40))
def test_each_delivery_is_settled_once_and_all_that_was_said_is_told(steps):
    """Against a broker that knows which are open, and closes the channel over one that it does not know."""
    tags, unsettled, acked, back = Tags(), set(range(1, 13)), set(), set()

    def flush() -> None:
        said = tags.flush()
        if said.up_to:
            assert said.up_to in unsettled
            unsettled.difference_update(range(1, said.up_to + 1))
        for tag in said.others:
            assert tag in unsettled
            unsettled.discard(tag)

    for step, tag in steps:
        if step == "flush":
            flush()
        elif step == "ack":
            assert tags.acknowledge(tag) == (tag not in acked | back)
            acked |= {tag} - back
        elif tags.give_back(tag):
            assert tag not in acked | back
            back.add(tag)
            unsettled.discard(tag)
    flush()
    assert unsettled == set(range(1, 13)) - acked - back
    assert tags.flush() == (0, [])


@given(st.floats(0.001, LONGEST))
def test_the_steps_of_a_delay_add_up_to_it(delay):
    """In whole seconds, rounded up; it begins at the highest step that it takes."""
    entry = Ladder(Names("app")).entry(delay, "app.mail")
    steps, rest = entry.key.split(".")[:RUNGS], entry.key.split(".")[RUNGS:]
    waits = [2 ** (RUNGS - 1 - place) for place, step in enumerate(steps) if step == "1"]
    assert delay <= sum(waits) < delay + 1
    assert entry.exchange == Names("app").rung(max(waits).bit_length() - 1)
    assert rest == ["app", "mail"]


@pytest.mark.parametrize(("failures", "longest"), [(0, 0.1), (1, 0.2), (3, 0.8), (50, LONGEST_PAUSE)])
def test_pauses_grow_and_are_drawn_evenly(failures, longest):
    """Full jitter, so that those who lost one broker do not return together."""
    drawn = [pause(failures) for _ in range(2_000)]
    assert 0 <= min(drawn) < 0.1 * longest
    assert 0.9 * longest < max(drawn) <= longest
