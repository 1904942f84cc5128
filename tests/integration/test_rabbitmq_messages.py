"""Messages on a real RabbitMQ: stored when confirmed, claimed in order, settled once, held back as long as told."""

from __future__ import annotations

import asyncio
import time

import pytest

from reinhardt_tasks.errors import QueueError, UnsupportedError
from tests.eventually import eventually_async
from tests.integration.rabbit import bodies, site, take
from tests.servers.rabbitmq import remove, shared

pytestmark = pytest.mark.xdist_group("rabbitmq")
KINDS = pytest.mark.parametrize("kind", ["classic", "quorum"])


@KINDS
async def test_what_is_confirmed_is_delivered_whole(kind):
    """Bodies of any length, none and one of several frames among them, with id, priority and headers."""
    async with site(shared(), queue_type=kind) as here:
        await here.declare("mail")
        sent = {"none": b"", "short": b"\x00\xce\x01", "long": bytes(range(256)) * 3_000}
        parcels = [here.routes.parcel("mail", body, id=name, headers={"n": len(body)}) for name, body in sent.items()]
        assert await here.publisher.publish(parcels) == [None] * 3
        async with here.consumer() as consumer:
            came = await take(consumer, 3)
            assert {one.id: one.body for one in came} == sent
            assert [(one.priority, one.headers["n"]) for one in came] == [(5, 0), (5, 3), (5, 768_000)]
            assert {consumer.queue_of(one) for one in came} == {"mail"}
            assert consumer.acknowledge(came) == 3


@KINDS
async def test_priorities_are_strict_and_equals_keep_their_order(kind):
    """9 before 8 down to 0, whatever came first; within one priority the first that came."""
    async with site(shared(), queue_type=kind) as here:
        await here.declare("mail")
        sent = [(priority, number) for number in range(3) for priority in (0, 5, 9, 1, 8, 2, 7, 3, 6, 4)]
        parcels = [here.parcel(f"{priority}.{number}", priority=priority) for priority, number in sent]
        await here.publisher.publish(parcels)
        assert await here.drained(30) == [f"{priority}.{n}" for priority in reversed(range(10)) for n in range(3)]


@KINDS
async def test_a_higher_priority_overtakes_what_was_delivered_ahead(kind):
    """What waits here, unclaimed, is no longer before it."""
    async with site(shared(), queue_type=kind) as here, here.consumer() as consumer:
        await here.put(["low 1", "low 2"], priority=2)
        await eventually_async(lambda: len(consumer) == 2)
        await here.put(["high"], priority=8)
        await eventually_async(lambda: len(consumer) == 3)
        assert bodies(consumer.claim(10)) == ["high", "low 1", "low 2"]


async def test_queues_are_served_in_the_order_of_the_list():
    """Where priorities are equal; a higher one in the last queue goes before."""
    async with site(shared()) as here:
        await here.put(["a1", "a2"], "a")
        await here.put(["b1"], "b")
        await here.put(["b9"], "b", priority=9)
        async with here.consumer("b", "a") as consumer:
            await eventually_async(lambda: len(consumer) == 4)
            assert bodies(consumer.claim(9)) == ["b9", "b1", "a1", "a2"]


async def test_no_more_is_delivered_ahead_than_was_asked_for():
    """And the next one comes when one is settled."""
    async with site(shared()) as here:
        await here.put(["1", "2", "3"])
        async with here.consumer(prefetch=2) as consumer:
            await eventually_async(lambda: len(consumer) == 2)
            first = await take(consumer, 1)
            assert len(consumer) == 1
            consumer.acknowledge(first)
            assert bodies(await take(consumer, 2)) == ["2", "3"]


async def test_what_is_settled_in_any_order_is_gone_and_the_rest_comes_again():
    """Acknowledged ones do not return; released ones stand where they stood; what nobody settled is marked."""
    async with site(shared()) as here:
        await here.put([str(number) for number in range(10)])
        async with here.consumer() as consumer:
            came = await take(consumer, 10)
            assert consumer.acknowledge(came[number] for number in (7, 0, 1, 4)) == 4
            assert consumer.release(came[number] for number in (2, 5)) == 2
            again = await take(consumer, 2)
            assert [(one.body, one.redelivered) for one in again] == [(b"2", True), (b"5", True)]
            assert consumer.acknowledge([came[3], again[0]]) == 2
        assert await here.drained(4) == ["5", "6", "8", "9"]


