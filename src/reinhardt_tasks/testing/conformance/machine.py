"""A Hypothesis state machine: random work by random workers, compared with the model after every step.

Needs Hypothesis, and a bench whose clock can be set.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reinhardt_tasks.errors import DuplicateTaskError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Claim, Exchange, Outcome, Record, Report
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, Bench, Hand, Stage, message
from reinhardt_tasks.testing.conformance.model import Item, Model

T = TypeVar("T")
NAMES = ("a", "b", "c")
QUEUES = ("q1", "q2")
DELAY = 7.011
STEPS = (1.013, 5.027, 11.019, 21.023)
"""How far the clock moves at once, in seconds; chosen so that no sum of them meets the end of a lease or a delay."""

_HYPOTHESIS_EXAMPLES = 100

_priorities = st.sampled_from((0, 5, 5, 9))
_names = st.sampled_from(NAMES)
_queues = st.sampled_from(QUEUES)
_served = st.sampled_from((None, ("q1", "q2"), ("q2", "q1"), ("q2",), ()))
_picks = st.integers(0, 10_000)
_kinds = st.integers(0, 6)


def _outcome(claim: Claim, kind: int) -> Outcome:
    """One of the ways a run ends."""
    return (
        Outcome.success(claim, b"r"),
        Outcome.failure(claim, ERROR),
        Outcome.retry(claim, 0.0, ERROR),
        Outcome.retry(claim, DELAY, ERROR),
        Outcome.release(claim),
        Outcome.release(claim, DELAY, unknown=True),
        Outcome.cancelled(claim, ERROR),
    )[kind]


class BackendMachine(RuleBasedStateMachine):
    """The rules. `new_bench` is given by `conformance_machine`."""

    new_bench: Callable[[], Bench]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.closing = contextlib.AsyncExitStack()
        self.bench = type(self).new_bench()
        self.stage = Stage(self.bench, self.closing)
        self.hands: dict[str, Hand] = {}
        self.beats = dict.fromkeys(NAMES, 0)
        self.messages: list[AnyMessage] = []
        self.workflows: list[TaskId] = []
        self.claims: list[tuple[str, Claim]] = []
        self.model = Model(0.0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the machine's own loop."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Close every instance."""
        self.run(self.closing.aclose())
        self.runner.close()

    @initialize()
    def start(self) -> None:
        """Open a backend for each worker; the model starts at the store's time."""
        self.run(self.stage.open())
        self.hands = {name: Hand(self.run(self.stage.another()), name, self.stage.lease) for name in NAMES}
        probe = message(queue="probe")
        self.run(self.stage.put(probe))
        self.model.now = self.run(self.stage.record(probe)).created_at
        self.run(self.stage.backend.purge("probe"))
        for name in NAMES[:2]:
            self.beat(name)

    # Producers ----------------------------------------------------------------------------------------------------

    @rule(queue=_queues, priority=_priorities, count=st.integers(1, 3))
    def put(self, queue: str, priority: int, count: int) -> None:
        """Plain messages."""
        self._put(*(message(queue=queue, priority=priority) for _ in range(count)))

    @rule(queue=_queues, delay=st.sampled_from((0.0, DELAY)), key=st.sampled_from("kl"), window=st.booleans())
    def put_with_key(self, *, queue: str, delay: float, key: str, window: bool) -> None:
        """A message with a unique key, perhaps delayed, perhaps for a window."""
        self._put(message(queue=queue, delay=delay, unique_key=key, unique_for=15.009 if window else None))

    @precondition(lambda self: self.messages)
    @rule(
        queue=_queues, parents=st.lists(_picks, min_size=1, max_size=3), tolerant=st.booleans(), delayed=st.booleans()
    )
    def put_child(self, *, queue: str, parents: list[int], tolerant: bool, delayed: bool) -> None:
        """A message that waits for others."""
        known = [self._pick(pick).id for pick in parents]
        waits_on = tuple(id for id in known if id in self.model.items)
        self._put(message(queue=queue, waits_on=waits_on, tolerant=tolerant, delay=DELAY if delayed else 0.0))

    @precondition(lambda self: self.messages)
    @rule(pick=_picks)
    def put_again(self, pick: int) -> None:
        """A repeated enqueue; also of what was deleted, unless others still name the deleted one as their parent."""
        again = self._pick(pick)
        named = any(again.id in item.message.waits_on for item in self.model.items.values())
        known = again.id in self.model.items
        if known or (not named and all(parent in self.model.items for parent in again.waits_on)):
            self._put(again)

    @rule(queue=_queues, length=st.integers(1, 3))
    def put_held(self, queue: str, length: int) -> None:
        """A chain that is held."""
        end = TaskId.new()
        chain = [message(queue=queue, workflow=end, held=True)]
        for _ in range(length - 1):
            chain.append(message(queue=queue, workflow=end, held=True, waits_on=(chain[-1].id,)))
        self.workflows.append(end)
        self._put(*chain)

    @precondition(lambda self: self.workflows)
    @rule(pick=_picks)
    def start_workflow(self, pick: int) -> None:
        """Let a held chain go."""
        workflow = self.workflows[pick % len(self.workflows)]
        assert self.run(self.stage.backend.start_workflow(workflow)) == self.model.start_workflow(workflow)

    def _put(self, *messages: AnyMessage) -> None:
        assert self.run(self.stage.put(*messages)) == self.model.put(messages)
        self.messages += [item for item in messages if item not in self.messages]

    def _pick(self, pick: int) -> AnyMessage:
        return self.messages[pick % len(self.messages)]

    # Workers ------------------------------------------------------------------------------------------------------

    @rule(name=_names)
    def beat(self, name: str) -> None:
        """A sign of life."""
        self.beats[name] += 1
        orders = self.run(self.hands[name].beat())
        assert orders.registered == self.model.beat(name, self.beats[name], self.stage.lease)
        assert set(orders.cancel) == self._to_cancel(name)

    @rule(name=_names)
    def leave(self, name: str) -> None:
        """A farewell; what comes after it is a new start."""
        self.run(self.hands[name].beat(leaving=True))
        self.model.leave(name)
        self.beats[name] = 0
        self.hands[name] = Hand(self.run(self.stage.another()), name, self.stage.lease)

    @rule(name=_names, want=st.integers(0, 4), queues=_served)
    def claim(self, name: str, want: int, queues: Sequence[str] | None) -> None:
        """An exchange with nothing to settle."""
        self._exchange(name, (), want, queues)

    @rule(name=_names, kinds=st.lists(_kinds, min_size=1, max_size=4), want=st.integers(0, 4), queues=_served)
    def work(self, name: str, kinds: list[int], want: int, queues: Sequence[str] | None) -> None:
        """An exchange that settles some of what the worker holds."""
        held = {item.message.id: item.number for item in self.model.held_by(name)}
        mine = [claim for _, claim in self.claims if held.get(claim.id) == claim.number]
        self._exchange(name, [_outcome(*pair) for pair in zip(mine, kinds, strict=False)], want, queues)

    @precondition(lambda self: self.claims)
    @rule(name=_names, pick=_picks, kind=_kinds)
    def settle_again(self, name: str, pick: int, kind: int) -> None:
        """Any outcome for any claim there ever was, by its worker or by another."""
        owner, claim = self.claims[pick % len(self.claims)]
        self._exchange(owner if kind else name, [_outcome(claim, kind)], 0, ())

    @rule(name=_names, kinds=st.lists(_kinds, max_size=2), want=st.integers(1, 3), queues=_served)
    def lose_an_answer(self, name: str, kinds: list[int], want: int, queues: Sequence[str] | None) -> None:
        """An exchange whose answer is lost, repeated with what the worker knows it holds."""
        held = {item.message.id: item.number for item in self.model.held_by(name)}
        mine = [claim for _, claim in self.claims if held.get(claim.id) == claim.number]
        outcomes = [_outcome(*pair) for pair in zip(mine, kinds, strict=False)]
        self._exchange(name, outcomes, want, queues)
        self._exchange(name, outcomes, want, queues, known=set(held) - {outcome.id for outcome in outcomes})

    def _exchange(
        self,
        name: str,
        outcomes: Sequence[Outcome],
        want: int,
        queues: Sequence[str] | None,
        *,
        known: set[TaskId] | None = None,
    ) -> None:
        last_words = [Report(one.id, one.number, b"so far", one.locator) for one in outcomes[::2]]
        work = self.hands[name].exchange(*outcomes, want=want, queues=queues, reports=last_words, held=known)
        answer = self.run(work)
        assert len(answer.settled) == len(outcomes)
        for outcome, settled in zip(outcomes, answer.settled, strict=True):
            assert settled in self.model.settle(name, outcome)
        self.model.promote()
        self._take(name, answer, want, queues, known)
        assert set(answer.orders.cancel) == self._to_cancel(name)

    def _take(
        self, name: str, answer: Exchange, want: int, queues: Sequence[str] | None, known: set[TaskId] | None
    ) -> None:
        """Check and note the claims of an answer."""
        assert answer.orders.registered == (name in self.model.workers)
        if not answer.orders.registered:
            assert answer.claims == []
            return
        held = {item.message.id: item.number for item in self.model.held_by(name)}
        fresh = [claim for claim in answer.claims if claim.id not in held]
        orphans = {claim.id: claim.number for claim in answer.claims if claim.id in held}
        assert orphans == ({} if known is None else {id: held[id] for id in held if id not in known})
        self.model.claim(name, fresh, want, queues)
        self.claims += [(name, claim) for claim in fresh]

    def _to_cancel(self, name: str) -> set[TaskId]:
        return {item.message.id for item in self.model.held_by(name) if item.cancelling and name in self.model.workers}

    # Time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(STEPS))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.run(self._advance(seconds))
        self.model.advance(seconds)

    async def _advance(self, seconds: float) -> None:
        await self.bench.advance(seconds)

    @rule()
    def sweep(self) -> None:
        """One sweep."""
        self.run(self.stage.sweep())
        self.model.sweep()

    @rule(alive=_names)
    def all_but_one_die(self, alive: str) -> None:
        """A whole lease passes, in which one worker alone gives signs of life."""
        for seconds in (21.023, 15.037):
            self.advance(seconds)
            self.beat(alive)
            self.sweep()

    # Operators ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.messages)
    @rule(pick=_picks)
    def cancel(self, pick: int) -> None:
        """Cancel any message."""
        id = self._pick(pick).id
        assert self.run(self.stage.backend.cancel((id,))) == [self.model.cancel(id)]

    @precondition(lambda self: self.messages)
    @rule(pick=_picks)
    def requeue(self, pick: int) -> None:
        """Requeue any message, where that is allowed."""
        id = self._pick(pick).id
        expected = self.model.requeue(id)
        try:
            done = self.run(self.stage.backend.requeue((id,)))
        except TransitionError:
            assert expected == "transition"
        except DuplicateTaskError:
            assert expected == "duplicate"
        else:
            assert (done, expected) in (([True], "done"), ([False], "unknown"))

    @rule(queue=_queues)
    def pause(self, queue: str) -> None:
        """Pause a queue."""
        self.run(self.stage.backend.pause(queue))
        self.model.paused.add(queue)

    @precondition(lambda self: self.model.paused)
    @rule()
    def resume(self) -> None:
        """Resume all queues."""
        for queue in QUEUES:
            self.run(self.stage.backend.resume(queue))
        self.model.paused.clear()

    @rule(queue=_queues)
    def purge(self, queue: str) -> None:
        """Delete what waits in a queue."""
        assert self.run(self.stage.backend.purge(queue)) == self.model.purge(queue)

    @precondition(lambda self: self.messages)
    @rule(pick=_picks)
    def delete(self, pick: int) -> None:
        """Delete any message, where that is allowed."""
        id = self._pick(pick).id
        assert self.run(self.stage.backend.delete((id,))) == self.model.delete(id)

    # What must hold after each step -------------------------------------------------------------------------------

    @invariant()
    def records_agree(self) -> None:
        """Every message stands where the model says."""
        records = self.run(self.stage.backend.get([item.id for item in self.messages])) if self.messages else []
        for put, record in zip(self.messages, records, strict=True):
            item = self.model.items.get(put.id)
            assert (record is None) == (item is None)
            if record is not None and item is not None:
                self._agrees(record, item)

    def _agrees(self, record: Record, item: Item) -> None:
        assert (record.status, record.attempts, record.losses) == (item.status, item.attempts, item.losses)
        assert record.cancelling == item.cancelling
        assert record.worker == item.holder or record.status is not TaskStatus.RUNNING
        if not record.status.finished:
            assert record.waiting_on == len(item.waiting)
        if record.status is TaskStatus.RETRY:
            assert record.run_at is not None
            assert item.run_at is not None
            assert abs(record.run_at - item.run_at) < 0.01

    @invariant()
    def counts_agree(self) -> None:
        """The counts add up to the messages, queue by queue, status by status."""
        counted = {
            (counts.queue, status): count
            for counts in self.run(self.stage.backend.counts())
            for status, count in counts.by_status.items()
            if count
        }
        expected: dict[tuple[str, TaskStatus], int] = {}
        for item in self.model.items.values():
            key = item.message.queue, item.status
            expected[key] = expected.get(key, 0) + 1
        assert counted == expected

    @invariant()
    def workers_agree(self) -> None:
        """The same workers are registered, with as many claims each."""
        workers = self.run(self.stage.backend.workers())
        assert {worker.beat.worker: (worker.claims, worker.suspected) for worker in workers} == {
            name: (len(self.model.held_by(name)), worker.suspected_at is not None)
            for name, worker in self.model.workers.items()
        }


def conformance_machine(make_bench: Callable[[], Bench], *, examples: int = 60) -> type[Any]:
    """A test case for pytest or unittest to collect; assign it to a name of your test module.

    `make_bench` gives a fresh bench for each of the `examples`. A loaded Hypothesis profile that asks for more examples
    than Hypothesis does by itself is followed instead: `settings.register_profile("thorough", max_examples=2000)`.
    """

    class Machine(BackendMachine):
        """The rules, on this author's bench."""

        new_bench = staticmethod(make_bench)

    profile = settings.get_profile(settings.get_current_profile_name())
    case: type[Any] = Machine.TestCase
    case.settings = settings(
        max_examples=profile.max_examples if profile.max_examples > _HYPOTHESIS_EXAMPLES else examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return case
