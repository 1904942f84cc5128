"""Group commit: single enqueues that arrive while a round trip is under way leave together in the next."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.coalesce import Coalescer, Gathering
from reinhardt_tasks.errors import BackendFullError, BackendUnavailableError, UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Message, Put


def message(name: str = "app.send") -> AnyMessage:
    """A message of the task `name`."""
    return Message(id=TaskId.new(), name=name, body=b"")


class Trips:
    """A far end whose trips wait for a signal. A batch with a message called `bad` fails, as all do while `down`."""

    def __init__(self) -> None:
        self.batches: list[list[AnyMessage]] = []
        self.down: Exception | None = None
        self.gate = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)

    async def send(self, batch: Sequence[AnyMessage]) -> list[Put]:
        self.batches.append(list(batch))
        self.begun.release()
        await self.gate.acquire()
        if self.down is not None:
            raise self.down
        if any(one.name == "bad" for one in batch):
            raise UnsupportedError(option="unique_key", backend="far", instead="another")
        return [Put(one.id, created=True) for one in batch]

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


async def started(coalescer: Coalescer, messages: Sequence[AnyMessage]) -> list[asyncio.Task[Put]]:
    """One caller for each message: the first one's has left, unless something was under way, the others wait."""
    callers = []
    for one in messages[:1], messages[1:]:
        callers += [asyncio.create_task(coalescer.put(message)) for message in one]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return callers


async def test_those_of_one_turn_of_the_loop_leave_together() -> None:
    """A hundred that enqueue at once need one round trip, and keep their order."""
    far = Trips()
    coalescer = Coalescer(far.send)
    messages = [message() for _ in range(100)]
    far.gate.release()
    puts = await asyncio.gather(*map(coalescer.put, messages))
    assert far.batches == [messages]
    assert [put.id for put in puts] == [one.id for one in messages]


async def test_a_first_caller_that_is_cancelled_in_its_turn_sends_nothing() -> None:
    """The others of that turn leave without it, and the way is free again afterwards."""
    far = Trips()
    coalescer = Coalescer(far.send)
    messages = [message() for _ in range(3)]
    callers = [asyncio.create_task(coalescer.put(one)) for one in messages]
    await asyncio.sleep(0)
    callers[0].cancel()
    far.gate.release()
    await asyncio.gather(*callers[1:])
    assert far.batches == [messages[1:]]
    assert callers[0].cancelled()
    far.gate.release()
    await coalescer.put(message())


async def test_a_lone_message_leaves_at_once_and_those_behind_it_together() -> None:
    """Two round trips for a hundred callers, in their order, each with its own acknowledgement."""
    far = Trips()
    messages = [message() for _ in range(100)]
    callers = await started(Coalescer(far.send), messages)
    far.gate.release()
    far.gate.release()
    puts = await asyncio.gather(*callers)
    assert far.sizes == [1, 99]
    assert [one for batch in far.batches for one in batch] == messages
    assert [put.id for put in puts] == [one.id for one in messages]


async def test_a_trip_carries_at_most_five_hundred() -> None:
    """The rest leaves in the next."""
    far = Trips()
    callers = await started(Coalescer(far.send), [message() for _ in range(1102)])
    for _ in range(4):
        far.gate.release()
    await asyncio.gather(*callers)
    assert far.sizes == [1, 500, 500, 101]


async def test_one_after_the_other_each_goes_alone() -> None:
    """Whoever finds nothing under way does not wait for company."""
    far = Trips()
    coalescer = Coalescer(far.send)
    for _ in range(3):
        far.gate.release()
        await coalescer.put(message())
    assert far.sizes == [1, 1, 1]


async def test_a_message_at_fault_is_refused_alone() -> None:
    """When a batch fails, its halves are tried apart until the culprit is found; all others are stored."""
    far = Trips()
    messages = [message(), *(message("bad" if index == 37 else "good") for index in range(99))]
    callers = await started(Coalescer(far.send), messages)
    for _ in range(40):
        far.gate.release()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert [index for index, end in enumerate(ended) if not isinstance(end, Put)] == [38]
    assert isinstance(ended[38], UnsupportedError)
    assert len(far.sizes) < 20


async def test_a_full_backend_refuses_each_message_by_itself() -> None:
    """One queue may be full while another has room, so each message is offered alone in the end."""
    far = Trips()
    callers = await started(Coalescer(far.send), [message() for _ in range(5)])
    far.down = BackendFullError(backend="far", place="there")
    for _ in range(20):
        far.gate.release()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(end, BackendFullError) for end in ended)
    assert len(far.sizes) == 1 + 7


