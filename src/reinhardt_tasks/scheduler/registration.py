"""Changing what is stored, one process at a time, and storing the schedules of the application's code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from reinhardt_tasks.catalogue import Scheduled
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendUnavailableError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ScheduleRecord
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.scheduler.spec import READING_ERRORS, Head, Plan, encoded, head_of, plan_in, plan_of

log = logging.getLogger("reinhardt_tasks.scheduler")

_LOCK: Final = "schedules"
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


async def register(queue: TaskQueue, backend: TaskBackend, now: float) -> list[ScheduleRecord]:
    """Store the schedules of the queue's code that are not stored as they are; all that are stored then.

    `now` in Unix seconds. While two versions of an application run, each stores its own now and then, and each fires by
    its own.
    """
    records = await backend.load_schedules()
    wanted = {name: (scheduled, _plan(scheduled, queue)) for name, scheduled in queue.schedules.items()}
    if not _missing(wanted, by_name(records), queue):
        return records
    async with changing(backend) as stored:
        for name in _missing(wanted, stored, queue):
            since = _since(wanted[name][1], stored.get(name), queue, now)
            spec = encoded(name, wanted[name][1], since=since, origin="code", seal=queue.seal)
            paused = name in stored and stored[name].paused
            await backend.save_schedule(ScheduleRecord(name=name, spec=spec, paused=paused))
            log.info("schedule_registered schedule=%s", name)
    return await backend.load_schedules()


def _plan(scheduled: Scheduled, queue: TaskQueue) -> Plan:
    return plan_of(scheduled.when, scheduled.policy, scheduled.message(), queue.seal, own=True)


def _missing(
    wanted: Mapping[str, tuple[Scheduled, Plan]], stored: Mapping[str, ScheduleRecord], queue: TaskQueue
) -> list[str]:
    """The names that are not stored, or with another plan. A stored schedule that is not from code is left alone."""
    missing = []
    for name, (_, plan) in wanted.items():
        record = stored.get(name)
        head, known = (None, None) if record is None else _read(record, queue)
        if head is not None and head.origin != "code":
            log.warning("schedule_name_taken schedule=%s by=%s", name, "one that was added at run time; remove it")
        elif record is None or (head is not None and known != plan):
            missing.append(name)
    return missing


def _read(record: ScheduleRecord, queue: TaskQueue) -> tuple[Head | None, Plan | None]:
    """Head and plan, as far as they can be read here. What a newer version wrote has no head, and is left alone."""
    try:
        head = head_of(record)
    except READING_ERRORS:
        return None, None
    try:
        return head, plan_in(head, record.name, queue.seal)
    except READING_ERRORS:
        return head, None


def _since(plan: Plan, record: ScheduleRecord | None, queue: TaskQueue, now: float) -> float:
    """From when on firings count: from now on where it is new or its times have changed, else as before."""
    head, known = (None, None) if record is None else _read(record, queue)
    if head is None or known is None:
        return now
    same = (known.when, known.start, known.end) == (plan.when, plan.start, plan.end)
    return head.since if same else now