async def test_nothing_is_acknowledged_twice():
    """The second time it is no longer ours, and the channel stands."""
    async with site(shared()) as here, here.consumer() as consumer:
        await here.put(["1"])
        came = await take(consumer, 1)
        assert consumer.acknowledge([*came, *came]) == 1
        assert consumer.release(came) == 0
        await asyncio.sleep(0)
        assert consumer.acknowledge(came) == 0
        await here.put(["2"])
        assert [one.session for one in await take(consumer, 1)] == [came[0].session]


async def test_a_message_that_no_queue_takes_is_an_error():
    """Of that message; the others are stored."""
    async with site(shared()) as here:
        await here.declare("mail")
        faults = await here.publisher.publish([here.parcel("1"), here.parcel("2", "nowhere"), here.parcel("3")])
        assert [type(fault) for fault in faults] == [type(None), QueueError, type(None)]
        assert "has no queue for a message to the queue" in str(faults[1])
        assert await here.drained(2) == ["1", "3"]


async def test_many_at_once_are_all_confirmed_each_to_its_caller():
    """More than may be under way, from a hundred callers."""
    async with site(shared()) as here:
        await here.declare("mail")
        calls = [here.publisher.publish([here.parcel(f"{n}.{m}") for m in range(50)]) for n in range(100)]
        assert await asyncio.gather(*calls) == [[None] * 50] * 100
        assert sorted(await here.drained(5_000)) == sorted(f"{n}.{m}" for n in range(100) for m in range(50))


async def test_a_short_delay_behind_a_long_one_ends_on_time():
    """1 s behind 60 s: nothing waits for what waits longer. It arrives with its priority and its headers."""
    async with site(shared()) as here, here.consumer() as consumer:
        await here.put(["long"], delay=60)
        begun = time.monotonic()
        await here.put(["short"], delay=0.4, priority=7, headers={"kind": "late"})
        await here.put(["middle"], delay=3)
        came = await take(consumer, 1)
        waited = time.monotonic() - begun
        assert (came[0].body, came[0].priority, came[0].headers["kind"]) == (b"short", 7, "late")
        assert 1.0 <= waited < 2.5
        assert bodies(await take(consumer, 1)) == ["middle"]
        assert 3.0 <= time.monotonic() - begun < 5.5


async def test_a_delay_on_quorum_queues_ends_in_the_queue_of_its_priority():
    """Each priority is a queue of its own there."""
    async with site(shared(), queue_type="quorum") as here, here.consumer() as consumer:
        await here.put(["1"], delay=1, priority=3)
        await here.put(["2"], delay=1, priority=4)
        await eventually_async(lambda: len(consumer) == 2)
        assert bodies(consumer.claim(2)) == ["2", "1"]


async def test_a_delay_of_a_year_is_taken_and_a_longer_one_than_the_ladder_refused():
    """388 days are the most; the error says so."""
    async with site(shared()) as here:
        assert await here.put(["year"], delay=366 * 86_400) == [None]
        with pytest.raises(UnsupportedError, match=r"rabbitmq .*a delay of 34560000 s.*388 days"):
            await here.put(["more"], delay=400 * 86_400)


async def test_a_delay_reaches_its_own_queue_and_none_that_is_called_alike():
    """A name that ends like another's, with dots between, is another name."""
    async with site(shared()) as here:
        prefix = here.config.queue_name
        async with here.consumer("mail", f"{prefix}.mail", "x.mail") as consumer:
            await here.put(["late"], f"{prefix}.mail", delay=1)
            came = await take(consumer, 1)
            assert consumer.queue_of(came[0]) == f"{prefix}.mail"
            assert not await consumer.wait(0.3)


async def test_a_queue_that_was_deleted_is_declared_again_once_that_is_known():
    """`forget` is for whoever was told that there is no such queue."""
    async with site(shared()) as here:
        await here.put(["1"])
        remove(here.config.uri, queues=[here.config.names.queue("mail")])
        assert isinstance((await here.put(["2"]))[0], QueueError)
        here.topology.forget()
        assert await here.put(["3"]) == [None]
        assert await here.drained(1) == ["3"]
