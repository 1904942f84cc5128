"""A scheduler at work: sleep until something is due or has changed, and fire what is due, once among all schedulers.

Two coroutines: `keep_watching` learns of changes from the backend, `keep_firing` does the rest. There is no leader:
each scheduler offers each firing with a guard, "if the schedule was last due then", and the backend takes the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Final

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendError, BackendFullError, BackendUnavailableError, UnsupportedError
from reinhardt_tasks.message import Guard, ScheduleRecord
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy, seconds
from reinhardt_tasks.schedule import due_now
from reinhardt_tasks.scheduler.agenda import Agenda, Entry, instant
from reinhardt_tasks.scheduler.clock import BrokerClock
from reinhardt_tasks.scheduler.registration import Registrar
from reinhardt_tasks.scheduler.spec import firing_id, message_of

log = logging.getLogger("reinhardt_tasks.scheduler")

_UPKEEP: Final = 30.0
"""Seconds between two comparisons with the broker: its clock, its schedules, those of the code."""
_AT_ONCE: Final = 64
"""Firings that are under way at the same time, so that the backend can store them together."""
_IN_A_ROW: Final = 20
"""Firings of one schedule that has many to make up for, before others have their turn."""
_SHARE: Final = 5
"""A load of all schedules is followed by so many times its duration without one, but for `_LONGEST_REST` at most."""
_SHORTEST_REST: Final = 0.05
_LONGEST_REST: Final = 0.4
"""Seconds: a change takes effect within one."""
_DAY: Final = 86_400.0
_LONGEST_KEPT: Final = 400 * _DAY
_BACKOFF: Final = RetryStrategy.exponential_backoff(initial_delay=0.2, max_delay=5.0)


class Rounds:
    """Fires the schedules of one backend for the code of one queue, until cancelled."""

    def __init__(self, queue: TaskQueue, backend: TaskBackend) -> None:
        self._queue = queue
        self._backend = backend
        self._clock = BrokerClock()
        self._registrar = Registrar(queue)
        self._agenda = Agenda(queue.schedules, self._registrar.plans, queue.seal)
        self._seen = -1
        self._stale = True
        self._upkeep_at = 0.0
        self._rest_until = 0.0
        self._wake = asyncio.Event()

    async def keep_on(self) -> None:
        """Work until cancelled. Where the backend keeps no schedules and the code has none, there is nothing to do.

        Raises UnsupportedError where the code has some, and what no waiting will mend.
        """
        watching = asyncio.create_task(self._keep_watching(), name="watch schedules")
        try:
            await self._keep_firing()
        except UnsupportedError:
            if self._queue.schedules:
                raise
            await asyncio.get_running_loop().create_future()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    # Changes --------------------------------------------------------------------------------------------------------

    async def _keep_watching(self) -> None:
        """Note when a stored schedule has changed, whoever did it."""
        failures = 0
        while True:
            try:
                seen = await self._backend.watch_schedules(self._seen, _UPKEEP)
                failures = 0
            except UnsupportedError:
                return  # the other coroutine will say so
            except BackendError:
                failures += 1
                await asyncio.sleep(_BACKOFF.delay(failures))
                continue
            if seen != self._seen:
                self._seen = seen
                self._mark_stale()

    def _mark_stale(self) -> None:
        self._stale = True
        self._wake.set()

    # Rounds ---------------------------------------------------------------------------------------------------------

    async def _keep_firing(self) -> None:
        failures = 0
        while True:
            try:
                await self._round()
                failures = 0
            except (BackendUnavailableError, BackendFullError) as error:
                failures += 1
                log.warning("scheduler_waits failures=%d error=%s", failures, error)
                await asyncio.sleep(_BACKOFF.delay(failures))
                self._stale, self._upkeep_at = True, 0.0

    async def _round(self) -> None:
        """Fire what is due; when nothing is, sleep until something is or has changed."""
        self._wake.clear()
        now = time.monotonic()
        if now >= self._upkeep_at:
            await self._keep_up()
        elif self._stale and now >= self._rest_until:
            await self._take_over(self._backend.load_schedules())
        due = self._agenda.take_due(self._clock.now(), _AT_ONCE)
        if due:
            await self._fire_all(due)
        else:
            with contextlib.suppress(
                TimeoutError
            ):  # not wait_for, which loses a cancellation that comes with a wake-up
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float:
        """Seconds to sleep, unless woken."""
        now, due = time.monotonic(), self._agenda.next_due()
        until = [self._upkeep_at - now]
        if self._stale:
            until.append(self._rest_until - now)
        if due is not None:
            until.append(due - self._clock.now())
        return max(0.0, min(until))

    async def _keep_up(self) -> None:
        """Compare with the broker: its clock, its schedules, those of the code."""
        await self._clock.set(self._backend)
        await self._take_over(self._registrar.register(self._backend, self._clock.now()))
        self._upkeep_at = time.monotonic() + _UPKEEP * random.uniform(0.8, 1.2)  # noqa: S311 - spread, not secrecy

    async def _take_over(self, loading: Awaitable[Sequence[ScheduleRecord]]) -> None:
        """Take over what is stored, and leave it at that for a while: with many schedules this is the largest step."""
        began = time.monotonic()
        self._stale = False
        await self._agenda.update(await loading)
        ended = time.monotonic()
        self._rest_until = ended + min(_LONGEST_REST, max(_SHORTEST_REST, _SHARE * (ended - began)))

    # Firing ---------------------------------------------------------------------------------------------------------

    async def _fire_all(self, due: Sequence[Entry]) -> None:
        """Fire these at the same time; an error of one does not hold up the others."""
        now = instant(self._clock.now())
        answers = await asyncio.gather(*(self._fire(entry, now) for entry in due), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BackendUnavailableError | BackendFullError):
                raise answer

    async def _fire(self, entry: Entry, now: datetime) -> None:
        """Fire what of one schedule is due, and put it in line for what comes next.

        Out of line stays what the store may know better, until it is loaded again.
        """
        try:
            moments = due_now(entry.when, entry.policy, entry.anchor, now)
            for due in moments[:_IN_A_ROW]:
                if not await self._fire_once(entry, due):
                    self._mark_stale()
                    return
            entry.look_ahead(entry.anchor if moments[_IN_A_ROW:] else now)
        except (BackendUnavailableError, BackendFullError):
            raise  # for all, and what is out of line comes back with the next load
        except Exception as error:  # noqa: BLE001 - a schedule of the application's own may raise anything
            log.error("schedule_failed schedule=%s error=%s", entry.name, error)  # noqa: TRY400 - a sentence will do
            entry.move_past(now)
        self._agenda.line_up(entry)

    async def _fire_once(self, entry: Entry, due: datetime) -> bool:
        """Offer one firing to the backend. False when the schedule does not stand there as it is known here."""
        at = due.timestamp()
        message = message_of(
            entry.name,
            entry.plan,
            self._queue.seal,
            id=firing_id(entry.name, at),
            due=due,
            run_at=at + random.uniform(0.0, seconds(entry.policy.jitter, what="jitter")),  # noqa: S311 - no secret
            keep=self._kept(entry, due),
        )
        put = await self._queue.fire(message, Guard(entry.name, entry.last_due, at))
        if not put.created and put.id == message.id and not await self._is_stored(entry, at):
            return False
        if put.created:
            log.info("schedule_fired schedule=%s due=%s task_id=%s", entry.name, due.isoformat(), put.id)
        entry.move_on(due)
        return True

    async def _is_stored(self, entry: Entry, at: float) -> bool:
        """Whether another scheduler has made this very firing."""
        return (await self._backend.get([firing_id(entry.name, at)]))[0] is not None

    @staticmethod
    def _kept(entry: Entry, due: datetime) -> float:
        """Seconds to keep the message's record: past the next firing, so that it is seen how the last one ended."""
        following = entry.when.next_after(due)
        return 0.0 if following is None else min(_LONGEST_KEPT, (following - due).total_seconds() + _DAY)
