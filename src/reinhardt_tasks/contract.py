"""THE DOOR to where messages live: `TaskBackend`, the few verbs every backend implements, each one atomic step.

A new backend implements the abstract verbs and passes `reinhardt_tasks.testing.conformance`. Times are Unix seconds by
the broker's clock, durations seconds. One instance serves one event loop; `sibling()` makes another for another loop.
Every verb may raise BackendUnavailableError (nothing is known about what happened: repeat it, all verbs allow that) and
BackendError; `put` also BackendFullError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Self

from reinhardt_tasks.errors import BackendError, BackendTaskNotFoundError, LeaseLostError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Claim,
    Exchange,
    Guard,
    Lock,
    Orders,
    Outcome,
    OutcomeKind,
    Put,
    QueueCounts,
    Record,
    Report,
    ScheduleRecord,
    Settled,
    Swept,
    WorkerRecord,
)
from reinhardt_tasks.status import TaskStatus, check_transition

MAX_BATCH = 500
"""The most messages one atomic step handles; callers chunk."""
MAX_PAGE = 200
"""The most records one `find` answers, whatever its limit."""
HELD_TTL = 3600.0
"""Seconds after which a message still held is cancelled: whoever put its workflow died before `start_workflow`."""
SUSPECT_PATIENCE = 5.0
"""Seconds a message that lost a worker waits in line before a worker is emptied for it."""


class TaskBackend(ABC):
    """Where messages live. See the module's docstring for what holds for every verb."""

    name: ClassVar[str]
    """The backend's name in errors and listings, e.g. "sqlite"."""

    remote: ClassVar[bool] = False
    """Whether another process serves an exchange, so that a worker gains by running tasks meanwhile."""

    _consumer: Consumer | None = None

    # Life cycle ---------------------------------------------------------------------------------------------------

    @abstractmethod
    async def open(self) -> None:
        """Connect and check that the other side can keep the promises. Opening an open backend does nothing.

        Raises ConfigurationError (a setting that loses messages, a place that does not exist), SchemaError (another
        version's data) or BackendUnavailableError.
        """

    async def close(self) -> None:
        """Let go of every connection and thread. Closing twice does nothing; a closed backend may be opened again.

        Implementations call `super().close()` first, which gives back what `dequeue` still holds.
        """
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    @abstractmethod
    def sibling(self) -> TaskBackend:
        """Another, not yet opened instance on the same messages, for another event loop or thread."""

    @abstractmethod
    async def check(self) -> Mapping[str, str]:
        """What an operator should know: versions, durability, sizes; keys starting with "warning" ask for action."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Producers ----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """Store the messages, all or none, in order; answer per message which id stands for it.

        An id that is already known, or a unique key that another message of the same task name holds, stores nothing
        and answers that message's id with `created=False`; so does a repeat within the call. A `guard` that does not
        match (or names no stored schedule) stores nothing at all and answers each message's own id with
        `created=False`; one that matches moves the schedule on, also when its message is a duplicate.
        A parent in `waits_on` that is not stored, here or earlier in the call, is a QueueError; one that already
        succeeded is not waited for; one that failed or was cancelled cancels the message at once, with reason
        `parent_failed` (unless `tolerant`). More than MAX_BATCH messages are a ValueError. `connection` is the caller's
        own database transaction, where the backend can join it; otherwise UnsupportedError.
        """

    @abstractmethod
    async def start_workflow(self, workflow: TaskId) -> bool:
        """Release every held message of `workflow`, in one step. False when none was held. May be repeated."""

    # Workers ------------------------------------------------------------------------------------------------------

    @abstractmethod
    async def beat(self, beat: Beat) -> Orders:
        """Register the worker or renew its lease; store its reports of progress; bring back orders.

        `registered=False` in the answer says that the worker had been given up: its claims are no longer its own
        (this beat has registered it anew). The beat of an unknown worker says so unless it is its number 1. A beat that
        is `leaving` takes the worker off the list; what it still holds goes back to its place in line, no loss counted.
        """

    @abstractmethod
    async def exchange(
        self,
        worker: str,
        outcomes: Sequence[Outcome],
        *,
        want: int,
        queues: Sequence[str] | None,
        sequence: int,
        reports: Sequence[Report] = (),
        held: Collection[TaskId] | None = None,
    ) -> Exchange:
        """Settle `outcomes`, promote what is due (at most MAX_BATCH), claim up to `want` messages: one atomic step.

        Claims come in order of priority (9 first), then by the order `queues` lists their queues, then first in first
        out. `queues=None` serves every queue, first in first out across them within a priority; an empty sequence
        serves none. A message's place in line is given when it becomes ready (put, due, last parent finished,
        requeued) and kept through a rescue and a release without delay. A claim clears the progress of the run before.

        A message that lost a worker before (`losses >= 1`) is given only alone, to a worker that holds nothing else,
        and such a worker is given nothing beside it; when one has been waiting for SUSPECT_PATIENCE, one worker that
        asks is given nothing more until it holds nothing, and then that message.

        Each outcome is fenced by (worker, number): SETTLED, ALREADY (the same token settled it before) or LOST. An
        outcome the store refuses (a data error) becomes a failure; the others are not held up by it. RETRY and FAILURE
        count one of `attempts`, the others none. Finishing a message counts down, and at zero readies, those that wait
        for it, in the same step; a failure or cancellation cancels them, with reason `parent_failed`, and what waits
        for those in turn (up to MAX_BATCH here, `sweep` does the rest, and none of them is claimed meanwhile).

        A worker that is not registered (never beat, or was given up) is given no claims and told so in the orders.
        `sequence` rises with every call of a worker: a backend whose calls can overtake each other drops an older one.
        After an unknown outcome the worker repeats the call with `held` (the ids it knows it holds): the claims then
        also contain every other message under its name, so that a lost answer orphans nothing.
        """

    @abstractmethod
    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """Return True when something may be claimable from `queues` or an order for `worker` may have come.

        False after `timeout` seconds in which nothing happened: the caller may wait again without an exchange, though
        not for long. Or False earlier, when the next delayed message falls due: then the caller exchanges. Pushed by
        the broker; may return early, never late by more than the broker's push.
        Only what happens after the call of the last `exchange` counts: a wake-up between the two is not lost.
        """

    @abstractmethod
    async def sweep(self) -> Swept:
        """Rescue the dead workers' messages, promote what is due, cancel what depends on failures, expire results.

        Bounded (MAX_BATCH of each), idempotent, called by any worker every few seconds. A worker is suspected when
        its last beat is two thirds of its lease old, and given up when the same beat still stands 1.1 beat intervals
        (a third of the lease each) later and a whole lease has passed. Each of its claims goes back with one more
        loss, keeping its place in line, or, at `max_losses`, becomes a dead letter with reason `poison`.

        A result is dropped `result_ttl` seconds after its message finished (later where its workflow still runs). The
        record is forgotten when its result is dropped, its unique key free and TOMBSTONE_TTL over; DEAD_LETTER_TTL
        where it failed or was cancelled. Messages held for HELD_TTL are cancelled.
        """

    # Reading ------------------------------------------------------------------------------------------------------

    @abstractmethod
    async def get(self, ids: Sequence[TaskId], *, body: bool = False) -> list[Record | None]:
        """The records of `ids`, in order, None for an unknown one; with the sealed envelope where `body`."""

    @abstractmethod
    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        queue: str | None = None,
        task: str | None = None,
        workflow: TaskId | None = None,
        before: TaskId | None = None,
        limit: int = 50,
    ) -> list[Record]:
        """Records that match, newest id first, at most `limit` and MAX_PAGE, continuing below the id `before`."""

    @abstractmethod
    async def counts(self) -> list[QueueCounts]:
        """How many messages stand where, per queue that has any or is paused, ordered by name."""

    @abstractmethod
    async def workers(self) -> list[WorkerRecord]:
        """The registered workers, ordered by id."""

    @abstractmethod
    async def wait_result(self, task_id: TaskId, timeout: float | None) -> Record | None:
        """The record once the message is finished; None after `timeout` seconds (None: waits for ever). Pushed.

        Raises BackendTaskNotFoundError when the message is unknown, or deleted meanwhile.
        """

    # Operators ----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def cancel(self, ids: Sequence[TaskId], *, error: bytes = b"") -> list[TaskStatus | None]:
        """Cancel what is not finished: at once where it does not run, by an order to its worker where it does.

        Answers the status after the step, None for an unknown id. A cancelled message cancels what waits for it. A run
        that succeeds or fails before it heeds the order ends so; one that would run again (retry, release, rescue) ends
        as cancelled. `error` is the encoded ErrorRecord kept with it.
        """

    @abstractmethod
    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """Put failed or cancelled messages back in line, due now, counters at zero.

        The dependents they cancelled are revived too, except where one also waits for another that stands failed or
        cancelled. False for an unknown id.

        Raises, with nothing done, TransitionError when one is not failed or cancelled, or waits for another that is
        and does not come back with it; DuplicateTaskError when another message holds a unique key by now.
        """

    @abstractmethod
    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """An operator's guarded move to a status, with the result or error that goes with it.

        Raises BackendTaskNotFoundError, or TransitionError when the table of transitions forbids it; RUNNING is never
        an operator's to give (use a claim). A move of a running message ends its claim, whose outcome is then LOST;
        one to PENDING from a finished status is a `requeue`.
        """

    @abstractmethod
    async def pause(self, queue: str) -> None:
        """Give out nothing more from `queue` (it need not exist yet); what runs goes on."""

    @abstractmethod
    async def resume(self, queue: str) -> None:
        """Give out messages of `queue` again."""

    @abstractmethod
    async def drain(self, worker: str) -> bool:
        """Order a worker to finish what it holds and stop; it is given no more. False when it is not registered."""

    @abstractmethod
    async def purge(
        self, queue: str, *, statuses: Collection[TaskStatus] = (TaskStatus.PENDING, TaskStatus.RETRY)
    ) -> int:
        """Delete the queue's messages in `statuses` (never running ones); those that wait for them are cancelled."""

    @abstractmethod
    async def delete(self, ids: Sequence[TaskId]) -> int:
        """Forget finished messages wholly; the number deleted. Unfinished ones are left alone."""

    # Schedules and locks ------------------------------------------------------------------------------------------

    @abstractmethod
    async def save_schedule(self, schedule: ScheduleRecord) -> ScheduleRecord:
        """Store or replace by name, keeping `last_due` where the argument has None; answers it with its new version."""

    @abstractmethod
    async def load_schedules(self) -> list[ScheduleRecord]:
        """All stored schedules, ordered by name."""

    @abstractmethod
    async def remove_schedule(self, name: str) -> bool:
        """Forget a schedule. False when there was none."""

    @abstractmethod
    async def watch_schedules(self, seen: int, timeout: float) -> int:
        """Return the store's change counter as soon as it differs from `seen`, or after `timeout` seconds. Pushed."""

    @abstractmethod
    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """Take the lock for `ttl` seconds; None while another token holds it. The holder's own call extends it."""

    @abstractmethod
    async def extend_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        """Hold it `ttl` seconds from now; None when the token no longer holds it."""

    @abstractmethod
    async def release_lock(self, name: str, token: str) -> bool:
        """Let go. False when the token no longer holds it."""

    # The single-message doors -------------------------------------------------------------------------------------

    async def enqueue(self, message: AnyMessage) -> Put:
        """`put` of one message."""
        return (await self.put((message,)))[0]

    async def dequeue(self, queues: Sequence[str] | None = None, *, timeout: float = 0.0) -> Claim | None:
        """Claim the next message, waiting up to `timeout` seconds for one; None when none came.

        The first call registers this instance as a worker, whose lease is kept alive until `close`. End the claim with
        `update_status`.
        """
        if self._consumer is None:
            self._consumer = Consumer(self)
        return await self._consumer.dequeue(queues, timeout)

    async def update_status(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """End a claim made by `dequeue` (fenced: LeaseLostError when it is no longer ours), else `move` the message."""
        if self._consumer is None or not await self._consumer.settle(task_id, status, payload):
            await self.move(task_id, status, payload=payload)

    async def get_status(self, task_id: TaskId) -> TaskStatus:
        """The status of one message. Raises BackendTaskNotFoundError."""
        record = (await self.get((task_id,)))[0]
        if record is None:
            raise BackendTaskNotFoundError(task_id=str(task_id))
        return record.status


_KINDS = {
    TaskStatus.SUCCESS: OutcomeKind.SUCCESS,
    TaskStatus.FAILURE: OutcomeKind.FAILURE,
    TaskStatus.RETRY: OutcomeKind.RETRY,
    TaskStatus.PENDING: OutcomeKind.RELEASE,
    TaskStatus.CANCELLED: OutcomeKind.CANCELLED,
}


class Consumer:
    """The worker behind `dequeue`: one registration, one beat for all its claims."""

    def __init__(self, backend: TaskBackend, *, lease: float = 30.0) -> None:
        self._backend = backend
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{TaskId.new()}"
        self._lease = lease
        self._started_at = time.time()
        self._held: dict[TaskId, Claim] = {}
        self._asking = asyncio.Lock()
        self._unsure = False
        self._sequence = 0
        self._beats = 0
        self._beating: asyncio.Task[None] | None = None

    async def dequeue(self, queues: Sequence[str] | None, timeout: float) -> Claim | None:
        """See TaskBackend.dequeue."""
        await self._start()
        deadline = time.monotonic() + timeout
        while True:
            claim = await self._claim(queues)
            if claim is not None:
                return claim
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            await self._backend.wait(self._worker, queues, left)

    async def settle(self, task_id: TaskId, status: TaskStatus, payload: bytes) -> bool:
        """Settle the claim held for `task_id`; False when none is. Raises LeaseLostError, TransitionError."""
        claim = self._held.get(task_id)
        if claim is None:
            return False
        check_transition(TaskStatus.RUNNING, status, task_id=str(task_id))
        outcome = Outcome(claim.id, claim.number, _KINDS[status], payload, locator=claim.locator)
        answer = await self._exchange((outcome,), 0, ())
        del self._held[task_id]
        if answer.settled[0] is Settled.LOST:
            raise LeaseLostError(task_id=str(task_id))
        return True

    async def close(self) -> None:
        """Leave: what is held goes back at once, or, when the backend is away, once the lease has run out."""
        self._held.clear()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            with contextlib.suppress(BackendError):
                await self._beat(leaving=True)

    async def _claim(self, queues: Sequence[str] | None) -> Claim | None:
        """Ask once for a message; one caller at a time, so that what nobody knows of can be told from what is asked."""
        async with self._asking:
            if self._unsure:
                await self._give_back_unknown()
            self._unsure = True  # until the answer is here, whatever interrupts the call
            claims = (await self._exchange((), 1, queues)).claims
            self._unsure = False
            self._held.update((claim.id, claim) for claim in claims)
        return claims[0] if claims else None

    async def _give_back_unknown(self) -> None:
        """Release what an answer gave that never came."""
        unknown = (await self._exchange((), 0, (), held=set(self._held))).claims
        if unknown:
            await self._exchange([Outcome.release(claim) for claim in unknown], 0, ())

    async def _exchange(
        self,
        outcomes: Sequence[Outcome],
        want: int,
        queues: Sequence[str] | None,
        held: Collection[TaskId] | None = None,
    ) -> Exchange:
        self._sequence += 1
        answer = await self._backend.exchange(
            self._worker, outcomes, want=want, queues=queues, sequence=self._sequence, held=held
        )
        if not answer.orders.registered:
            await self._beat()
        return answer

    async def _start(self) -> None:
        if self._beating is None:
            await self._beat()
            self._beating = asyncio.create_task(self._keep_beating())

    async def _beat(self, *, leaving: bool = False) -> None:
        self._beats += 1
        await self._backend.beat(
            Beat(
                worker=self._worker,
                number=self._beats,
                name="dequeue",
                host=socket.gethostname(),
                pid=os.getpid(),
                lease=self._lease,
                running=len(self._held),
                started_at=self._started_at,
                leaving=leaving,
            )
        )

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            with contextlib.suppress(BackendError):  # the next beat tries again; the fence decides what was lost
                await self._beat()
