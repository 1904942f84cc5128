"""The hot loop: settle what ended and claim what is next, in one call of the backend, again and again.

Three coroutines share one state. `keep_exchanging` calls the backend when there is something to settle or to claim;
`keep_listening` waits for the broker to say that there is something new; `Slots` run the claims. An exchange whose
answer is lost is repeated with what is held, so that nothing is settled twice and no claim is orphaned.

While all slots are taken, what holds workflows together is still claimed, and run beside them: a time limit is kept
though the very tasks that it is for hold every slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendError, BackendUnavailableError, LeaseLostError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Exchange, Orders, Outcome, OutcomeKind, Report, Settled
from reinhardt_tasks.names import OWN_QUEUE
from reinhardt_tasks.worker.patience import backoff
from reinhardt_tasks.worker.prefetch import Allowance
from reinhardt_tasks.worker.slots import Slots

log = logging.getLogger("reinhardt_tasks.worker")

_FLUSH_AFTER: Final = 0.02
"""Seconds an outcome waits at most for others to be settled with."""
_LOOK_EVERY: Final = 5.0
"""Seconds after which an exchange is made though nothing is heard: whoever was woken before may have died of it."""
_OWN: Final = (OWN_QUEUE,)
_UNREGISTERED: Final = 0.2
"""Seconds between two looks while the worker is not registered: its next beat will change that, no look can."""


class Exchanger:
    """Keeps the slots of worker `worker` fed from `queues` (None: all) and settles what they finish.

    OWN_QUEUE is served besides, whatever `queues` says.
    """

    def __init__(
        self,
        backend: TaskBackend,
        slots: Slots,
        *,
        worker: str,
        queues: Sequence[str] | None,
        poll_interval: float,
        prefetch: int | None,
        reports: Callable[[], Sequence[Report]],
        on_orders: Callable[[Orders], None],
    ) -> None:
        self._backend = backend
        self._slots = slots
        self._worker = worker
        self._queues = None if queues is None else (OWN_QUEUE, *(queue for queue in queues if queue != OWN_QUEUE))
        self._poll_interval = poll_interval
        self._reports = reports
        self._on_orders = on_orders
        self._allowance = Allowance(prefetch, slots=slots.size, now=time.monotonic())
        self._outcomes: list[Outcome] = []
        self._sending: list[Outcome] = []
        self._untold: dict[tuple[TaskId, int], Report] = {}
        self._finished = 0
        self._enough = self._share()
        self._sequence = 0
        self._exchanged_at = 0.0
        self._claimable = True
        self._looking = True
        self._unsure = False
        self._registered = True
        self._flush = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self._kick = asyncio.Event()
        self._answered = asyncio.Event()
        self._wait: asyncio.Task[bool] | None = None
        self.claiming = True
        """Whether new messages are claimed; cleared to stop, or while the lease is in doubt."""
        self.ended = 0
        """How many messages ended here, whatever the fence said to their outcomes."""
        self.idle = asyncio.Event()
        """Set while the last exchange brought nothing and nothing is held."""

    # What others tell ------------------------------------------------------------------------------------------------

    def add(self, outcome: Outcome) -> None:
        """An outcome to settle: at once when nothing else is in line, else together with the next ones."""
        self._outcomes.append(outcome)
        self._finished += 1
        self.ended += 1
        if not self._slots.waiting:
            self._kick.set()
        elif len(self._outcomes) == self._enough:
            self._kick.set()
            self._slots.end_turn()
        elif self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Exchange now, whatever is in line: outcomes, progress to report, orders to fetch."""
        self._cancel_timer()
        self._flush = True
        self._kick.set()

    def give_back(self) -> None:
        """Give back what no slot has started, and fetch nothing ahead until tasks turn out to be quick again."""
        self._outcomes.extend(Outcome.release(claim) for claim in self._slots.take_back())
        self._allowance.forget()
        self.flush()

    def stop_claiming(self) -> None:
        """Claim nothing more, and give back what no slot has started."""
        self.claiming = False
        self.give_back()

    def claim_again(self) -> None:
        """Go on claiming."""
        self.claiming = self._claimable = True
        self.flush()

    # The loops -------------------------------------------------------------------------------------------------------

    async def keep_exchanging(self) -> None:
        """Exchange whenever that is due, until cancelled."""
        failures = 0
        while True:
            if not self._due():
                self._kick.clear()
                await self._kick.wait()
                continue
            try:
                await self.exchange()
                failures = 0
            except BackendError as error:
                failures += 1
                self._answered.set()
                self._log_failure(error, failures)
                await asyncio.sleep(backoff(failures))

    async def keep_listening(self) -> None:
        """Learn from the broker when something may be claimable, or an order came, until cancelled."""
        failures = 0
        while True:
            self._looking = not self._claimable
            queues = self._queues if self._looking else _OWN
            began = time.monotonic()
            self._wait = asyncio.ensure_future(self._backend.wait(self._worker, queues, self._poll_interval))
            try:
                woken = await self._wait
                failures = 0
            except asyncio.CancelledError:
                if _being_cancelled():
                    raise
                continue
            except BackendError:
                failures += 1
                woken = True
                await asyncio.sleep(backoff(failures))
            if woken or self._is_to_look(began):
                await self._look()
            if not self._registered:
                await asyncio.sleep(_UNREGISTERED)

    def _is_to_look(self, began: float) -> bool:
        """Whether to look after a wait in vain: not when it lasted its full time, as the next one sees what it missed.

        One that ended sooner says that something falls due; should it be due just now, the next one ends at once.
        """
        now = time.monotonic()
        is_cut_short = now - began < 0.9 * self._poll_interval
        return is_cut_short or not self._registered or now - self._exchanged_at >= _LOOK_EVERY

    async def _look(self) -> None:
        """Have the exchange loop look, and wait until it has."""
        self._claimable = True
        self._flush = True
        self._answered.clear()
        self._kick.set()
        await self._answered.wait()

    async def exchange(self) -> None:
        """One exchange with the backend. After an error what it told is kept and the next call asks for the truth."""
        self._flush = False
        self._exchanged_at = time.monotonic()
        outcomes = self._sending = self._batch()
        want = self._want()
        beside = not want and self._has_room_beside()
        finished, self._finished = self._finished, 0
        busy = self._slots.held > 0 or bool(outcomes)
        self._allowance.measure(finished, time.monotonic(), busy=busy)
        self._enough = self._share()
        self._sequence += 1
        self._untold.update(((report.id, report.number), report) for report in self._reports())
        with self._slots.expecting() if self._backend.remote else contextlib.nullcontext():
            answer = await self._answer(outcomes, want or int(beside), self._queues if want else _OWN if beside else ())
        self._unsure = False
        self._sending = []
        self._untold.clear()
        self._accept(answer, outcomes, want, feed=self._slots.run_beside if beside else self._slots.feed)

    async def _answer(self, outcomes: Sequence[Outcome], want: int, queues: Sequence[str] | None) -> Exchange:
        """What the backend says. Until that is here this worker is unsure of what it holds."""
        held = self.held_ids() if self._unsure else None
        self._unsure = True
        return await self._backend.exchange(
            self._worker,
            outcomes,
            want=want,
            queues=queues,
            sequence=self._sequence,
            reports=tuple(self._untold.values()),
            held=held,
        )

    def held_ids(self) -> set[TaskId]:
        """Every message this worker knows to be under its name when what is being sent is settled.

        One of those that is still under its name then has been given to it anew, in an answer that was lost.
        """
        ids = {outcome.id for outcome in self._outcomes}
        ids.update(claim.id for claim in self._slots.waiting)
        ids.update(self._slots.running_ids())
        return ids

    # Decisions -------------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Whether an exchange is worth its round trip now. One that failed is repeated, whatever stands in line."""
        if self._flush or self._unsure:
            return True
        if self._slots.waiting:
            return len(self._outcomes) >= self._enough
        return bool(self._outcomes) or (self._claimable and self._want() > 0)

    def _share(self) -> int:
        """How many outcomes are worth an exchange while more messages stand in line.

        A third of what may be held: where another process serves the exchange, that works on one third while this one
        runs the next, and has the last in line. Where this one does (SQLite), both would only fight for the
        interpreter, so the line is emptied first.
        """
        most = self._slots.size + self._allowance.size
        return max(1, most // 3) if self._backend.remote else MAX_BATCH

    def _want(self) -> int:
        if not self.claiming:
            return 0
        return max(0, min(MAX_BATCH, self._slots.size + self._allowance.size - self._slots.held))

    def _has_room_beside(self) -> bool:
        """Whether to ask for a message of OWN_QUEUE while no slot is free. Not while others may come with it."""
        return self.claiming and not self._unsure and not self._slots.beside

    def _batch(self) -> list[Outcome]:
        """The outcomes to send: those whose fate is unknown first, at most MAX_BATCH."""
        waiting = self._sending + self._outcomes
        self._outcomes = waiting[MAX_BATCH:]
        return waiting[:MAX_BATCH]

    # What the answer means ------------------------------------------------------------------------------------------

    def _accept(
        self, answer: Exchange, outcomes: Sequence[Outcome], want: int, *, feed: Callable[[Sequence[Claim]], None]
    ) -> None:
        claims = answer.claims
        if Settled.LOST in answer.settled:
            self._log_lost(outcomes, answer.settled)
        if want:
            self._claimable = len(claims) >= want
        if claims and self.claiming:
            feed(claims)
        else:
            self._outcomes.extend(Outcome.release(claim) for claim in claims)
        self._registered = answer.orders.registered
        self._on_orders(answer.orders)
        self._relisten()
        self._answered.set()
        if want and not claims and not self._slots.held and not self._outcomes:
            self.idle.set()
        else:
            self.idle.clear()

    def _relisten(self) -> None:
        """Make the listener wait for the right thing: for messages only while none is known to be there."""
        if self._wait is not None and self._looking is self._claimable:
            self._wait.cancel()

    @staticmethod
    def _log_lost(outcomes: Sequence[Outcome], settled: Sequence[Settled]) -> None:
        """Once for each run that was in vain; what was only given back is no loss."""
        for outcome, answer in zip(outcomes, settled, strict=True):
            if answer is Settled.LOST and outcome.kind is not OutcomeKind.RELEASE:
                log.warning("lease_lost %s", LeaseLostError(task_id=str(outcome.id)))

    @property
    def unsettled(self) -> int:
        """How many outcomes the backend has not confirmed yet."""
        return len(self._sending) + len(self._outcomes)

    @staticmethod
    def _log_failure(error: BackendError, failures: int) -> None:
        kind = "broker_unavailable" if isinstance(error, BackendUnavailableError) else "exchange_failed"
        log.warning("%s failures=%d error=%s", kind, failures, error)

    async def close(self) -> None:
        """Forget the timer and the wait."""
        self._cancel_timer()
        if self._wait is not None:
            self._wait.cancel()
            await asyncio.gather(self._wait, return_exceptions=True)

    def _cancel_timer(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None


def _being_cancelled() -> bool:
    """Whether it is the current coroutine that is cancelled, not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
