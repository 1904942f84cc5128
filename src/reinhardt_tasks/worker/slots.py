"""Where claimed messages run: long-lived coroutines that take the next claim as soon as they have ended the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Final

from reinhardt_tasks.failure import judge
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Outcome
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.run import forget_cancel, own_task
from reinhardt_tasks.runner import Runner

log = logging.getLogger("reinhardt_tasks.worker")

_TURN: Final = 0.004
"""Seconds of uninterrupted work after which the slots let the event loop look after everything else."""
_SHORT_TURN: Final = 0.0005
_ROUNDS: Final = 3
"""The same while an answer is expected; then the loop goes round so often, as bytes that have come are an answer only
after that many."""
_WAKE_AT_ONCE: Final = 2
_CLOSING: Final = 1.0
"""Seconds that running tasks are given to end when the slots are closed."""


class Slots:
    """`size` slots over one line of claims, and room beside them.

    `on_outcome` is called, in the loop, for every message that ended.

    A slot that finds more claims in line wakes two others, so that all are awake within a few turns of the loop when
    tasks wait for something, and next to none when they do not. No asyncio task is made per message.
    """

    def __init__(self, size: int, runner: Runner, on_outcome: Callable[[Outcome], None]) -> None:
        self.size = size
        self.busy = 0
        self.waiting: deque[Claim] = deque()
        """Claims that no slot has started yet."""
        self.fed_at = 0.0
        """When claims were last put in line (monotonic)."""
        self._runner = runner
        self._on_outcome = on_outcome
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waking = 0
        self._turn = 0
        self._turn_ends = 0.0
        self._pausing = 0
        self._expecting = False
        self._tasks: list[asyncio.Task[None]] = []
        self.beside: dict[TaskId, asyncio.Task[None]] = {}
        """The messages that run though every slot is taken."""
        self._owner: asyncio.Task[object] | None = None
        self._closing = False

    def start(self) -> None:
        """Start the slots. They are the asyncio task's that calls this."""
        self._owner = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._slot(), name=f"slot-{number}") for number in range(self.size)]

    async def close(self) -> None:
        """End the slots, without the outcomes of what still runs; a task that swallows cancellation is left behind."""
        self._closing = True
        tasks, self._tasks = [*self._tasks, *self.beside.values()], []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING)

    def feed(self, claims: Iterable[Claim]) -> None:
        """Put claims in line."""
        self.fed_at = time.monotonic()
        self.waiting.extend(claims)
        self._wake()

    def run_beside(self, claims: Iterable[Claim]) -> None:
        """Run claims at once, each in an asyncio task of its own."""
        for claim in claims:
            self.busy += 1
            self.beside[claim.id] = asyncio.get_running_loop().create_task(self._run_beside(claim), name="beside")

    def overtake(self, matters: Callable[[Claim], bool]) -> None:
        """Run what `matters` of the claims in line without waiting for a slot."""
        chosen = [claim for claim in self.waiting if matters(claim)]
        for claim in chosen:
            self.waiting.remove(claim)
        self.run_beside(chosen)

    async def _run_beside(self, claim: Claim) -> None:
        try:
            outcome = await self._runner.run(claim)
        except BaseException as error:  # noqa: BLE001 - raised on, if it is meant for this asyncio task
            outcome = self._crashed(claim, error)
        finally:
            self.busy -= 1
            del self.beside[claim.id]
        if not self._closing:
            self._on_outcome(outcome)

    def take_back(self) -> list[Claim]:
        """Take out of line what no slot has started."""
        claims = list(self.waiting)
        self.waiting.clear()
        return claims

    def running_ids(self) -> list[TaskId]:
        """The messages begun here under a claim that is still this worker's, as far as it knows."""
        running = (run.claim.id for run in self._runner.running if not run.disowned)
        return [*self.beside, *self._runner.filling, *running]

    @contextlib.contextmanager
    def expecting(self) -> Generator[None]:
        """While an answer is expected, which is not to wait for the slots."""
        self._expecting = True
        self.end_turn()
        try:
            yield
        finally:
            self._expecting = False

    def end_turn(self) -> None:
        """Let the loop go round when the message that runs now has ended."""
        self._turn_ends = 0.0

    @property
    def held(self) -> int:
        """Messages running or in line."""
        return self.busy + len(self.waiting)

    def _wake(self) -> None:
        for _ in range(min(_WAKE_AT_ONCE, len(self._idle), len(self.waiting))):
            future = self._idle.popleft()
            if not future.done():
                self._waking += 1
                future.set_result(None)

    async def _sleep(self) -> None:
        """Until there may be a claim in line."""
        future = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        try:
            await future
        finally:
            if future.cancelled():
                self._idle.remove(future)
            else:
                self._waking -= 1

    async def _slot(self) -> None:
        """The life of a slot. It outlives a cancellation that a task brought upon itself."""
        me = own_task()
        while not self._closing:
            try:
                await self._keep_running(me)
            except asyncio.CancelledError:
                if self._is_ending:
                    raise
                forget_cancel(me)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)  # one that was asked for, and not delivered yet, would hit the next message

    async def _keep_running(self, me: asyncio.Task[object]) -> None:
        waiting, run = self.waiting, self._runner.run
        while True:
            while not waiting:
                await self._sleep()
            claim = waiting.popleft()
            if waiting and not self._waking:
                self._wake()
            self.busy += 1
            try:
                outcome = await run(claim)
            except BaseException as error:  # noqa: BLE001 - raised on, if it is meant for the slot
                outcome = self._crashed(claim, error)
            finally:
                self.busy -= 1
            if self._closing:
                return
            self._on_outcome(outcome)
            if me.cancelling():
                raise asyncio.CancelledError
            if time.monotonic() >= self._turn_ends:
                await self._give_way()

    async def _give_way(self) -> None:
        """Let the loop go round. The first slot to come back begins the next turn of all that are awake.

        One that finds that others have used that up already, without waiting for anything, is not needed for now.
        """
        turn = self._turn
        self._pausing += 1
        try:
            for _ in range(_ROUNDS if self._expecting else 1):
                await asyncio.sleep(0)
        finally:
            self._pausing -= 1
        if self._turn == turn:
            self._turn += 1
            self._turn_ends = time.monotonic() + (_SHORT_TURN if self._expecting else _TURN)
        elif self._pausing and time.monotonic() >= self._turn_ends:
            await self._sleep()

    @property
    def _is_ending(self) -> bool:
        """Whether the slots are being closed: by `close`, or with everything else by an event loop at its end."""
        owner = self._owner
        return self._closing or owner is None or owner.done() or owner.cancelling() > 0

    def _crashed(self, claim: Claim, error: BaseException) -> Outcome:
        """The outcome of a message that came to no other. Raises what is to end the slot."""
        if isinstance(error, GeneratorExit) or (isinstance(error, asyncio.CancelledError) and self._is_ending):
            raise error
        log.error("runner_failed task_id=%s", claim.id, exc_info=error)
        return Outcome.failure(claim, judge(RetryStrategy.no_retry(), error).record)
