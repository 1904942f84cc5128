"""The hot loop settles and claims in one call, and neither a lost answer nor a broker that is away loses anything."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reinhardt_tasks.context import current_task
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, Orders, Outcome, OutcomeKind, Record, Report, Settled
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import Retry
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.worker.exchanger import Exchanger
from reinhardt_tasks.worker.slots import Slots
from tests.eventually import eventually_async
from tests.workshop import FlakyBackend, awaited

WORKER = "one"


class Elsewhere(FlakyBackend):
    """As if another process served it."""

    remote = True


class Crew:
    """An exchanger with its slots, as worker "one" of a backend with faults; beats and care are the test's.

    `counted(number)` counts its runs, `held_up()` waits for the `gate`. `in_line` notes how many messages stood in line
    at each exchange.
    """

    def __init__(self, *, slots: int, poll_interval: float = 0.05, remote: bool = False, **settings: Any) -> None:
        self.clock = StillClock()
        self.backend = Elsewhere(clock=self.clock) if remote else FlakyBackend(clock=self.clock)
        self.faults = self.backend.faults
        self.queue = TaskQueue(self.backend)
        self.runs: Counter[int] = Counter()
        self.gate = asyncio.Event()
        self.orders: list[Orders] = []
        self.reports: list[Report] = []
        self.in_line: list[int] = []
        self._define_tasks(self.runs, self.gate)
        self.runner = Runner(self.queue, values={})
        self.slots = Slots(slots, self.runner, self._on_outcome)
        self.exchanger = Exchanger(
            self.backend,
            self.slots,
            worker=WORKER,
            queues=settings.get("queues"),
            poll_interval=poll_interval,
            prefetch=settings.get("prefetch"),
            reports=self._reports,
            on_orders=self.orders.append,
        )

    def _on_outcome(self, outcome: Outcome) -> None:
        self.exchanger.add(outcome)

    def _reports(self) -> list[Report]:
        self.in_line.append(len(self.slots.waiting))
        return self.reports

    def _define_tasks(self, runs: Counter[int], gate: asyncio.Event) -> None:
        @self.queue.task
        async def counted(number: int) -> None:
            runs[number] += 1

        @self.queue.task
        async def held_up() -> None:
            await gate.wait()

        self.counted, self.held_up = counted, held_up

    async def enqueue(self, *numbers: int) -> list[TaskId]:
        """A message for each number."""
        handles = await self.queue.enqueue_many(self.counted.message(number) for number in numbers)
        return [handle.id for handle in handles]

    async def all_done(self, count: int) -> None:
        """Wait until so many messages have succeeded, and nothing is left to settle."""
        await eventually_async(lambda: sum(self.runs.values()) >= count and not self.exchanger.unsettled)

    async def records(self, ids: list[TaskId]) -> list[Record]:
        return [record for record in await self.backend.steady().get(ids) if record is not None]

    async def register(self) -> None:
        await self.backend.steady().beat(Beat(worker=WORKER, number=1))

    async def claims_held(self) -> int:
        """How many messages the backend thinks the worker holds."""
        return (await self.backend.steady().workers())[0].claims


@contextlib.asynccontextmanager
async def crew(*, registered: bool = True, **settings: Any) -> AsyncIterator[Crew]:
    """The exchanger at work, all of it ended with the block."""
    made = Crew(**settings)
    if registered:
        await made.register()
    made.slots.start()
    loops = [
        asyncio.create_task(made.exchanger.keep_exchanging()),
        asyncio.create_task(made.exchanger.keep_listening()),
    ]
    try:
        yield made
    finally:
        for loop in loops:
            loop.cancel()
        ends = await asyncio.gather(*loops, return_exceptions=True)
        await made.exchanger.close()
        made.gate.set()
        await made.slots.close()
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def test_outcomes_leave_with_the_call_that_claims_the_next():
    """No call of its own for either: two slots run ten messages in few calls."""
    async with crew(slots=2, prefetch=0) as here:
        ids = await here.enqueue(*range(10))
        await here.all_done(10)
        assert {record.status for record in await here.records(ids)} == {TaskStatus.SUCCESS}
        assert len([1 for outcomes, want, _ in here.faults.exchanges if outcomes and want]) >= 4
        assert here.exchanger.ended == 10


@pytest.mark.parametrize("remote", [True, False])
async def test_a_backend_elsewhere_is_told_while_work_goes_on(remote):
    """It serves one share while the next is run. One in this process is told when the line is empty."""
    async with crew(slots=1, prefetch=20, poll_interval=60, remote=remote) as here:
        await here.enqueue(*range(300))
        await here.all_done(300)
        with_others_in_line = sum(bool(count) for count in here.in_line)
        assert (with_others_in_line > len(here.in_line) / 2) is remote
        assert here.faults.most_held <= 21


async def test_an_exchange_that_failed_is_repeated_whatever_stands_in_line():
    """Its outcomes are waited for, and claims may have been lost with its answer."""
    async with crew(slots=1, prefetch=4, poll_interval=60) as here:

        @here.queue.task
        async def cutting() -> None:
            here.faults.refuse["exchange"] = 1

        handle = await cutting.enqueue()
        await here.queue.enqueue_many(here.held_up.message() for _ in range(4))
        here.exchanger.flush()
        assert await handle.result(timeout=20) is None
        assert here.faults.refuse["exchange"] == 0
        assert (here.slots.busy, len(here.slots.waiting)) == (1, 3)


async def test_more_outcomes_than_a_batch_go_in_several():
    """No call carries more than the contract allows."""
    async with crew(slots=600) as here:
        await here.queue.enqueue_many(here.held_up.message() for _ in range(600))
        await eventually_async(lambda: here.slots.busy == 600)
        here.gate.set()
        await eventually_async(lambda: here.slots.busy == 0 and not here.exchanger.unsettled)
        assert max(len(outcomes) for outcomes, _, _ in here.faults.exchanges) == MAX_BATCH
        assert max(want for _, want, _ in here.faults.exchanges) == MAX_BATCH
        assert (await here.backend.steady().counts())[0].by_status == {TaskStatus.SUCCESS: 600}


@pytest.mark.parametrize(("slots", "messages"), [(1, 6), (7, 42)])
async def test_answers_that_are_lost_lose_nothing(slots, messages):
    """The call was done: outcomes are not settled twice, and the claims of the lost answer are found again."""
    async with crew(slots=slots, prefetch=0) as here:
        here.faults.lose_every_other.add("exchange")
        ids = await here.enqueue(*range(messages))
        await here.all_done(messages)
        assert here.runs == Counter(range(messages))
        assert {record.status for record in await here.records(ids)} == {TaskStatus.SUCCESS}
        assert await here.claims_held() == 0
        settled = Counter(
            word for _, _, answer in here.faults.exchanges if answer is not None for word in answer.settled
        )
        assert settled[Settled.SETTLED] == messages
        assert settled[Settled.ALREADY] > 0
        assert settled[Settled.LOST] == 0


async def test_a_claim_in_a_lost_answer_waits_for_nobody_else():
    """Even when there is nothing else to claim: the repeated call brings it back."""
    async with crew(slots=4) as here:
        here.faults.lose["exchange"] = 1
        await here.enqueue(1)
        await here.all_done(1)
        assert here.runs == Counter([1])


async def test_a_message_given_again_in_a_lost_answer_is_found():
    """The call that settled its retry gave it back at once: it is not taken for the run that has ended."""
    async with crew(slots=1) as here:
        runs: list[int] = []

        @here.queue.task
        async def insisting() -> int:
            runs.append(current_task().attempt)
            if len(runs) < 4:
                here.faults.lose["exchange"] = 1  # the answer to the call that will settle this
                raise Retry(after=0)
            return len(runs)

        handle = await insisting.enqueue()
        assert await handle.result(timeout=20) == 4
        assert runs == [1, 2, 3, 4]


async def test_calls_that_fail_are_repeated_with_the_same_outcomes():
    """Nothing was done, so nothing is lost either."""
    async with crew(slots=2) as here:
        ids = await here.enqueue(*range(6))
        await eventually_async(lambda: here.runs)
        here.faults.refuse["exchange"] = 2
        here.faults.refuse["wait"] = 2
        await here.all_done(6)
        assert here.runs == Counter(range(6))
        assert {record.status for record in await here.records(ids)} == {TaskStatus.SUCCESS}


async def test_an_error_that_is_no_backend_s_ends_the_loop():
    """A defect must not be repeated for ever; whoever waits for the loop gets it."""
    here = Crew(slots=1)
    await here.register()
    here.faults.break_with["exchange"] = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(here.exchanger.keep_exchanging(), 10)


async def test_a_busy_slot_does_not_hold_up_the_outcomes_of_others():
    """They are settled within a moment, also while more messages stand in line."""
    async with crew(slots=2, prefetch=10, poll_interval=60) as here:
        slow = [here.held_up.message() for _ in range(6)]
        quick = here.counted.message(1)
        await here.queue.enqueue_many([slow[0], quick, *slow[1:]])
        await eventually_async(lambda: here.runs[1])
        ended_at = time.monotonic()
        await eventually_async(lambda: not here.exchanger.unsettled)
        assert time.monotonic() - ended_at < 0.5
        assert (await here.records([quick.id]))[0].status is TaskStatus.SUCCESS
        assert (here.slots.busy, len(here.slots.waiting)) == (2, 4)


async def test_no_more_is_held_than_slots_and_allowance():
    """Whatever stands in line."""
    async with crew(slots=3, prefetch=4) as here:
        await here.queue.enqueue_many(here.held_up.message() for _ in range(30))
        await eventually_async(lambda: here.slots.busy == 3)
        await eventually_async(lambda: here.slots.held == 7)
        assert await here.claims_held() == 7


async def test_what_is_not_to_be_run_goes_back_without_a_trace():
    """To its place in line, no attempt spent; and nothing more is claimed until that is allowed again."""
    async with crew(slots=1, prefetch=5) as here:
        await here.queue.enqueue(here.held_up.message())
        await eventually_async(lambda: here.slots.busy == 1)
        ids = await here.enqueue(*range(8))
        await eventually_async(lambda: len(here.slots.waiting) == 5)
        here.exchanger.stop_claiming()
        await eventually_async(lambda: not here.exchanger.unsettled)
        assert {record.status for record in await here.records(ids)} == {TaskStatus.PENDING}
        assert {(record.attempts, record.losses) for record in await here.records(ids)} == {(0, 0)}
        here.gate.set()
        await eventually_async(lambda: here.slots.busy == 0 and not here.exchanger.unsettled)
        assert here.runs == Counter()
        here.exchanger.claim_again()
        await here.all_done(8)


async def test_a_claim_that_comes_too_late_goes_back():
    """Asked for before the worker was told to stop, answered after."""
    async with crew(slots=2) as here:
        here.faults.gates["exchange"] = threading.Event()
        ids = await here.enqueue(1, 2)
        await eventually_async(lambda: here.faults.exchanges[-1][2] is None)  # asked, not answered
        here.exchanger.stop_claiming()
        here.faults.gates.pop("exchange").set()
        await eventually_async(lambda: here.faults.claims and not here.exchanger.unsettled)
        assert here.runs == Counter()
        assert {record.status for record in await here.records(ids)} == {TaskStatus.PENDING}


async def lose_lease(here: Crew) -> None:
    """Have the worker given up, as others do when its beats stay out."""
    for seconds in (21.0, 12.0):
        here.clock.advance(seconds)
        await here.backend.steady().sweep()


async def test_an_outcome_under_a_lost_lease_is_refused_and_told_once(caplog):
    """The message belongs to another; the result is dropped, and offered no second time."""
    async with crew(slots=1, prefetch=3) as here:
        await here.queue.enqueue(here.held_up.message())
        await here.enqueue(1, 2)
        await eventually_async(lambda: len(here.slots.waiting) == 2)
        await lose_lease(here)
        here.exchanger.give_back()
        here.gate.set()
        await eventually_async(lambda: here.slots.busy == 0 and not here.exchanger.unsettled)
        told = [record.message for record in caplog.records if record.message.startswith("lease_lost")]
        assert len(told) == 1
        assert [outcome.kind for outcome in here.faults.outcomes].count(OutcomeKind.SUCCESS) == 1
        assert not here.orders[-1].registered


async def test_an_exchange_without_a_registration_does_not_spin():
    """Until its beat comes through, a worker that was given up asks now and then, not as fast as it can."""
    async with crew(slots=1, registered=False) as here:
        await here.enqueue(1)
        before = here.faults.calls.total()
        await asyncio.sleep(0.5)
        assert here.faults.calls.total() - before < 30
        await here.register()
        await here.all_done(1)


async def test_waits_in_vain_need_no_exchange():
    """Each looks for what the one before has missed; nothing is written for it, nor claimed."""
    async with crew(slots=1, poll_interval=0.02) as here:
        await eventually_async(here.exchanger.idle.is_set)
        await eventually_async(lambda: here.faults.calls["wait"] >= 2)
        before = here.faults.calls.copy()
        await eventually_async(lambda: here.faults.calls["wait"] >= before["wait"] + 20)
        assert here.faults.calls["exchange"] - before["exchange"] < 10
        await here.enqueue(1)
        await here.all_done(1)


async def test_a_full_worker_does_not_spin_when_a_message_falls_due():
    """It has no slot for it, but others have to be given the chance: it is promoted, and waited on."""
    async with crew(slots=1) as here:
        await here.queue.enqueue(here.held_up.message())
        await eventually_async(lambda: here.slots.busy == 1)
        handle = await here.counted.using(delay=5).enqueue(1)
        here.clock.advance(6)
        before = here.faults.calls.total()
        await asyncio.sleep(0.3)
        assert here.faults.calls.total() - before < 30
        assert (await here.backend.steady().counts())[0].ready == 1
        here.gate.set()
        await here.all_done(1)
        assert (await here.records([handle.id]))[0].status is TaskStatus.SUCCESS


async def test_a_message_that_falls_due_is_started_without_being_told():
    """The wait ends when the next one is due, long before the next look."""
    async with crew(slots=1, poll_interval=60) as here:
        await eventually_async(here.exchanger.idle.is_set)
        began = time.monotonic()
        await here.counted.using(delay=0.05).enqueue(1)
        here.clock.advance(0.05)
        await here.all_done(1)
        assert time.monotonic() - began < 10


async def test_idle_means_nothing_to_claim_and_nothing_held():
    """Not merely that slots are free."""
    async with crew(slots=2) as here:
        await eventually_async(here.exchanger.idle.is_set)
        await here.queue.enqueue(here.held_up.message())
        await eventually_async(lambda: here.slots.busy == 1 and not here.exchanger.idle.is_set())
        await asyncio.sleep(0.15)  # several looks later
        assert not here.exchanger.idle.is_set()
        here.gate.set()
        await eventually_async(here.exchanger.idle.is_set)


async def test_progress_goes_with_the_exchange():
    """As reports under the claim's token."""
    async with crew(slots=1) as here:
        handle = await here.queue.enqueue(here.held_up.message())
        await eventually_async(lambda: here.runner.running)
        run = next(iter(here.runner.running))
        run.context.progress(3, 7, "half-way")
        here.reports.append(run.report())
        here.exchanger.flush()
        progress = await awaited(handle.progress)
        assert progress is not None
        assert (progress.done, progress.total, progress.note) == (3.0, 7.0, "half-way")


async def test_only_the_queues_that_are_served_are_asked():
    """In their order within a priority."""
    async with crew(slots=1, queues=("b", "a")) as here:
        other = await here.counted.using(queue="c").enqueue(9)
        await here.counted.using(queue="a").enqueue(1)
        await eventually_async(lambda: here.runs[1])
        assert here.runs == Counter([1])
        assert (await here.records([other.id]))[0].status is TaskStatus.PENDING
