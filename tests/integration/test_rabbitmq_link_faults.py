"""What breaks under a link to a real RabbitMQ: it is said, nothing that was stored is lost, and it heals."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from reinhardt_tasks.backends.rabbitmq.config import DeliveryMode, RabbitMQConfig
from reinhardt_tasks.backends.rabbitmq.consumer import Consumer
from reinhardt_tasks.backends.rabbitmq.publisher import Publisher
from reinhardt_tasks.errors import BackendError, BackendFullError, BackendUnavailableError
from tests.eventually import eventually_async
from tests.integration.rabbit import Site, bodies, site, take
from tests.servers.process import free_port
from tests.servers.rabbitmq import own, remove

pytestmark = pytest.mark.xdist_group("rabbitmq")
HEALED = 10.0
"""Seconds after the broker's return in which everything works again."""


@contextlib.asynccontextmanager
async def stuffed(here: Site) -> AsyncIterator[list[str]]:
    """The ids of what was confirmed while one message after another is published inside, whatever breaks."""
    confirmed: list[str] = []

    async def publish() -> None:
        for number in range(1_000_000):
            [fault] = await here.publisher.publish([here.parcel(f"{number}")])
            assert isinstance(fault, BackendUnavailableError | None)
            if fault is None:
                confirmed.append(f"{number}")

    task = asyncio.create_task(publish())
    try:
        yield confirmed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def all_of(consumer: Consumer, wanted: list[str]) -> set[str]:
    """What came, acknowledged, when all of `wanted` had come."""
    came: set[str] = set()
    while not came >= set(wanted):
        assert await consumer.wait(20), f"{len(set(wanted) - came)} of {len(wanted)} are lost"
        taken = consumer.claim(100)
        consumer.acknowledge(taken)
        came.update(bodies(taken))
    return came


@contextlib.asynccontextmanager
async def under_load(kind: str) -> AsyncIterator[tuple[Consumer, list[str]]]:
    """A consumer of queues of this kind, and the ids of what has been confirmed."""
    async with site(own(), queue_type=kind) as here, here.consumer() as consumer, stuffed(here) as confirmed:
        await eventually_async(lambda: len(confirmed) >= 50)
        yield consumer, confirmed


async def test_a_killed_node_loses_nothing_that_was_confirmed():
    """Publishers and consumers are back within 10 s of its return, by themselves; what came before is not theirs."""
    server = own()
    async with under_load("classic") as classic, under_load("quorum") as quorum:
        old = [await take(consumer, 5) for consumer, _ in (classic, quorum)]
        await asyncio.to_thread(server.remember_leaders)
        await asyncio.to_thread(server.kill)
        for consumer, _ in (classic, quorum):
            await eventually_async(lambda consumer=consumer: not consumer.consuming)
        await asyncio.to_thread(server.start)
        returned = time.monotonic()
        for (consumer, confirmed), taken in zip((classic, quorum), old, strict=True):
            before = len(confirmed)
            await eventually_async(lambda c=consumer, n=before, ids=confirmed: c.consuming and len(ids) > n)
            assert time.monotonic() - returned < HEALED
            assert consumer.acknowledge(taken) == 0
            await all_of(consumer, list(confirmed))


async def test_a_restart_keeps_what_is_persistent_and_loses_what_is_transient():
    """Which is what the delivery mode is for."""
    server = own()
    async with (
        site(server) as persistent,
        site(server, delivery_mode=DeliveryMode.TRANSIENT) as transient,
    ):
        assert await persistent.put(["kept"]) == await transient.put(["lost"]) == [None]
        await persistent.put(["kept too"], delay=1)
        await asyncio.to_thread(server.restart)
        assert await persistent.drained(2) in (["kept", "kept too"], ["kept too", "kept"])
        async with transient.consumer() as consumer:
            assert not await consumer.wait(0.3)


