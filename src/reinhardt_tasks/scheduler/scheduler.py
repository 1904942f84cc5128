"""`Scheduler`: the door to stored schedules, and to firing what is due."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack, cast

from msgspec.structs import replace

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError, QueueError, ScheduleError, ScheduleNotFoundError
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message, Record, ScheduleRecord
from reinhardt_tasks.names import check_schedule_name
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy, Seconds
from reinhardt_tasks.schedule import Missed, Overlap, Policy, Schedule, upcoming
from reinhardt_tasks.scheduler.agenda import instant
from reinhardt_tasks.scheduler.clock import BrokerClock
from reinhardt_tasks.scheduler.registration import by_name, changing
from reinhardt_tasks.scheduler.rounds import Rounds
from reinhardt_tasks.scheduler.spec import (
    Head,
    Plan,
    counted_from,
    encoded,
    head_of,
    message_of,
    plan_in,
    plan_of,
    policy_fields,
    policy_of,
    schedule_of,
)
from reinhardt_tasks.scheduler.view import ScheduleInfo, info_of, last_firing, utc_now

log = logging.getLogger("reinhardt_tasks.scheduler")

_BACKOFF = RetryStrategy.exponential_backoff(initial_delay=0.2, max_delay=5.0)


Infos = list[ScheduleInfo]


class PolicyOptions(TypedDict, total=False):
    """How a schedule is fired; see Policy. In `change`, what is not given stays as it is."""

    missed: Missed
    max_missed: int
    overlap: Overlap
    jitter: Seconds
    start: datetime | None
    end: datetime | None


class Scheduler:
    """Schedules in the backend of a queue: add and change them from anywhere, and `run` to fire what is due.

    Workers run one each, unless told not to. However many there are, each firing is enqueued once, and a change made in
    one process takes effect in all within a second. Every method may raise a BackendError, and UnsupportedError where
    the backend keeps no schedules.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._stopping = False

    # Changing -----------------------------------------------------------------------------------------------------

    async def add(self, name: str, when: Schedule, message: Message[Any], /, **policy: Unpack[PolicyOptions]) -> None:
        """Store a schedule: from now on, `message` is enqueued anew whenever `when` is due.

        Raises ScheduleError for a name that is taken or impossible, for a message that cannot be scheduled, and for a
        schedule that is never due again.
        """
        check_schedule_name(name)
        plan = plan_of(when, Policy(**policy), message, self.queue.seal)
        backend = await self.queue.backend()
        now = await _now(backend)
        if upcoming(when, Policy(**policy), instant(now)) is None:
            raise ScheduleError(f"schedule {name} would never be due: {when!r} has no moment ahead")
        async with changing(backend) as stored:
            if name in stored:
                raise ScheduleError(f"there is a schedule {name} already; change it, or remove it first")
            await self._save(backend, name, plan, since=now)

    async def change(
        self,
        name: str,
        /,
        *,
        when: Schedule | None = None,
        message: Message[Any] | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> None:
        """Change what is given, leave the rest. With other times, what was due before now is not made up for.

        Raises ScheduleNotFoundError, and ScheduleError for a schedule from code, which is changed there, and as `add`.
        """
        backend = await self.queue.backend()
        async with self._changed(backend, name) as (record, head):
            if head.origin == "code":
                raise ScheduleError(f"schedule {name} is defined in code; change it there, or pause it")
            old = plan_in(head, name, self.queue.seal)
            plan = self._revised(old, when, message, policy)
            moved = (plan.when, plan.start, plan.end) != (old.when, old.start, old.end)
            since = await _now(backend) if moved else head.since
            await self._save(backend, name, plan, since=since, paused=record.paused)

    def _revised(self, plan: Plan, when: Schedule | None, message: Message[Any] | None, policy: PolicyOptions) -> Plan:
        changed = Policy(**{**policy_fields(policy_of(plan)), **policy})
        seal = self.queue.seal
        if message is not None:
            return plan_of(when or schedule_of(plan), changed, message, seal)
        if changed.overlap == "skip" and plan.unique_for is not None:
            raise ScheduleError("overlap='skip' and unique_for exclude each other: both say when the next one may come")
        template = message_of("", plan, seal, id=TaskId.new())
        stored = plan.when if when is None else plan_of(when, changed, template, seal).when
        return replace(plan, when=stored, **policy_fields(changed))

    async def remove(self, name: str, /) -> bool:
        """Forget a schedule; False when there was none. One from code is soon stored again by those who have it."""
        backend = await self.queue.backend()
        async with changing(backend):
            return await backend.remove_schedule(name)

    async def pause(self, name: str, /) -> None:
        """Fire it no more, until `resume`. Lasts through restarts and deploys. Raises ScheduleNotFoundError."""
        backend = await self.queue.backend()
        async with changing(backend) as stored:
            record = _known(stored, name)
            await backend.save_schedule(ScheduleRecord(name=name, spec=record.spec, paused=True))

    async def resume(self, name: str, /) -> None:
        """Fire it again; what was due while it was paused is not made up for. Raises ScheduleNotFoundError."""
        backend = await self.queue.backend()
        async with self._changed(backend, name) as (record, _):
            spec = counted_from(record.spec, await _now(backend)) if record.paused else record.spec
            await backend.save_schedule(ScheduleRecord(name=name, spec=spec, paused=False))

    @contextlib.asynccontextmanager
    async def _changed(self, backend: TaskBackend, name: str) -> AsyncIterator[tuple[ScheduleRecord, Head]]:
        """A stored schedule that is about to be changed."""
        async with changing(backend) as stored:
            record = _known(stored, name)
            yield record, head_of(record)

    async def _save(self, backend: TaskBackend, name: str, plan: Plan, *, since: float, paused: bool = False) -> None:
        spec = encoded(name, plan, since=since, origin="stored", seal=self.queue.seal)
        await backend.save_schedule(ScheduleRecord(name=name, spec=spec, paused=paused))

    # Looking ------------------------------------------------------------------------------------------------------

    async def list(self) -> Infos:
        """All stored schedules, by name."""
        backend = await self.queue.backend()
        return await self._infos(backend, await backend.load_schedules())

    async def get(self, name: str, /) -> ScheduleInfo:
        """One stored schedule. Raises ScheduleNotFoundError."""
        backend = await self.queue.backend()
        record = _known(by_name(await backend.load_schedules()), name)
        return (await self._infos(backend, [record]))[0]

    async def _infos(self, backend: TaskBackend, records: Sequence[ScheduleRecord]) -> Infos:
        ids = [id for record in records if (id := last_firing(record)) is not None]
        messages: dict[TaskId, Record | None] = {}
        for start in range(0, len(ids), MAX_BATCH):
            batch = ids[start : start + MAX_BATCH]
            messages |= zip(batch, await backend.get(batch), strict=True)
        code, seal, now = dict(self.queue.schedules), self.queue.seal, utc_now()
        return [
            info_of(record, messages.get(cast("TaskId", last_firing(record))), code, seal, now) for record in records
        ]

    async def run_now(self, name: str, /) -> TaskHandle[Any]:
        """Enqueue its message once, now, whatever it is due; its times stay as they are.

        With `overlap="skip"`, the handle of the message that is unfinished, `created=False`. Raises
        ScheduleNotFoundError, and ScheduleError for one that cannot be read here.
        """
        backend = await self.queue.backend()
        record = _known(by_name(await backend.load_schedules()), name)
        plan = plan_in(head_of(record), name, self.queue.seal)
        return await self.queue.enqueue(message_of(name, plan, self.queue.seal, id=TaskId.new()))

    # Firing -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fire what is due until `stop`, together with all other schedulers. A broker that is away is waited for.

        Raises ConfigurationError or SchemaError when the backend refuses to open, and QueueError when it runs already.
        """
        if self._loop is not None:
            raise QueueError("this scheduler runs already; make another Scheduler for a second run at the same time")
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopping:
            self._stop.set()
        working = asyncio.create_task(self._work(), name="scheduler")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait([working, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop, self._stopping = None, False
            for task in (working, stop):
                task.cancel()
            await asyncio.wait([working, stop])
        if not working.cancelled():
            working.result()

    def stop(self) -> None:
        """End `run`. From any thread or a signal; before a run it ends that run as soon as it begins."""
        self._stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _work(self) -> None:
        failures = 0
        while True:
            try:
                backend = await self.queue.backend()
            except BackendUnavailableError as error:
                failures += 1
                log.warning("broker_unavailable failures=%d error=%s", failures, error)
                await asyncio.sleep(_BACKOFF.delay(failures))
            else:
                log.info("scheduler_started url=%s", self.queue.url)
                await self.serve(backend)

    async def serve(self, backend: TaskBackend) -> None:
        """For workers: fire what is due until cancelled, looking at `backend`, which is open."""
        await Rounds(self.queue, backend).keep_on()


def _known(stored: dict[str, ScheduleRecord], name: str) -> ScheduleRecord:
    record = stored.get(name)
    if record is None:
        raise ScheduleNotFoundError(name=name)
    return record


async def _now(backend: TaskBackend) -> float:
    clock = BrokerClock()
    await clock.set(backend)
    return clock.now()
