"""Changing what is stored, one process at a time, and storing the schedules of the application's code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ScheduleRecord
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.scheduler.spec import READING_ERRORS, Head, Plan, encoded, head_of, plan_in, plan_of

log = logging.getLogger("reinhardt_tasks.scheduler")

_LOCK: Final = "schedules"
_AT_ONCE: Final = 64
"""Schedules that are being stored at the same time, so that the backend can do it together."""
_TTL: Final = 10.0
"""Seconds after which the change of a process that died does not hold up others any more."""


@contextlib.asynccontextmanager
async def changing(backend: TaskBackend) -> AsyncIterator[dict[str, ScheduleRecord]]:
    """The stored schedules by name, which no other process changes meanwhile.

    Raises BackendUnavailableError when others keep them to themselves for too long.
    """
    token, deadline = str(TaskId.new()), time.monotonic() + 3 * _TTL
    while await backend.acquire_lock(_LOCK, token, _TTL) is None:
        if time.monotonic() > deadline:
            raise BackendUnavailableError(
                f"the schedules are being changed by another process for {3 * _TTL:g} s; try again",
                backend=backend.name,
            )
        await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - spread, not secrecy
    try:
        yield by_name(await backend.load_schedules())
    finally:
        await backend.release_lock(_LOCK, token)


def by_name(records: list[ScheduleRecord]) -> dict[str, ScheduleRecord]:
    """Records by their names."""
    return {record.name: record for record in records}


class Registrar:
    """Keeps the schedules of a queue's code stored as they stand there.

    While two versions of an application run, each stores its own now and then, and each fires by its own.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._plans: dict[str, Plan] = {}
        self._settled: dict[str, int] = {}

    @property
    def plans(self) -> Mapping[str, Plan]:
        """The plans of the code's schedules, by name, as far as they were looked at."""
        return self._plans

    async def register(self, backend: TaskBackend, now: float) -> list[ScheduleRecord]:
        """Store those that are not stored as they are; answers all that are stored then. `now` in Unix seconds."""
        for name, scheduled in self._queue.schedules.items():
            if name not in self._plans:
                seal = self._queue.seal
                self._plans[name] = plan_of(scheduled.when, scheduled.policy, scheduled.message(), seal, own=True)
        records = await backend.load_schedules()
        if not self._missing(by_name(records)):
            return records
        async with changing(backend) as stored:
            missing = self._missing(stored)
            for start in range(0, len(missing), _AT_ONCE):
                names = missing[start : start + _AT_ONCE]
                await asyncio.gather(*(self._store(backend, name, stored.get(name), now) for name in names))
        return await backend.load_schedules()

    def _missing(self, stored: Mapping[str, ScheduleRecord]) -> list[str]:
        """The names that are not stored, or with another plan."""
        missing = []
        for name, plan in self._plans.items():
            record = stored.get(name)
            if record is None or (self._settled.get(name) != record.version and self._differs(record, plan)):
                missing.append(name)
            else:
                self._settled[name] = record.version
        return missing

    def _differs(self, record: ScheduleRecord, plan: Plan) -> bool:
        """Whether it is stored with another plan. What was added at run time, or by a newer release, is left alone."""
        head, known = self._read(record)
        if head is None or head.origin == "code":
            return head is not None and known != plan
        log.warning("schedule_name_taken schedule=%s by=%s", record.name, "one that was added at run time; remove it")
        return False

    async def _store(self, backend: TaskBackend, name: str, record: ScheduleRecord | None, now: float) -> None:
        since, plan = self._since(record, self._plans[name], now), self._plans[name]
        spec = encoded(name, plan, since=since, origin="code", seal=self._queue.seal)
        paused = record is not None and record.paused
        await backend.save_schedule(ScheduleRecord(name=name, spec=spec, paused=paused))
        log.info("schedule_registered schedule=%s", name)

    def _since(self, record: ScheduleRecord | None, plan: Plan, now: float) -> float:
        """From when on firings count: from now on where it is new or its times have changed, else as before."""
        head, known = (None, None) if record is None else self._read(record)
        if head is None or known is None:
            return now
        same = (known.when, known.start, known.end) == (plan.when, plan.start, plan.end)
        return head.since if same else now

    def _read(self, record: ScheduleRecord) -> tuple[Head | None, Plan | None]:
        """Head and plan, as far as they can be read here. What a newer release wrote has no head, and is left alone."""
        try:
            head = head_of(record)
        except READING_ERRORS:
            return None, None
        try:
            return head, plan_in(head, record.name, self._queue.seal)
        except READING_ERRORS:
            return head, None