async def test_a_memory_alarm_is_an_error_of_whoever_publishes_and_lets_running_work_end():
    """No call hangs; what was claimed can be settled meanwhile; all goes on when the alarm is over."""
    server = own()
    async with site(server) as here, here.consumer(prefetch=1) as consumer:
        await here.put(["1", "2"])
        first = await take(consumer, 1)
        server.control("set_vm_memory_high_watermark", "0.0001")
        try:
            begun = time.monotonic()
            for name in ("3", "4"):
                [fault] = await here.put([name])
                assert isinstance(fault, BackendFullError)
                assert "takes nothing new" in str(fault)
            assert time.monotonic() - begun < 4
            consumer.acknowledge(first)
            assert bodies(await take(consumer, 1)) == ["2"]
        finally:
            server.control("set_vm_memory_high_watermark", "0.4")
        await eventually_async(lambda: not here.publisher.blocked, timeout=HEALED)
        assert await here.put(["5"]) == [None]


async def test_a_consumer_whose_queue_is_deleted_declares_it_again():
    """And goes on with what comes then."""
    async with site(own()) as here, here.consumer() as consumer:
        await here.put(["1"])
        await take(consumer, 1)
        remove(here.config.uri, queues=[here.config.names.queue("mail")])
        await eventually_async(lambda: not consumer.consuming)
        await eventually_async(lambda: consumer.consuming, timeout=HEALED)
        assert await here.put(["2"]) == [None]
        assert bodies(await take(consumer, 1)) == ["2"]


async def test_closed_connections_are_made_anew():
    """`close_all_connections`, as an operator does it: what was not settled is delivered again."""
    server = own()
    async with site(server) as here, here.consumer() as consumer:
        await here.put(["1"])
        old = await take(consumer, 1)
        server.control("close_all_connections", "for a test")
        again = await take(consumer, 1, timeout=HEALED)
        assert (again[0].body, again[0].redelivered, again[0].session > old[0].session) == (b"1", True, True)
        assert (consumer.acknowledge(old), consumer.acknowledge(again)) == (0, 1)
        assert await here.put(["2"]) == [None]


async def test_heartbeats_go_on_while_the_event_loop_is_blocked():
    """A task that computes for longer than the broker waits does not cost the connection."""
    async with site(own()) as here:
        config = RabbitMQConfig(uri=own().url(heartbeat=1), queue_name=here.config.queue_name)
        patient = Site(own(), config=config)
        async with patient.consumer() as consumer:
            await here.put(["1"])
            claimed = await take(consumer, 1)
            ends = time.monotonic() + 3.5  # the broker gives up after two heartbeats
            while time.monotonic() < ends:
                sum(range(10_000))
            await here.put(["2"])
            assert [one.session for one in await take(consumer, 1)] == [claimed[0].session]
            assert consumer.acknowledge(claimed) == 1


async def test_a_server_that_is_not_there_is_said_at_once():
    """When a backend is opened; not by a caller that waits forever."""
    publisher = Publisher(RabbitMQConfig(uri=f"amqp://127.0.0.1:{free_port()}").place)
    with pytest.raises(BackendUnavailableError, match=r"cannot be reached: .*refused.*Check that it runs"):
        await publisher.open()


async def test_a_server_that_does_not_answer_is_given_up_after_the_timeout():
    """One that accepts messages and says nothing: its line is frozen."""
    async with site(own()) as here:
        config = RabbitMQConfig(uri=own().url(timeout=0.5), queue_name=here.config.queue_name)
        hasty = Site(own(), config=config)
        await hasty.declare("mail")
        await hasty.publisher.open()
        try:
            own().pause()
            begun = time.monotonic()
            [fault] = await hasty.publisher.publish([hasty.parcel("1")])
            assert isinstance(fault, BackendUnavailableError)
            assert time.monotonic() - begun < 3
        finally:
            own().unpause()
            await hasty.publisher.close()


async def test_a_closed_publisher_and_one_of_another_loop_say_so():
    """Nobody waits for a confirm that cannot come."""
    async with site(own()) as here:
        await here.declare("mail")
        await here.publisher.close()
        with pytest.raises(BackendError, match="is not open in this process and event loop"):
            await here.put(["1"])
