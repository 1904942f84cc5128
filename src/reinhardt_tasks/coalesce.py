"""Group commit: single enqueues that arrive while a round trip is under way leave together in the next."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import BackendUnavailableError, TaskError
from reinhardt_tasks.message import AnyMessage, Put

Send = Callable[[Sequence[AnyMessage]], Awaitable[list[Put]]]
"""One round trip: stores all the messages or none."""
Waiting = tuple[AnyMessage, asyncio.Future[Put]]


class Coalescer:
    """Carries single messages in order, one round trip at a time, at most 500 a trip. For one event loop.

    A message that finds nothing under way goes at once, with those of the same turn of the loop. Each caller gets its
    own acknowledgement and its own error: when a trip fails for any reason but an unreachable backend, its halves are
    tried apart, down to the message at fault. A caller that is cancelled stops waiting: its message stays back, or,
    if it has left already, arrives all the same.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[Waiting] = []
        self._under_way = False
        self._carrier: asyncio.Task[None] | None = None  # kept, as the loop itself holds tasks only weakly
        self._settling: list[asyncio.Future[None]] = []

    async def put(self, message: AnyMessage) -> Put:
        """Store one message. Raises what its storing raised."""
        if self._under_way:
            return await self._join(message)
        self._under_way = True
        try:
            await asyncio.sleep(0)  # whoever enqueues in the same turn of the loop comes along
            if not self._waiting:
                return (await self._send((message,)))[0]
            mine = self._join(message, first=True)
        finally:
            self._go_on()
        return await mine

    def _join(self, message: AnyMessage, *, first: bool = False) -> asyncio.Future[Put]:
        future: asyncio.Future[Put] = asyncio.get_running_loop().create_future()
        self._waiting.insert(0 if first else len(self._waiting), (message, future))
        return future

    def _go_on(self) -> None:
        """After a lone trip: whoever came meanwhile is carried by a task, which no caller can cancel."""
        if self._waiting:
            self._carrier = asyncio.create_task(self._carry())
        else:
            self._rest()

    def _rest(self) -> None:
        """Nothing is under way any more."""
        self._under_way = False
        for future in self._settling:
            if not future.done():
                future.set_result(None)
        self._settling.clear()

    async def _carry(self) -> None:
        """Trip after trip until nobody is waiting."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._trip([waiting for waiting in batch if not waiting[1].done()])
        finally:
            for _, future in self._waiting:  # only when the loop is shutting down
                future.cancel()
            self._waiting.clear()
            self._rest()

    async def _trip(self, batch: list[Waiting]) -> None:
        """Store a batch and tell each caller; where it fails, its halves apart."""
        if not batch:
            return
        try:
            puts = await self._send([message for message, _ in batch])
        except BackendUnavailableError as error:
            _refuse(batch, error)
        except Exception as error:  # noqa: BLE001 - it belongs to a caller, who gets it
            if len(batch) == 1:
                _refuse(batch, error)
                return
            middle = len(batch) // 2
            await self._trip(batch[:middle])
            await self._trip(batch[middle:])
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        else:
            for (_, future), put in zip(batch, puts, strict=True):
                if not future.done():
                    future.set_result(put)

    async def settled(self) -> None:
        """Return when nothing is under way; for the close of the queue."""
        while self._under_way:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append(future)
            await future


def _refuse(batch: list[Waiting], error: Exception) -> None:
    """Give each caller the error; a copy of its own where there are several, as each will add its own traceback."""
    for _, future in batch:
        if not future.done():
            future.set_exception(copy.copy(error) if len(batch) > 1 and isinstance(error, TaskError) else error)


class Gathering:
    """One round trip for `expected` messages that each come by a coroutine of their own, such as through middleware.

    It leaves when the last one has arrived, in the order of their numbers. One that does not arrive is for the caller
    to notice: it cancels the others, and nothing is sent.
    """

    def __init__(self, send: Send, expected: int) -> None:
        self._send = send
        self._expected = expected
        self._arrived: dict[int, AnyMessage] = {}
        self._puts: asyncio.Future[list[Put]] = asyncio.get_running_loop().create_future()

    async def put(self, number: int, message: AnyMessage) -> Put:
        """Arrive as `number` (from 0), and return what became of the message once all have left."""
        self._arrived[number] = message
        if len(self._arrived) == self._expected:
            self._puts.set_result(await self._send([self._arrived[index] for index in range(self._expected)]))
        return (await self._puts)[number]
