"""Taking messages from queues: what is delivered ahead waits here until it is claimed, then until it is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from reinhardt_tasks.backends.rabbitmq import frames
from reinhardt_tasks.backends.rabbitmq.frames import Delivery
from reinhardt_tasks.backends.rabbitmq.levels import Shelf
from reinhardt_tasks.backends.rabbitmq.link import Link
from reinhardt_tasks.backends.rabbitmq.place import Place
from reinhardt_tasks.backends.rabbitmq.tags import Tags
from reinhardt_tasks.backends.rabbitmq.topology import Topology, connected
from reinhardt_tasks.backends.rabbitmq.wire import Began, Ended, Event, Ready, Session, Terms


class Consumer:
    """Serves `queues`, between `open` and `close`; the broker delivers up to `prefetch` of each queue of its ahead.

    A delivery belongs to the session that brought it. When that is over the broker hands the message out again, and
    what is said of the old delivery is dropped. That one acknowledged is forgotten by the broker is nowhere confirmed:
    whoever acknowledges has stored before what must not be lost.
    """

    def __init__(self, topology: Topology, queues: Sequence[str], *, prefetch: int) -> None:
        self._topology = topology
        self._queues = list(dict.fromkeys(queues))
        self._lines = {one.name.encode(): queue for queue in self._queues for one in topology.routes.lines(queue)}
        terms = Terms(topology.place.timeout, tuple(name.decode() for name in self._lines), prefetch)
        self._link = Link(topology.place, self, terms, name="reinhardt-tasks consumes")
        self._shelf = Shelf(self._queues)
        self._session: Session | None = None
        self._channel = 0
        self._tags = Tags()
        self._given_back: list[int] = []
        self._flushing = False
        self._ready = False
        self._arrived = asyncio.Event()

    async def open(self) -> None:
        """Connect, declare the queues, and ask for messages. Raises ConfigurationError or BackendError."""
        await self._link.open()

    async def close(self) -> None:
        """Say what is left to be said, and let go of the connection: what was not settled goes back to its queue."""
        self._flush()
        await self._link.close()

    @property
    def consuming(self) -> bool:
        """Whether each of the queues delivers now."""
        return self._ready

    def __len__(self) -> int:
        """How many messages are there to be claimed."""
        return len(self._shelf)

    def queue_of(self, delivery: Delivery) -> str:
        """The queue whose message it is."""
        return self._lines[delivery.consumer]

    # The verbs --------------------------------------------------------------------------------------------------------

    def claim(self, want: int) -> list[Delivery]:
        """The next messages, `want` at most: by priority, then in the order of the queues, then in theirs."""
        self._link.check_home()
        return self._shelf.take(want)

    def acknowledge(self, deliveries: Iterable[Delivery]) -> int:
        """Let the broker forget these; how many still were ours to settle.

        What is said in one turn of the event loop leaves together.
        """
        return self._settle(deliveries, self._tags.acknowledge)

    def release(self, deliveries: Iterable[Delivery]) -> int:
        """Have these go back to where they stood in their queues; how many still were ours."""

        def give_back(tag: int) -> bool:
            ours = self._tags.give_back(tag)
            if ours:
                self._given_back.append(tag)
            return ours

        return self._settle(deliveries, give_back)

    def _settle(self, deliveries: Iterable[Delivery], settle: Callable[[int], bool]) -> int:
        if self._session is None:
            return 0
        now = self._session.number
        ours = sum(settle(one.tag) for one in deliveries if one.session == now)
        if ours and not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        return ours

    async def wait(self, timeout: float) -> bool:
        """Wait for something to claim, `timeout` seconds at most; whether there is."""
        self._link.check_home()
        try:
            async with asyncio.timeout(timeout):
                while not self._shelf:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _flush(self) -> None:
        self._flushing = False
        if self._session is None:
            return
        pieces = [frames.given_back(self._channel, tag) for tag in self._given_back]
        self._given_back.clear()
        acks = self._tags.flush()
        if acks.up_to:
            pieces.append(frames.acknowledged(self._channel, acks.up_to, multiple=True))
        pieces += [frames.acknowledged(self._channel, tag, multiple=False) for tag in acks.others]
        if pieces:
            self._session.emit(b"".join(pieces))

    # What the link tells ----------------------------------------------------------------------------------------------

    def prepare(self, place: Place) -> None:
        """Declare the queues: they may have been deleted."""
        with connected(place) as declarer:
            self._topology.declare(declarer, self._queues)

    def hear(self, session: Session, events: list[Event]) -> None:
        """See Lane."""
        for event in events:
            if isinstance(event, Delivery):
                self._shelf.add(self._lines[event.consumer], event)
            elif isinstance(event, Began):
                self._session, self._channel, self._tags = session, event.channel, Tags()
                self._given_back.clear()
            elif isinstance(event, Ready):
                self._ready = True
            elif isinstance(event, Ended):
                self._session, self._ready = None, False
                self._shelf.clear()
        if self._shelf:
            self._arrived.set()