async def test_an_unreachable_backend_is_asked_once_for_the_whole_batch() -> None:
    """Nothing is known about what happened; every caller is told so, with an error of its own."""
    far = Trips()
    callers = await started(Coalescer(far.send), [message() for _ in range(5)])
    far.down = BackendUnavailableError(backend="far", place="there")
    far.gate.release()
    far.gate.release()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert far.sizes == [1, 4]
    assert all(isinstance(end, BackendUnavailableError) for end in ended)
    assert len({id(end) for end in ended}) == 5
    assert isinstance(ended[4], BackendUnavailableError)
    assert ended[4].place == "there"


async def test_a_foreign_error_reaches_each_caller() -> None:
    """Also one that cannot be copied."""

    class PickyError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one)

    far = Trips()
    callers = await started(Coalescer(far.send), [message() for _ in range(3)])
    far.down = PickyError(1, 2)
    for _ in range(9):
        far.gate.release()
    assert all(isinstance(end, PickyError) for end in await asyncio.gather(*callers, return_exceptions=True))


async def test_a_cancelled_caller_takes_nobody_along() -> None:
    """Those who left with it are acknowledged; those behind it leave as before."""
    far = Trips()
    first, second, third = await started(Coalescer(far.send), [message() for _ in range(3)])
    far.gate.release()
    await first
    await far.begun.acquire()
    await far.begun.acquire()
    assert far.sizes == [1, 2]
    second.cancel()
    await asyncio.wait([second])
    assert not third.done()
    far.gate.release()
    assert (await third).created
    assert second.cancelled()


async def test_a_message_whose_caller_was_cancelled_before_it_left_stays_back() -> None:
    """Nobody wants it any more, and nothing has been sent."""
    far = Trips()
    messages = [message() for _ in range(3)]
    first, second, third = await started(Coalescer(far.send), messages)
    second.cancel()
    await asyncio.wait([second])
    far.gate.release()
    far.gate.release()
    await asyncio.gather(first, third)
    assert far.batches == [[messages[0]], [messages[2]]]


async def test_when_the_first_caller_is_cancelled_the_others_still_leave() -> None:
    """The one whose trip is under way is nobody else's carrier."""
    far = Trips()
    first, second = await started(Coalescer(far.send), [message(), message()])
    first.cancel()
    await asyncio.wait([first])
    far.gate.release()
    assert (await second).created
    assert first.cancelled()


async def test_after_an_error_the_way_is_free_again() -> None:
    """A failed trip leaves nothing behind."""
    far = Trips()
    coalescer = Coalescer(far.send)
    far.down = BackendUnavailableError()
    far.gate.release()
    with pytest.raises(BackendUnavailableError):
        await coalescer.put(message())
    far.down = None
    far.gate.release()
    assert (await coalescer.put(message())).created


@pytest.mark.parametrize(("count", "trips"), [(1, 1), (3, 1), (1, 2), (40, 2)])
async def test_settled_waits_for_what_is_under_way(count, trips) -> None:
    """A close cuts off neither a lone message nor those behind it, nor those beside it."""
    far = Trips()
    coalescer = Coalescer(far.send, trips=trips)
    callers = await started(coalescer, [message() for _ in range(count)])
    closing = asyncio.create_task(coalescer.settled())
    await asyncio.sleep(0)
    assert not closing.done()
    far.gate.release()
    far.gate.release()
    await closing
    assert sum(far.sizes) == count
    await coalescer.settled()
    assert all(put.created for put in await asyncio.gather(*callers))


@pytest.mark.parametrize(("trips", "company"), [(1, 2), (2, 40)])
def test_a_loop_that_ends_cancels_those_who_wait(trips, company) -> None:
    """Nothing hangs, and nobody is told that a message was stored."""
    far: list[Trips] = []
    left: list[asyncio.Task[Put]] = []

    async def main() -> None:
        far.append(Trips())
        coalescer = Coalescer(far[0].send, trips=trips)
        left.extend(await started(coalescer, [message() for _ in range(1 + company)]))
        far[0].gate.release()
        await left[0]
        left.extend(await started(coalescer, [message()]))

    asyncio.run(main())
    assert [caller.cancelled() for caller in left] == [False] + [True] * (company + 1)


async def test_many_leave_in_two_halves_that_are_under_way_together() -> None:
    """The second half does not wait for the answer to the first; the order is theirs."""
    far = Trips()
    messages = [message() for _ in range(100)]
    calls = asyncio.gather(*map(Coalescer(far.send, trips=2).put, messages))
    await far.begun.acquire()
    await far.begun.acquire()
    assert far.batches == [messages[:50], messages[50:]]
    far.gate.release()
    far.gate.release()
    assert [put.id for put in await calls] == [one.id for one in messages]


