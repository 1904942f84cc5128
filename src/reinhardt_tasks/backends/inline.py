"""Backends that end a message inside the call that stores it: the memory backend, and a run at once."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.errors import UnsupportedError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import (
    AnyMessage,
    Beat,
    Claim,
    Exchange,
    Guard,
    Orders,
    Outcome,
    OutcomeKind,
    Put,
    Report,
    WorkerRecord,
)
from reinhardt_tasks.status import TaskStatus


class InlineBackend(MemoryBackend):
    """Runs each message, and what it releases, before `put` returns; claims, settles and statuses are the real ones.

    Delays and moments are noted, and not waited for. A message put by a running task is run inside that `put`. What is
    held or stands in a paused queue is run by `start_workflow` and `resume`. There is nothing for a worker to do: its
    verbs raise UnsupportedError.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock, patient=False)
        self._worker = f"{self.name}:{TaskId.new()}"

    @abstractmethod
    async def _run(self, claim: Claim) -> Outcome:
        """How the run of one message ends."""

    @abstractmethod
    def _check_ready(self) -> None:
        """Raise unless messages can be run."""

    # What may have made messages ready ----------------------------------------------------------------------------

    async def put(
        self, messages: Sequence[AnyMessage], *, guard: Guard | None = None, connection: object = None
    ) -> list[Put]:
        """See TaskBackend.put. Returns when the messages it created are finished, where nothing else holds them up."""
        self._check_ready()
        puts = await super().put(messages, guard=guard, connection=connection)
        await self._run_all([put.id for put in puts if put.created])
        return puts

    async def start_workflow(self, workflow: TaskId) -> bool:
        """See TaskBackend.start_workflow."""
        self._check_ready()
        started = await super().start_workflow(workflow)
        await self._run_all([workflow])
        return started

    async def requeue(self, ids: Sequence[TaskId]) -> list[bool]:
        """See TaskBackend.requeue."""
        self._check_ready()
        answer = await super().requeue(ids)
        await self._run_all(ids)
        return answer

    async def move(self, task_id: TaskId, status: TaskStatus, *, payload: bytes = b"") -> None:
        """See TaskBackend.move."""
        self._check_ready()
        await super().move(task_id, status, payload=payload)
        await self._run_all([task_id])

    async def resume(self, queue: str) -> None:
        """See TaskBackend.resume."""
        self._check_ready()
        await super().resume(queue)
        await self._run_all([])

    # Running ------------------------------------------------------------------------------------------------------

    async def _run_all(self, ids: Sequence[TaskId]) -> None:
        """Run what is ready, and wait for those of `ids` that another coroutine or thread happens to run."""
        await super().beat(Beat(worker=self._worker, number=1, name=self.name, lease=math.inf))
        await self._run_ready()
        while await self._runs_elsewhere(ids):
            await self._run_ready()

    async def _run_ready(self) -> None:
        settled: tuple[Outcome, ...] = ()
        while True:
            answer = await super().exchange(self._worker, settled, want=1, queues=None, sequence=0)
            if not answer.claims:
                return
            outcome = await self._end_of(answer.claims[0])
            settled = (outcome,)
            if outcome.kind is OutcomeKind.RELEASE and not outcome.unknown:
                await super().exchange(self._worker, settled, want=0, queues=(), sequence=0)
                return  # it would be claimed again at once, for ever

    async def _end_of(self, claim: Claim) -> Outcome:
        try:
            return await self._run(claim)
        except BaseException:  # the caller was cancelled, or the runner is broken: the message is not lost with it
            await super().exchange(self._worker, (Outcome.release(claim),), want=0, queues=(), sequence=0)
            raise

    async def _runs_elsewhere(self, ids: Sequence[TaskId]) -> bool:
        """Wait until something changes about a message of `ids` that runs; False when none does."""
        bell, known = self._store.bell, self._store.messages.known
        with self._store.step():
            running = [id for id in ids if id in known and known[id].status is TaskStatus.RUNNING]
            if not running:
                return False
            sleeper = bell.listen("queues", ("message", running[0]))
        try:
            return await sleeper.woken(None)
        finally:
            with self._store.step():
                bell.leave(sleeper)

    # Workers ------------------------------------------------------------------------------------------------------

    async def workers(self) -> list[WorkerRecord]:
        """None: messages are run where they are put."""
        return []

    async def beat(self, beat: Beat) -> Orders:
        """Raises UnsupportedError."""
        self._refuse_workers()

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
        """Raises UnsupportedError."""
        self._refuse_workers()

    async def wait(self, worker: str, queues: Sequence[str] | None, timeout: float) -> bool:
        """Raises UnsupportedError."""
        self._refuse_workers()

    async def drain(self, worker: str) -> bool:
        """Raises UnsupportedError."""
        self._refuse_workers()

    def _refuse_workers(self) -> NoReturn:
        raise UnsupportedError(
            f"{self.name}:// needs no worker: what is enqueued has ended when `enqueue` returns. "
            "Use memory:// or sqlite:/// where a worker is to run it.",
            option="a worker",
            backend=self.name,
            instead="memory://",
        )
