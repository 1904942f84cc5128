"""What a worker looks after beside its hot loop: trust in its lease, slow and stuck tasks, orders, beats, wear."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import Any, Final

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, Orders, Outcome, Report
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.run import Cause, Run, cancelled_record
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.worker.config import WorkerConfig
from reinhardt_tasks.worker.exchanger import Exchanger
from reinhardt_tasks.worker.heartbeat import Heartbeat
from reinhardt_tasks.worker.recycle import RecycleLimits, resident_mb
from reinhardt_tasks.worker.slots import Slots

log = logging.getLogger("reinhardt_tasks.worker")

TICK: Final = 0.25
"""Seconds between two looks."""
_STALE: Final = 1.0
"""Seconds after which claims that were fetched ahead and not started are given back to the others."""
_PROGRESS_EVERY: Final = 1.0
"""Seconds between two reports of progress where nothing else is exchanged."""


class Care:
    """Looks after one shift. `stuck` and `worn` say why it ended the shift, if it did."""

    def __init__(self, runner: Runner, slots: Slots, config: WorkerConfig, *, worker: str, stop: asyncio.Event) -> None:
        self._runner = runner
        self._slots = slots
        self._config = config
        self._worker = worker
        self._stop = stop
        self._grace = seconds(config.grace, what="grace")
        self._limits = RecycleLimits(max_tasks=config.max_tasks, max_memory_mb=config.max_memory)
        self._started_at = time.time()
        self._in_doubt = False
        self._disowned = False
        self._reported_at = 0.0
        self.stuck = False
        self.worn = False

    def meet(self, exchanger: Exchanger, heartbeat: Heartbeat) -> None:
        """Get to know the parts that in turn call this one."""
        self._exchanger = exchanger
        self._heartbeat = heartbeat

    async def keep_tending(self) -> None:
        """Look after everything, four times a second, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self._mind_trust()
            self._mind_stale_claims()
            self._mind_stuck_tasks()
            self._mind_progress()
            self._mind_wear()

    def _mind_trust(self) -> None:
        """Without a confirmed beat for two thirds of the lease: start nothing, tell the tasks, until one comes."""
        if self._heartbeat.trusted:
            if self._in_doubt:
                self._in_doubt = False
                log.warning("lease_trusted_again")
                self._exchanger.claim_again()
        elif not self._in_doubt:
            self._in_doubt = True
            log.warning("lease_in_doubt running=%d", self._slots.busy)
            self._exchanger.stop_claiming()
            self._tell_tasks()

    def _mind_stale_claims(self) -> None:
        """Claims fetched ahead for tasks that turn out slow go back, so that others may run them.

        Where so many are to be held, only what holds workflows together is taken out of line, and run.
        """
        slots = self._slots
        if not slots.waiting or time.monotonic() - slots.fed_at <= _STALE:
            return
        if self._config.prefetch is None:
            self._exchanger.give_back()
        else:
            slots.fed_at = time.monotonic()
            slots.overtake(self._runner.is_built_in)

    def _mind_stuck_tasks(self) -> None:
        """A task that goes on long after it was told to end cannot be stopped but by ending the process."""
        overdue = self.overdue()
        if overdue and not self.stuck:
            self.stuck = True
            for run in overdue:
                log.critical("task_stuck task=%s task_id=%s mode=%s", run.context.name, run.claim.id, run.mode)
            self._stop.set()

    def _mind_progress(self) -> None:
        """Progress is sent with the next exchange; where none is due, one is made."""
        now = time.monotonic()
        if now - self._reported_at >= _PROGRESS_EVERY and any(run.untold() for run in self._runs()):
            self._reported_at = now
            self._exchanger.flush()

    def _mind_wear(self) -> None:
        """A worker that has run enough, or grown too large, makes room for a new one."""
        reason = self._limits.reached(tasks=self._exchanger.ended, memory_mb=resident_mb())
        if reason is not None and not self._stop.is_set():
            log.info("worker_recycled reason=%r", reason)
            self.worn = True
            self._stop.set()

    def overdue(self) -> list[Run]:
        """The tasks that were told to end longer than `grace` ago and have not."""
        now = time.monotonic()
        return [run for run in self._runs() if run.overdue(self._grace, now)]

    def _runs(self) -> list[Run]:
        """What is running; a copy, since the heartbeat's thread asks too."""
        return list(self._runner.running)

    def reports(self) -> list[Report]:
        """The progress that was not told yet, of what runs and of what has just ended; for an exchange."""
        last = self._runner.last_reports
        reports = [run.report() for run in self._runs() if run.untold()] + [*last]
        last.clear()
        return reports

    # Orders ---------------------------------------------------------------------------------------------------------

    def obey(self, orders: Orders) -> None:
        """Do what the backend says."""
        if not (orders.registered or self._disowned):
            self._disown()
            self._disowned = True
        for task_id in orders.cancel:
            self._cancel(task_id)
        if orders.drain and not self._stop.is_set():
            log.info("worker_drained_by_order worker=%s", self._worker)
            self._stop.set()

    def obey_beat(self, orders: Orders) -> None:
        """Do what the answer to a beat says. A beat that finds the worker given up has registered it anew.

        The loss is then that of the old registration, of which an exchange may have told before: what has been claimed
        since belongs to the new one.
        """
        self.obey(orders)
        self._disowned = False

    def _disown(self) -> None:
        """The lease ran out and what was held belongs to others now; outcomes are still offered, the fence decides."""
        log.warning("lease_lost worker=%s running=%d", self._worker, self._slots.busy)
        for run in self._runs():
            run.disowned = True
        self._runner.filling.clear()
        self._exchanger.give_back()
        self._tell_tasks()
        self._heartbeat.beat_now()

    def _tell_tasks(self) -> None:
        for run in self._runs():
            run.tell()

    def _cancel(self, task_id: TaskId) -> None:
        """Stop a running message, or take one out of line that no slot has started."""
        runs = [run for run in self._runs() if run.claim.id == task_id]
        for run in runs:
            run.stop(Cause.CANCEL)
        for claim in () if runs else self._slots.waiting:
            if claim.id == task_id:
                self._slots.waiting.remove(claim)
                self._exchanger.add(Outcome.cancelled(claim, cancelled_record("before it started")))
                return

    # For the heartbeat's and the watchdog's threads -----------------------------------------------------------------

    def may_live(self) -> bool:
        """Whether the lease is still deserved: not by a loop that hangs in a task long past its limit."""
        now = time.monotonic()
        patience = 2 * self._grace + 1.0
        return not any(
            run.mode == "loop" and run.timeout and now - run.started > run.timeout + patience for run in self._runs()
        )

    def working_on(self, task: asyncio.Task[Any] | None) -> str:
        """What the slot that runs as `task` is working on."""
        for run in self._runs():
            if run.slot is task:
                return f"{run.context.name} ({run.claim.id})"
        return "no task of the queue" if task is None else task.get_name()

    def make_beat(self, number: int, leaving: bool) -> Beat:  # noqa: FBT001 - the heartbeat's own call
        """The sign of life number `number`. What it tells of progress the next exchange tells again, if need be."""
        config = self._config
        return Beat(
            worker=self._worker,
            number=number,
            name=config.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=tuple(config.queues) or None,
            concurrency=config.concurrency,
            lease=seconds(config.lease, what="lease"),
            running=self._slots.busy,
            finished=self._exchanger.ended,
            started_at=self._started_at,
            reports=tuple(run.newest_report() for run in self._runs() if run.untold()),
            leaving=leaving,
        )