async def test_few_leave_in_one_trip() -> None:
    """A half that is not worth a round trip of its own goes with the other."""
    far = Trips()
    far.gate.release()
    await asyncio.gather(*map(Coalescer(far.send, trips=2).put, [message() for _ in range(31)]))
    assert far.sizes == [31]


@pytest.mark.parametrize(("behind", "expected"), [(15, [1]), (16, [1, 16])])
async def test_a_second_trip_leaves_beside_the_first_when_it_is_worth_it(behind, expected) -> None:
    """Fewer wait until the first has come back."""
    far = Trips()
    callers = await started(Coalescer(far.send, trips=2), [message() for _ in range(1 + behind)])
    await steps(3)
    assert far.sizes == expected
    far.gate.release()
    far.gate.release()
    await asyncio.gather(*callers)
    assert far.sizes == [1, behind]


async def test_two_halves_stay_apart() -> None:
    """Whoever has an answer enqueues again and leaves while the others are still under way, and so on."""
    far = Trips()
    coalescer = Coalescer(far.send, trips=2)

    async def caller() -> None:
        for _ in range(4):
            await coalescer.put(message())

    callers = asyncio.gather(*(caller() for _ in range(80)))
    await far.begun.acquire()
    for _ in range(7):
        await far.begun.acquire()
        far.gate.release()
    far.gate.release()
    await callers
    assert far.sizes == [40] * 8


async def test_never_more_trips_than_two() -> None:
    """All others wait, and leave in shares of at most five hundred."""
    far = Trips()
    calls = asyncio.gather(*map(Coalescer(far.send, trips=2).put, [message() for _ in range(1100)]))
    await steps(10)
    assert far.sizes == [500, 500]
    far.gate.release()
    for _ in range(3):
        await far.begun.acquire()
    assert far.sizes == [500, 500, 100]
    far.gate.release()
    far.gate.release()
    await calls


async def test_of_two_trips_one_may_fail() -> None:
    """The messages at fault are refused alone, those of the other trip never hear of it."""
    far = Trips()
    messages = [message("bad" if index == 7 else "good") for index in range(64)]
    calls = asyncio.gather(*map(Coalescer(far.send, trips=2).put, messages), return_exceptions=True)
    for _ in range(20):
        far.gate.release()
    ended = await calls
    assert [index for index, end in enumerate(ended) if not isinstance(end, Put)] == [7]
    assert isinstance(ended[7], UnsupportedError)


PAUSES = st.integers(0, 4)
CALLERS = st.lists(st.tuples(st.sampled_from(["good", "bad"]), PAUSES, st.none() | PAUSES), max_size=30)


@pytest.mark.parametrize(("trips", "crowd"), [(1, 1), (2, 8)])
@given(plan=CALLERS)
async def test_whatever_comes_each_caller_gets_its_own_end(plan, trips, crowd) -> None:
    """Callers of good and bad messages that come at any moment, some of whom are cancelled at any moment."""
    plan = plan * crowd
    stored: list[AnyMessage] = []
    arrived: list[AnyMessage] = []

    async def send(batch: Sequence[AnyMessage]) -> list[Put]:
        await asyncio.sleep(0)
        if any(one.name == "bad" for one in batch):
            raise UnsupportedError(option="bad")
        stored.extend(batch)
        await asyncio.sleep(0)
        return [Put(one.id, created=True) for one in batch]

    coalescer = Coalescer(send, trips=trips)

    async def call(one: AnyMessage, pause: int) -> Put:
        await steps(pause)
        arrived.append(one)
        return await coalescer.put(one)

    messages = [message(name) for name, _, _ in plan]
    callers = [asyncio.create_task(call(one, pause)) for one, (_, pause, _) in zip(messages, plan, strict=True)]
    for caller, (_, _, patience) in zip(callers, plan, strict=True):
        if patience is not None:
            await steps(patience)
            caller.cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    await coalescer.settled()
    for one, end, (name, _, patience) in zip(messages, ended, plan, strict=True):
        if isinstance(end, asyncio.CancelledError):
            assert patience is not None
        elif name == "bad":
            assert isinstance(end, UnsupportedError)
        else:
            assert end == Put(one.id, created=True)
            assert stored.count(one) == 1
    if trips == 1 or all(one.name == "good" for one in messages):
        assert stored == [one for one in arrived if one in stored]


async def steps(count: int) -> None:
    """Let the loop go round `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_gathering_leaves_when_the_last_has_come_in_order_of_numbers() -> None:
    """Whatever order they arrive in."""
    far = Trips()
    far.gate.release()
    gathering = Gathering(far.send, 3)
    messages = [message() for _ in range(3)]
    puts = await asyncio.gather(*(gathering.put(number, messages[number]) for number in (2, 0, 1)))
    assert far.batches == [messages]
    assert [put.id for put in puts] == [messages[number].id for number in (2, 0, 1)]
