"""Group commit: single enqueues that arrive while a round trip is under way leave together in the next."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import BackendUnavailableError, TaskError
from reinhardt_tasks.message import AnyMessage, Put

Send = Callable[[Sequence[AnyMessage]], Awaitable[list[Put]]]
"""One round trip: stores all the messages or none."""
Waiting = tuple[AnyMessage, asyncio.Future[Put]]
_COMPANY: Final = 16
"""Messages that are worth a round trip beside one that is under way; fewer wait for the next."""


class Coalescer:
    """Carries single messages in order, at most 500 a round trip, `trips` of them at a time. For one event loop.

    A message that finds nothing under way goes at once, with those of the same turn of the loop. With two trips, many
    that leave together leave in two halves: while the backend works on the one, this process reads the answer to the
    other and makes its callers' next messages. What leaves first is sent first; only the halves of a trip that failed
    may come behind what left after it.

    Each caller gets its own acknowledgement and its own error: when a trip fails for any reason but an unreachable
    backend, its halves are tried apart, down to the message at fault. A caller that is cancelled stops waiting: its
    message stays back, or, if it has left already, arrives all the same.
    """

    def __init__(self, send: Send, *, trips: int = 1) -> None:
        self._send = send
        self._most = trips
        self._trips = 0
        self._waiting: list[Waiting] = []
        self._leaving = False
        self._carriers: set[asyncio.Task[None]] = set()  # kept, as the loop itself holds tasks only weakly
        self._settling: list[asyncio.Future[None]] = []

    async def put(self, message: AnyMessage) -> Put:
        """Store one message. Raises what its storing raised."""
        if self._trips or self._leaving:
            if self._trips < self._most:
                self._leave_soon()
            return await self._join(message)
        self._trips = 1
        try:
            await asyncio.sleep(0)  # whoever enqueues in the same turn of the loop comes along
            if not self._waiting:
                return (await self._send((message,)))[0]
            mine = self._join(message, first=True)
        finally:
            self._trips -= 1
            self._leave()
        return await mine

    def _join(self, message: AnyMessage, *, first: bool = False) -> asyncio.Future[Put]:
        future: asyncio.Future[Put] = asyncio.get_running_loop().create_future()
        self._waiting.insert(0 if first else len(self._waiting), (message, future))
        return future

    def _leave_soon(self) -> None:
        """After this turn of the loop, so that all who enqueue in it leave together."""
        if not self._leaving:
            self._leaving = True
            asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        """Let those who wait leave, in as many trips as there may be; each is a task, which no caller can cancel."""
        self._leaving = False
        while self._waiting and self._trips < self._most:
            if self._trips and len(self._waiting) < _COMPANY:
                break
            size = self._size()
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            self._trips += 1
            carrier = asyncio.create_task(self._carry(batch))
            self._carriers.add(carrier)
            carrier.add_done_callback(self._carriers.discard)
        if not self._trips:
            self._rest()

    def _size(self) -> int:
        """How many leave now: an even share of the trips that are free, where that is company enough."""
        waiting = len(self._waiting)
        share = waiting // (self._most - self._trips)
        return min(MAX_BATCH, share if share >= _COMPANY else waiting)

    def _rest(self) -> None:
        """Nothing is under way any more."""
        for future in self._settling:
            if not future.done():
                future.set_result(None)
        self._settling.clear()

    async def _carry(self, batch: list[Waiting]) -> None:
        """One trip; then whoever has come meanwhile leaves, with those whom it brought their answers."""
        try:
            await self._trip([waiting for waiting in batch if not waiting[1].done()])
        except BaseException:  # only when the loop is shutting down
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()
            raise
        finally:
            self._trips -= 1
            self._leave_soon()

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
        while self._trips or self._leaving:
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
