"""One run of a worker from its first beat to its last: the parts, joined, and the order in which they start and end.

`Exchanger` talks with the backend, `Slots` run tasks, `Heartbeat` keeps the lease from a thread of its own, `Care`
looks after what no event tells, `Watchdog` names what blocks the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import IntEnum
from typing import Any, Final

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import Outcome
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.run import Cause, Run, abandoned
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.worker.care import TICK, Care
from reinhardt_tasks.worker.config import WorkerConfig
from reinhardt_tasks.worker.exchanger import Exchanger
from reinhardt_tasks.worker.heartbeat import Heartbeat
from reinhardt_tasks.worker.slots import Slots
from reinhardt_tasks.worker.watchdog import Watchdog

log = logging.getLogger("reinhardt_tasks.worker")

_LAST_SETTLE: Final = 10.0
"""Seconds a worker that ends tries at most to settle its last outcomes, and not for longer than its lease."""


class ExitCode(IntEnum):
    """How a worker process ended; the supervisor starts it anew on all but GRACEFUL."""

    GRACEFUL = 0
    RECYCLED = 3
    STUCK = 4


class Shift:
    """Works as `worker` until `stop` is set. `close` closes what tasks used; it is awaited when none runs any more.

    `beside` runs beside the loops, without end, until the shift does.
    """

    def __init__(
        self,
        backend: TaskBackend,
        runner: Runner,
        config: WorkerConfig,
        *,
        worker: str,
        stop: asyncio.Event,
        close: Callable[[], Awaitable[None]],
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._runner = runner
        self._config = config
        self._stop = stop
        self._close = close
        self._beside = beside
        self._grace = seconds(config.grace, what="grace")
        self._lease = seconds(config.lease, what="lease")
        self._ended = asyncio.Event()
        self._left_behind = False
        self._slots = Slots(config.concurrency, runner, self._on_outcome)
        self._care = Care(runner, self._slots, config, worker=worker, stop=stop)
        self._exchanger = Exchanger(
            backend,
            self._slots,
            worker=worker,
            queues=tuple(config.queues) or None,
            poll_interval=seconds(config.poll_interval, what="poll_interval"),
            prefetch=config.prefetch,
            reports=self._care.reports,
            on_orders=self._care.obey,
        )
        self._heartbeat = Heartbeat(
            backend.sibling(),
            lease=self._lease,
            make_beat=self._care.make_beat,
            on_orders=self._care.obey_beat,
            may_live=self._care.may_live,
        )
        self._care.meet(self._exchanger, self._heartbeat)
        self._watchdog = Watchdog(self._care.working_on)

    @property
    def ended(self) -> int:
        """How many messages ended here."""
        return self._exchanger.ended

    @property
    def exit_code(self) -> ExitCode:
        """How it ended."""
        if self._left_behind or self._care.stuck:
            return ExitCode.STUCK
        return ExitCode.RECYCLED if self._care.worn else ExitCode.GRACEFUL

    async def work(self, *, until_idle: bool) -> None:
        """Work until told to stop, or idle where that is asked for.

        Raises what the heartbeat's backend refuses, what breaks a loop, and what `close` raises.
        """
        beating = self._heartbeat.start()
        try:
            if await self._before_stop(beating):
                self._slots.start()
                self._watchdog.start()
                await self._until_stopped(until_idle=until_idle)
        finally:
            self._watchdog.stop()
            await self._wind_down()

    async def _before_stop(self, future: asyncio.Future[None]) -> bool:
        """Wait for `future`; False when the worker is to stop before it is done."""
        stop: asyncio.Future[Any] = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([future, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([stop])
        if future.done():
            future.result()
        return future.done()

    async def _until_stopped(self, *, until_idle: bool) -> None:
        """Return when it is time to end; a loop that breaks ends the worker with its error."""
        endless = [
            asyncio.create_task(self._exchanger.keep_exchanging(), name="exchange"),
            asyncio.create_task(self._exchanger.keep_listening(), name="listen"),
            asyncio.create_task(self._care.keep_tending(), name="tend"),
        ]
        if self._beside is not None:
            endless.append(asyncio.create_task(self._beside(), name="scheduler"))
        ends: list[asyncio.Future[Any]] = [asyncio.create_task(self._stop.wait(), name="stop"), self._heartbeat.broken]
        if until_idle:
            ends.append(asyncio.create_task(self._exchanger.idle.wait(), name="idle"))
        try:
            done, _ = await asyncio.wait([*endless, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel([*endless, *ends])

    async def _wind_down(self) -> None:
        """Finish or give back everything, settle it, close what tasks used, and only then give up the lease.

        What cannot be made to end is settled last of all, since others may run it from then on.
        """
        try:
            await self._give_up_claims()
        finally:
            await self._heartbeat.stop()

    async def _give_up_claims(self) -> None:
        self._exchanger.stop_claiming()
        settling = asyncio.create_task(self._exchanger.keep_exchanging(), name="settle")
        try:
            left_behind = await self._finish_running()
            deadline = time.monotonic() + min(_LAST_SETTLE, self._lease)
            await self._settle_all(settling, deadline)
            await self._slots.close()
            await self._close_all(within=None if not left_behind else self._grace)
            for run in left_behind:
                self._exchanger.add(abandoned(run))
                deadline = time.monotonic() + min(_LAST_SETTLE, self._lease)
            await self._settle_all(settling, deadline)
        finally:
            await _cancel([settling])
            await self._exchanger.close()
            await self._slots.close()

    async def _finish_running(self) -> list[Run]:
        """Give running tasks their time, then tell them to end; answers those that do not."""
        if await self._all_ended(seconds(self._config.shutdown_timeout, what="shutdown_timeout")):
            return []
        for run in list(self._runner.running):
            run.stop(Cause.SHUTDOWN)
        if await self._all_ended(self._grace):
            return []
        self._left_behind = True
        for run in self._runner.running:
            log.critical("task_left_behind task=%s task_id=%s mode=%s", run.context.name, run.claim.id, run.mode)
        return list(self._runner.running)

    async def _all_ended(self, patience: float) -> bool:
        """Whether every running task ended within `patience` seconds; for those that never will it does not wait."""
        deadline = time.monotonic() + patience
        while self._slots.busy > len(self._care.overdue()):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(left, TICK))
        return not self._slots.busy

    async def _close_all(self, within: float | None) -> None:
        """Close what tasks used. What waits for a task that never ends (a pool, for its connection) is cut short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._close()

    async def _settle_all(self, settling: asyncio.Task[None], deadline: float) -> None:
        """Wait until every outcome is confirmed, or it is too late, or there is nobody who settles."""
        while self._exchanger.unsettled and time.monotonic() < deadline and not settling.done():
            self._exchanger.flush()
            await asyncio.sleep(0.01)

    def _on_outcome(self, outcome: Outcome) -> None:
        self._exchanger.add(outcome)
        self._ended.set()


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel the tasks and wait for their ends, whatever those are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
