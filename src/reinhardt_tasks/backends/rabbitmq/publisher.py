"""Publishing with confirms, many under way at once: each message is stored, or has an error that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from reinhardt_tasks.backends.rabbitmq import faults, frames
from reinhardt_tasks.backends.rabbitmq.frames import Parcel
from reinhardt_tasks.backends.rabbitmq.link import Link
from reinhardt_tasks.backends.rabbitmq.place import Place
from reinhardt_tasks.backends.rabbitmq.wire import (
    Began,
    Blocked,
    Confirm,
    Ended,
    Event,
    Ready,
    Returned,
    Session,
    Terms,
)
from reinhardt_tasks.errors import TaskError

_AT_ONCE: Final = 500
"""Messages that are packed without letting others go on."""
_UNDER_WAY: Final = 2_000
"""Messages that may await their confirms."""
_GRACE: Final = 0.2
"""Seconds that confirms already on their way have to arrive after the broker said that it takes nothing new."""


class _Batch:
    """Messages published by one call, and what came of each."""

    def __init__(self, parcels: Sequence[Parcel]) -> None:
        self.parcels = parcels
        self.faults: list[TaskError | None] = [None] * len(parcels)
        self._open = set(range(len(parcels)))
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, fault: TaskError | None) -> None:
        """Say what came of one. What came first counts."""
        if index in self._open:
            self._open.discard(index)
            self.faults[index] = fault
            if not self._open and not self.over.done():
                self.over.set_result(None)

    def give_up(self, fault: TaskError) -> None:
        """Say so of all that are still open."""
        for index in list(self._open):
            self.settle(index, fault)


class Publisher:
    """The one that publishes at `place`, between `open` and `close`.

    A message that is not confirmed within the place's timeout counts as lost on the way.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._link = Link(place, self, Terms(place.timeout), name="reinhardt-tasks publishes")
        self._session: Session | None = None
        self._began = Began(0, 0)
        self._next = 1
        self._pending: dict[int, tuple[_Batch, int]] = {}
        self._returned: dict[str, TaskError] = {}
        self._blocked: str | None = None
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Connect. Raises ConfigurationError or BackendError."""
        await self._link.open()

    async def close(self) -> None:
        """Let go of the connection; whoever waits for a confirm is told that none will come."""
        await self._link.close()
        self._lost("the backend was closed")

    @property
    def blocked(self) -> bool:
        """Whether the broker takes nothing new now."""
        return self._blocked is not None

    async def publish(self, parcels: Sequence[Parcel]) -> list[TaskError | None]:
        """Publish these, in their order, and wait for the confirms: None for each that is stored, or why it is not.

        That is a QueueError where no queue takes it, BackendFullError where the broker takes nothing, and
        BackendUnavailableError where it did not answer in time; after the last two it may still be stored.
        """
        self._link.check_home()
        batch = _Batch(parcels)
        try:
            async with asyncio.timeout(self._place.timeout) as limit:
                for start in range(0, len(parcels), _AT_ONCE):
                    await self._room(batch)
                    limit.reschedule(asyncio.get_running_loop().time() + self._place.timeout)
                    self._send(batch, range(start, min(start + _AT_ONCE, len(parcels))))
                if parcels:
                    await batch.over
        except TimeoutError:
            batch.give_up(faults.unavailable(str(self._place), f"no answer within {self._place.timeout:g} s"))
        return batch.faults

    async def _room(self, batch: _Batch) -> None:
        """Wait until there is a session, and few enough under way. A blocked broker is not waited for."""
        while self._session is None or len(self._pending) >= _UNDER_WAY:
            if self._refused(batch):
                return
            self._changed.clear()
            await self._changed.wait()

    def _refused(self, batch: _Batch) -> bool:
        if self._blocked is not None:
            batch.give_up(faults.blocked(str(self._place), self._blocked))
        return self._blocked is not None

    def _send(self, batch: _Batch, indexes: range) -> None:
        if self._refused(batch) or self._session is None:
            return
        channel, largest = self._began
        pieces = []
        for index in indexes:
            pieces.append(frames.published(channel, batch.parcels[index], largest))
            self._pending[self._next] = (batch, index)
            self._next += 1
        self._session.emit(b"".join(pieces))

    # What the link tells ----------------------------------------------------------------------------------------------

    def prepare(self, place: Place) -> None:
        """Nothing has to be there before one may publish."""

    def hear(self, session: Session, events: list[Event]) -> None:
        """See Lane."""
        for event in events:
            if isinstance(event, Confirm):
                self._confirmed(event)
            elif isinstance(event, Returned):
                fault = faults.unroutable(str(self._place), event.exchange, event.key)
                self._returned[event.id] = fault
            elif isinstance(event, Began):
                self._began, self._next = event, 1
            elif isinstance(event, Ready):
                self._session = session
            elif isinstance(event, Blocked):
                self._block(event.reason)
            elif isinstance(event, Ended):
                self._session, self._blocked = None, None
                self._lost(str(faults.said_by(event.error)))
        self._changed.set()

    def _confirmed(self, confirm: Confirm) -> None:
        for tag in list(self._answered(confirm)):
            batch, index = self._pending.pop(tag)
            parcel = batch.parcels[index]
            fault = self._returned.pop(parcel.id, None) if self._returned else None
            if not confirm.stored:
                fault = faults.refused(str(self._place), parcel.key)
            batch.settle(index, fault)

    def _answered(self, confirm: Confirm) -> Iterator[int]:
        """The numbers that a confirm stands for. They are pending in their order."""
        if not confirm.multiple:
            yield from (tag for tag in (confirm.tag,) if tag in self._pending)
            return
        for tag in self._pending:
            if tag > confirm.tag:
                return
            yield tag

    def _block(self, reason: str | None) -> None:
        self._blocked = reason
        if reason is not None:
            asyncio.get_running_loop().call_later(_GRACE, self._give_up_if_blocked)

    def _give_up_if_blocked(self) -> None:
        if self._blocked is not None:
            fault = faults.blocked(str(self._place), self._blocked)
            for batch, index in list(self._pending.values()):
                batch.settle(index, fault)

    def _lost(self, why: str) -> None:
        """Of all that was under way nobody knows what became."""
        pending, self._pending = self._pending, {}
        self._returned.clear()
        for batch, index in pending.values():
            batch.settle(index, faults.unavailable(str(self._place), why))
