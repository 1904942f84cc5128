"""Messages on their way to the backend: through the middleware, alone or in batches, inside a transaction or not."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from reinhardt_tasks.coalesce import Gathering, Send
from reinhardt_tasks.connections import Connections
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.message import AnyMessage, Guard, Put
from reinhardt_tasks.middleware import Middleware, Next
from reinhardt_tasks.names import OWN_QUEUE


class Sender:
    """Stores messages. Single ones coalesce, unless `alone`, which is for a backend that runs what it stores."""

    def __init__(self, connections: Connections, middleware: Sequence[Middleware], *, alone: bool = False) -> None:
        self.connections = connections
        self._alone = alone
        self._layers = [layer for layer in middleware if type(layer).on_enqueue is not Middleware.on_enqueue]

    async def one(self, message: AnyMessage, transaction: object = None) -> Put:
        """Store one message, inside the caller's own `transaction` where one is given."""
        connection = self.connections.ready() or await self.connections.connection()
        if transaction is None and not self._alone:
            store: Callable[[AnyMessage], Awaitable[Put]] = connection.coalescer.put
        else:
            store = functools.partial(_alone, functools.partial(connection.backend.put, connection=transaction))
        return await self._wrapped(message, store) if self._layers else await store(message)

    async def guarded(self, message: AnyMessage, guard: Guard) -> Put:
        """Store one message if the guard lets it pass; see `TaskBackend.put`."""
        connection = self.connections.ready() or await self.connections.connection()
        store = functools.partial(_alone, functools.partial(connection.backend.put, guard=guard))
        return await self._wrapped(message, store) if self._layers else await store(message)

    async def many(self, messages: Sequence[AnyMessage], transaction: object = None) -> list[Put]:
        """Store at most 500 messages in one round trip, all or none."""
        connection = self.connections.ready() or await self.connections.connection()
        store: Send = functools.partial(connection.backend.put, connection=transaction)
        return await (self._gathered(messages, store) if self._layers else store(messages))

    async def _gathered(self, messages: Sequence[AnyMessage], store: Send) -> list[Put]:
        """Each message through the middleware by itself, all of them stored at once. The first refusal stops all."""
        gathering = Gathering(store, len(messages))
        try:
            async with asyncio.TaskGroup() as group:
                ways = [
                    group.create_task(self._way(message, functools.partial(gathering.put, number)))
                    for number, message in enumerate(messages)
                ]
        except BaseExceptionGroup as refusals:
            raise refusals.exceptions[0] from None
        return [way.result() for way in ways]

    def _way(self, message: AnyMessage, store: Callable[[AnyMessage], Awaitable[Put]]) -> Coroutine[Any, Any, Put]:
        """How a message is stored: what only holds a workflow together is none of the middleware's business."""
        return _direct(message, store) if message.queue == OWN_QUEUE else self._wrapped(message, store)

    async def _wrapped(self, message: AnyMessage, store: Callable[[AnyMessage], Awaitable[Put]]) -> Put:
        """`store` inside the middleware, the first one outermost. Raises QueueError if one kept the message back."""
        puts: list[Put] = []
        step = _once(message, store, puts)
        for layer in reversed(self._layers):
            step = functools.partial(layer.on_enqueue, message, step)
        await step()
        if not puts:
            raise QueueError(
                f"message {message.id} of task {message.name} was not stored: a middleware returned without call_next"
            )
        return puts[0]


def _once(message: AnyMessage, store: Callable[[AnyMessage], Awaitable[Put]], puts: list[Put]) -> Next:
    """The innermost step; a middleware that takes it a second time is told."""
    taken = False

    async def step() -> None:
        nonlocal taken
        if taken:
            raise QueueError(f"a middleware called call_next twice for message {message.id}; call it once")
        taken = True
        puts.append(await store(message))

    return step


async def _direct(message: AnyMessage, store: Callable[[AnyMessage], Awaitable[Put]]) -> Put:
    return await store(message)


async def _alone(store: Send, message: AnyMessage) -> Put:
    return (await store((message,)))[0]
