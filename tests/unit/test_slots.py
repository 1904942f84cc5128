"""Slots run what stands in line, all at once where tasks wait for something, and survive whatever a task does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from reinhardt_tasks import TaskChainBuilder
from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import AnyMessage, Claim, ErrorRecord, Outcome, OutcomeKind
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.run import Cause
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.worker.slots import Slots
from reinhardt_tasks.workflow.plan import planned
from tests.eventually import eventually_async


class Place:
    """A queue of tasks, slots that run them, and the outcomes that came."""

    def __init__(self, size: int, kind: type[TaskQueue] = TaskQueue) -> None:
        self.queue = kind(MemoryBackend())
        self.runner = Runner(self.queue, values={})
        self.outcomes: list[Outcome] = []
        self.slots = Slots(size, self.runner, self.outcomes.append)

    def task(self, function: Callable[..., Any], **options: Any) -> Any:
        return self.queue.task(**options)(function)

    def feed(self, *messages: AnyMessage) -> None:
        self.slots.feed([Claim(message.id, 1, message.body) for message in messages])

    async def ended(self, count: int) -> list[Outcome]:
        """The outcomes, once there are so many."""
        await eventually_async(lambda: len(self.outcomes) >= count)
        assert len(self.outcomes) == count
        return self.outcomes


@contextlib.asynccontextmanager
async def place(size: int, kind: type[TaskQueue] = TaskQueue) -> AsyncIterator[Place]:
    """Slots that are closed at the end, with nothing running."""
    made = Place(size, kind)
    made.slots.start()
    try:
        yield made
    finally:
        await made.slots.close()
    assert made.slots.busy == 0


async def nothing() -> None:
    """A task that has nothing to wait for."""


async def test_all_slots_run_at_the_same_time():
    """As many messages as there are slots, and no more."""
    async with place(10) as here:
        gate, begun = asyncio.Event(), []

        async def waiting() -> None:
            begun.append(here.slots.busy)
            await gate.wait()

        task = here.task(waiting)
        here.feed(*(task.message() for _ in range(15)))
        await eventually_async(lambda: len(begun) == 10)
        assert (here.slots.busy, len(here.slots.waiting), here.slots.held) == (10, 5, 15)
        gate.set()
        await here.ended(15)
        assert here.slots.held == 0


async def test_messages_start_in_the_order_they_stand_in_line():
    """One slot, one after the other."""
    async with place(1) as here:
        order: list[int] = []

        async def noting(number: int) -> None:
            order.append(number)

        task = here.task(noting)
        here.feed(*(task.message(number) for number in range(50)))
        here.feed(*(task.message(number) for number in range(50, 60)))
        await here.ended(60)
        assert order == list(range(60))


async def test_a_message_fed_to_sleeping_slots_starts_at_once():
    """Also after many rounds of sleep and work: no wake-up is lost."""
    async with place(3) as here:
        task = here.task(nothing)
        for count in range(1, 60):
            here.feed(task.message())
            await here.ended(count)


async def test_long_work_lets_the_loop_go_on():
    """Tasks that wait for nothing do not keep the loop from what else there is to do."""
    async with place(4) as here:
        task = here.task(nothing)
        here.feed(*(task.message() for _ in range(20_000)))
        longest, last = 0.0, time.perf_counter()
        while len(here.outcomes) < 20_000:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        assert longest < 0.1


async def _most_in_a_round(here: Place, count: int, *, before: int = 0) -> int:
    """The most messages that ended in one round of the loop, from `before` until `count` have ended."""
    most = 0
    while len(here.outcomes) < count:
        await asyncio.sleep(0)
        most, before = max(most, len(here.outcomes) - before), len(here.outcomes)
    return most


async def _blocking() -> None:
    """Keeps the thread for a millisecond, as work does that waits for nothing."""
    time.sleep(0.001)  # noqa: ASYNC251 - the loop is to be held up


async def test_slots_that_are_awake_share_one_turn():
    """However many they are, the loop goes round after a few milliseconds of their work."""
    async with place(20) as here:
        gate = asyncio.Event()
        waiting, blocking = here.task(_waiting_for(gate)), here.task(_blocking)
        here.feed(*(waiting.message() for _ in range(20)))
        await eventually_async(lambda: here.slots.busy == 20)
        here.feed(*(blocking.message() for _ in range(100)))
        gate.set()  # all of them go on in one round, and then take what stands in line
        assert await _most_in_a_round(here, 120, before=20) < 12


async def test_an_answer_that_is_expected_does_not_wait_for_the_slots():
    """The loop goes round after each message that takes longer than the shortest of turns."""
    async with place(1) as here:
        blocking = here.task(_blocking)
        here.feed(*(blocking.message() for _ in range(30)))
        with here.slots.expecting():
            assert await _most_in_a_round(here, 30) == 1


async def test_what_stands_in_line_can_be_taken_back():
    """What runs stays."""
    async with place(1) as here:
        gate = asyncio.Event()
        waiting = here.task(_waiting_for(gate))
        messages = [waiting.message() for _ in range(3)]
        here.feed(*messages)
        await eventually_async(lambda: here.slots.busy == 1)
        assert [claim.id for claim in here.slots.take_back()] == [message.id for message in messages[1:]]
        assert here.slots.running_ids() == [messages[0].id]
        gate.set()
        await here.ended(1)


def _waiting_for(gate: asyncio.Event) -> Callable[..., Any]:
    async def waiting() -> None:
        await gate.wait()

    return waiting


async def test_a_run_under_a_lost_lease_is_not_named():
    """The messages this worker holds are those of its present lease."""
    async with place(1) as here:
        gate = asyncio.Event()
        here.feed(here.task(_waiting_for(gate)).message())
        await eventually_async(lambda: here.slots.busy == 1)
        for run in here.runner.running:
            run.disowned = True
        assert here.slots.running_ids() == []
        gate.set()
        await here.ended(1)


async def test_a_step_whose_inputs_are_being_read_is_named():
    """It is held, though its task has not begun: were it given again in an answer that is lost, it would run twice."""
    async with place(1, SlowToRead) as here:
        one = here.task(nothing)
        taking = here.task(take)
        chain = TaskChainBuilder().add(one.message()).add(taking.step()).build()
        first, second = planned(chain, here.queue.seal, here.queue.config).messages
        await (await here.queue.backend()).put([first, second])
        here.feed(second)
        await eventually_async(lambda: here.slots.busy == 1)
        assert here.slots.running_ids() == [second.id]
        here.queue.readable.set()
        await here.ended(1)
        assert here.slots.running_ids() == []


class SlowToRead(TaskQueue):
    """Its backend is reached once it is `readable`, but for the first who asks."""

    def __init__(self, url: Any) -> None:
        super().__init__(url)
        self.readable = asyncio.Event()
        self._asked = 0

    async def backend(self) -> TaskBackend:
        self._asked += 1
        if self._asked > 1:
            await self.readable.wait()
        return await super().backend()


async def take(what: object) -> None:
    """A step."""


async def test_a_slot_goes_on_after_its_task_was_stopped():
    """The same slot runs the next message, undisturbed."""
    async with place(1) as here:
        endless, gate = asyncio.Event(), asyncio.Event()
        here.feed(here.task(_waiting_for(endless)).message())
        await eventually_async(lambda: here.slots.busy == 1)
        next(iter(here.runner.running)).stop(Cause.CANCEL)
        here.feed(here.task(_waiting_for(gate), name="second").message())
        await here.ended(1)
        gate.set()
        kinds = [outcome.kind for outcome in await here.ended(2)]
        assert kinds == [OutcomeKind.CANCELLED, OutcomeKind.SUCCESS]


async def _cancelling_itself() -> None:
    own = asyncio.current_task()
    assert own is not None
    own.cancel()
    await asyncio.sleep(0)


async def _cancelling_itself_at_the_end() -> None:
    own = asyncio.current_task()
    assert own is not None
    own.cancel()


async def _cancelling_itself_later() -> None:
    own = asyncio.current_task()
    assert own is not None
    asyncio.get_running_loop().call_later(0.01, own.cancel)


async def _swallowing_its_own_cancellation() -> None:
    own = asyncio.current_task()
    assert own is not None
    own.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def _pausing() -> str:
    for _ in range(5):
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.sleep(0)
    return "undisturbed"


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (_cancelling_itself, OutcomeKind.FAILURE),
        (_cancelling_itself_at_the_end, OutcomeKind.SUCCESS),
        (_swallowing_its_own_cancellation, OutcomeKind.SUCCESS),
    ],
)
async def test_a_task_that_cancels_its_own_slot_hurts_only_itself(odd, kind, caplog):
    """The slot lives on, and the messages behind it are not hit."""
    async with place(1) as here:
        pausing = here.task(_pausing)
        here.feed(pausing.message(), here.task(odd).message(), *(pausing.message() for _ in range(3)))
        kinds = [outcome.kind for outcome in await here.ended(5)]
        assert kinds == [OutcomeKind.SUCCESS, kind, *[OutcomeKind.SUCCESS] * 3]
        here.feed(pausing.message())
        assert (await here.ended(6))[5].kind is OutcomeKind.SUCCESS


async def test_a_slot_cancelled_in_its_sleep_is_still_woken():
    """By a timer that a task has left behind."""
    async with place(1) as here:
        here.feed(here.task(_cancelling_itself_later).message())
        await here.ended(1)
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.03, gate.set)  # behind the timer of the task
        await gate.wait()
        here.feed(here.task(nothing).message())
        assert (await here.ended(2))[1].kind is OutcomeKind.SUCCESS


class Defective(TaskQueue):
    """Fails in a way that nobody has thought of."""

    def find(self, name: str) -> Any:
        if name == "odd":
            raise SystemExit(3)
        return super().find(name)


async def test_an_error_of_the_runner_itself_ends_the_message_alone(caplog):
    """A defect there is logged, and is a dead letter; the slot goes on."""
    async with place(1, Defective) as here:
        here.feed(here.task(nothing, name="odd").message(), here.task(nothing, name="even").message())
        odd, even = await here.ended(2)
        assert (odd.kind, ErrorRecord.decode(odd.payload).type) == (OutcomeKind.FAILURE, "SystemExit")
        assert even.kind is OutcomeKind.SUCCESS
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_closing_ends_what_waits_and_leaves_what_does_not_end():
    """A task that swallows its cancellation does not hold up the close for long."""
    async with place(2) as here:
        gate = asyncio.Event()

        async def swallowing() -> None:
            while not gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await gate.wait()

        here.feed(here.task(swallowing).message())
        await eventually_async(lambda: here.slots.busy == 1)
        began = time.monotonic()
        await here.slots.close()
        assert time.monotonic() - began < 5
        assert here.outcomes == []
        gate.set()
        await eventually_async(lambda: here.slots.busy == 0)
        assert here.outcomes == []


def test_slots_end_with_their_loop():
    """A loop that is closed under a worker cancels everything; nothing hangs, and no message counts as failed."""
    kept: list[Place] = []

    async def main() -> None:
        here = Place(2)
        kept.append(here)
        here.slots.start()
        here.feed(here.task(_waiting_for(asyncio.Event())).message())
        await eventually_async(lambda: here.slots.busy == 1)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert kept[0].outcomes == []
