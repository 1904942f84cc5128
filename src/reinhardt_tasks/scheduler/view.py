"""What is told about a stored schedule: `ScheduleInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from reinhardt_tasks.catalogue import Scheduled
from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import ScheduleError, TaskError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Record, ScheduleRecord
from reinhardt_tasks.results import TaskResultMetadata, metadata
from reinhardt_tasks.schedule import Policy, Schedule, describe, upcoming
from reinhardt_tasks.scheduler.agenda import instant
from reinhardt_tasks.scheduler.spec import Head, Origin, Own, firing_id, head_of, plan_in, policy_of, schedule_of

_OVERDUE: Final = timedelta(seconds=10)
"""A firing that nobody has made for so long: it seems that no scheduler runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A stored schedule as it stood when it was read.

    `text` says in English when it is due, `when` is the schedule itself, unless only the application's code knows it;
    `arguments` are plain values by parameter. `origin` is "code" for one above a task. `last_at` is the moment it was
    last due, `last_id` the message of that firing and `last` what became of it, None once its record is no longer kept.
    `next_at` is None while it is paused and when it is over. `overdue`: it should have been fired, and nobody has.
    `problem` says why it is not fired or cannot be read here.
    """

    name: str
    text: str = ""
    task: str = ""
    queue: str = ""
    priority: int = 5
    origin: Origin = "stored"
    paused: bool = False
    when: Schedule | None = None
    policy: Policy | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    last_at: datetime | None = None
    last_id: TaskId | None = None
    last: TaskResultMetadata[Any] | None = None
    next_at: datetime | None = None
    overdue: bool = False
    problem: str | None = None


def last_firing(record: ScheduleRecord) -> TaskId | None:
    """The id of the message of the last firing; None when there was none."""
    return None if record.last_due is None else firing_id(record.name, record.last_due)


def info_of(
    record: ScheduleRecord, last: Record | None, code: dict[str, Scheduled], seal: Seal, now: datetime
) -> ScheduleInfo:
    """What is known of a stored schedule; `last` is the message of its last firing."""
    try:
        facts = {**_past(record, last), **_plan_facts(record, code, seal, now)}
    except TaskError as error:
        facts = {"problem": str(error), "text": "(it cannot be read here)"}
    return ScheduleInfo(name=record.name, paused=record.paused, **facts)


def _past(record: ScheduleRecord, last: Record | None) -> dict[str, Any]:
    return {
        "last_at": None if record.last_due is None else instant(record.last_due),
        "last_id": last_firing(record),
        "last": None if last is None else metadata(last, None),
    }


def _plan_facts(record: ScheduleRecord, code: dict[str, Scheduled], seal: Seal, now: datetime) -> dict[str, Any]:
    head = head_of(record)
    plan = plan_in(head, record.name, seal)
    facts: dict[str, Any] = {
        "task": plan.task,
        "queue": plan.queue,
        "priority": plan.priority,
        "origin": "code" if head.origin == "code" else "stored",
        "policy": policy_of(plan),
        "arguments": _plain(plan.arguments),
    }
    own = code.get(record.name) if head.origin == "code" else None
    if own is None and isinstance(plan.when, Own):
        return {**facts, "text": plan.when.text, "problem": "only the application's code knows when it is due"}
    when = schedule_of(plan) if own is None else own.when
    return {**facts, "when": when, "text": describe(when), **_future(record, head, when, policy_of(plan), now)}


def _plain(arguments: bytes) -> Mapping[str, Any]:
    try:
        return MappingProxyType(msgspec.msgpack.decode(arguments, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ScheduleError(f"the arguments of the schedule cannot be read: {error}") from error


def _future(record: ScheduleRecord, head: Head, when: Schedule, policy: Policy, now: datetime) -> dict[str, Any]:
    if record.paused:
        return {}
    anchor = instant(max(head.since, record.last_due or 0.0))
    try:
        waiting = upcoming(when, policy, anchor)
        return {
            "next_at": upcoming(when, policy, max(anchor, now)),
            "overdue": waiting is not None and waiting < now - _OVERDUE and policy.missed != "skip",
        }
    except Exception as error:
        raise ScheduleError(f"{when!r} cannot say when it is due: {error}") from error


def utc_now() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)
