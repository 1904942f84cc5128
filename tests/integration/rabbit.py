"""What tests of RabbitMQ's lower floor work with: queues of a name of their own, published to and consumed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from reinhardt_tasks.backends.rabbitmq.config import RabbitMQConfig
from reinhardt_tasks.backends.rabbitmq.consumer import Consumer
from reinhardt_tasks.backends.rabbitmq.frames import Delivery, Parcel
from reinhardt_tasks.backends.rabbitmq.ladder import RUNGS
from reinhardt_tasks.backends.rabbitmq.publisher import Publisher
from reinhardt_tasks.backends.rabbitmq.routes import Routes
from reinhardt_tasks.backends.rabbitmq.topology import Topology
from reinhardt_tasks.errors import TaskError
from tests.servers.rabbitmq import SharedRabbit, fresh_name, remove


class Site:
    """The queues of one configuration on a server."""

    def __init__(self, server: SharedRabbit, *, config: RabbitMQConfig | None = None, **settings: Any) -> None:
        self.config = config or RabbitMQConfig(uri=server.url(), queue_name=fresh_name(), **settings)
        self.routes = Routes(self.config)
        self.topology = Topology(self.routes)
        self.publisher = Publisher(self.config.place)
        self.queues: set[str] = set()

    async def put(self, bodies: Iterable[str], queue: str = "mail", **options: Any) -> list[TaskError | None]:
        """Publish a message for each of `bodies`, which is its id as well."""
        await self.declare(queue, delay=options.get("delay", 0.0))
        return await self.publisher.publish([self.parcel(body, queue, **options) for body in bodies])

    def parcel(self, body: str, queue: str = "mail", **options: Any) -> Parcel:
        """A message whose body is its id."""
        return self.routes.parcel(queue, body.encode(), id=body, **options)

    async def declare(self, *queues: str, delay: float = 0.0) -> None:
        """See that these queues are there."""
        self.queues.update(queues)
        await self.topology.ensure(queues, delay=delay)

    @contextlib.asynccontextmanager
    async def consumer(self, *queues: str, prefetch: int = 100) -> AsyncIterator[Consumer]:
        """One that serves these queues inside."""
        self.queues.update(queues or ("mail",))
        consumer = Consumer(self.topology, queues or ("mail",), prefetch=prefetch)
        await consumer.open()
        try:
            yield consumer
        finally:
            await consumer.close()

    async def drained(self, count: int, *queues: str) -> list[str]:
        """The bodies of the next `count` messages, acknowledged."""
        async with self.consumer(*queues, prefetch=count) as consumer:
            taken = await take(consumer, count)
            consumer.acknowledge(taken)
        return [one.body.decode() for one in taken]

    def clear(self) -> None:
        """Leave nothing on the server."""
        names = self.config.names
        lines = [one.name for queue in self.queues for one in (*self.routes.lines(queue), *self.routes.refused(queue))]
        rungs = [names.rung(power) for power in range(RUNGS)]
        own = [name for name in (self.config.exchange,) if name and not name.startswith("amq.")]
        remove(self.config.uri, queues=[*lines, *rungs], exchanges=[*rungs, names.due, *own])


@contextlib.asynccontextmanager
async def site(server: SharedRabbit, **settings: Any) -> AsyncIterator[Site]:
    """One with an open publisher, that is gone after."""
    made = Site(server, **settings)
    await made.publisher.open()
    try:
        yield made
    finally:
        await made.publisher.close()
        made.clear()


async def take(consumer: Consumer, count: int, *, timeout: float = 20.0) -> list[Delivery]:
    """The next `count` deliveries, in the order in which they are claimed one by one."""
    taken: list[Delivery] = []
    while len(taken) < count:
        assert await consumer.wait(timeout), f"{len(taken)} of {count} came: {bodies(taken)[-5:]}"
        taken += consumer.claim(1)
    return taken


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    """Their bodies, as text."""
    return [one.body.decode() for one in deliveries]
