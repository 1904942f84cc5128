"""What is stored of a schedule: a plain head that any process may read, and its plan, sealed as messages are.

Head and plan are MessagePack. What a newer version has written is left alone: its head has a higher `v`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.errors import ScheduleError, SerializationError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Envelope, Message, ScheduleRecord, decode_envelope, encode_envelope
from reinhardt_tasks.schedule import IntervalSchedule, Missed, OnceSchedule, Overlap, Policy, Schedule

VERSION: Final = 1
NAME_HEADER: Final = "schedule"
"""The header of a scheduled message that names its schedule."""
DUE_HEADER: Final = "schedule-due"
"""The header that tells the moment it was due, without jitter, as ISO 8601."""

Origin = Literal["code", "stored"]
"""Where a schedule is defined: in the code of those who fire it, or here."""


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """A CronSchedule."""

    expression: str
    zone: str


class Interval(msgspec.Struct, frozen=True, tag="interval"):
    """An IntervalSchedule."""

    every: float
    start: datetime | None = None


class Once(msgspec.Struct, frozen=True, tag="once"):
    """A OnceSchedule."""

    at: datetime


class Own(msgspec.Struct, frozen=True, tag="own"):
    """A schedule of the application's own, which only its code can ask; `text` is how Python shows it."""

    text: str


class Plan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """When a schedule is due, by which policy, and what each of its messages is made of."""

    when: Cron | Interval | Once | Own
    task: str
    queue: str
    priority: int
    arguments: bytes
    timeout: float | None = None
    headers: dict[str, str] | None = None
    unique_key: str | None = None
    unique_for: float | None = None
    result_ttl: float
    max_losses: int
    missed: Missed = "once"
    max_missed: int = 100
    overlap: Overlap = "allow"
    jitter: float = 0.0
    start: datetime | None = None
    end: datetime | None = None


class Head(msgspec.Struct, frozen=True):
    """What needs no keys: the version, the moment (Unix seconds) from which on firings count, the origin, the plan."""

    v: int
    since: float = 0.0
    origin: str = "stored"
    plan: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_plan = msgspec.msgpack.Decoder(Plan).decode
_decode_fields = msgspec.msgpack.Decoder(dict[str, Any]).decode


# Writing --------------------------------------------------------------------------------------------------------------


def plan_of(when: Schedule, policy: Policy, message: AnyMessage, seal: Seal, *, own: bool = False) -> Plan:
    """The plan by which `message` is enqueued. A `when` of the application's own needs `own`. Raises ScheduleError."""
    _check_message(message, policy)
    envelope = decode_envelope(seal.open(message.body))
    return Plan(
        when=_stored_form(when, own=own),
        task=message.name,
        queue=message.queue,
        priority=message.priority,
        arguments=envelope.a,
        timeout=envelope.t,
        headers=envelope.h,
        unique_key=message.unique_key,
        unique_for=message.unique_for,
        result_ttl=message.result_ttl,
        max_losses=message.max_losses,
        **policy_fields(policy),
    )


def _check_message(message: object, policy: Policy) -> None:
    if not isinstance(message, Message):
        raise ScheduleError(f"a schedule takes a message, as task.message(…) makes it, not {message!r}")
    if message.run_at is not None or message.delay:
        raise ScheduleError("the message of a schedule has no delay and no run_at of its own: the schedule says when")
    if message.waits_on or message.workflow is not None or message.held:
        raise ScheduleError(
            "a message that belongs to a workflow cannot be scheduled; schedule a task that enqueues it"
        )
    if policy.overlap == "skip" and message.unique_for is not None:
        raise ScheduleError("overlap='skip' and unique_for exclude each other: both say when the next one may come")


def policy_fields(policy: Policy) -> dict[str, Any]:
    """The policy by the names of its fields."""
    return {name: getattr(policy, name) for name in Policy.__dataclass_fields__}


def _stored_form(when: object, *, own: bool) -> Cron | Interval | Once | Own:
    match when:
        case CronSchedule():
            return Cron(when.expression, when.timezone)
        case IntervalSchedule(every=float(every)):
            return Interval(every, when.start)
        case OnceSchedule():
            return Once(when.at)
    if own:
        return Own(repr(when)[:1000])
    raise ScheduleError(
        f"{when!r} cannot be stored, as other processes have no code for it; keep it in the code, above a task, by "
        "@queue.schedule(…)"
    )


def encoded(name: str, plan: Plan, *, since: float, origin: Origin, seal: Seal) -> bytes:
    """What is stored of the schedule `name`."""
    return _encode(Head(VERSION, since, origin, seal.close(_encode(plan), _context(name))))


def counted_from(spec: bytes, since: float) -> bytes:
    """The same spec, with firings counted from `since` on; what else is in its head stays. Raises ScheduleError."""
    try:
        return _encode({**_decode_fields(spec), "since": since})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ScheduleError(f"what is stored of the schedule cannot be read: {error}") from error


def _context(name: str) -> bytes:
    """Binds a plan to the schedule's name, and sets it apart from messages and results."""
    return b"schedule:" + name.encode()


# Reading --------------------------------------------------------------------------------------------------------------


def head_of(record: ScheduleRecord) -> Head:
    """The head of a stored schedule. Raises ScheduleError when it cannot be read here."""
    try:
        head = _decode_head(record.spec)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ScheduleError(f"what is stored of schedule {record.name} cannot be read: {error}") from error
    if head.v > VERSION:
        raise ScheduleError(
            f"schedule {record.name} was stored by a newer release (version {head.v}, known here is {VERSION}); it is "
            "left to schedulers of that release"
        )
    return head


def plan_in(head: Head, name: str, seal: Seal) -> Plan:
    """The plan behind a head. Raises ScheduleError for what cannot be read, SignatureError for a wrong signature."""
    payload = seal.open(head.plan, _context(name))
    try:
        return _decode_plan(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ScheduleError(f"the plan of schedule {name} cannot be read: {error}") from error


def schedule_of(plan: Plan) -> Schedule:
    """The schedule of a plan. Raises ScheduleError for one that only the application's code knows."""
    match plan.when:
        case Cron(expression, zone):
            return _cron(expression, zone)
        case Interval(every, start):
            return IntervalSchedule(every, start)
        case Once(at):
            return OnceSchedule(at)
        case Own(text):
            raise ScheduleError(f"{text} is known to the code of the application alone")


@functools.lru_cache(maxsize=1024)
def _cron(expression: str, zone: str) -> CronSchedule:
    """Many schedules share few expressions."""
    return CronSchedule(expression, zone)


def policy_of(plan: Plan) -> Policy:
    """The policy of a plan. Raises ScheduleError."""
    return Policy(**{name: getattr(plan, name) for name in Policy.__dataclass_fields__})


# Messages -------------------------------------------------------------------------------------------------------------


def firing_id(name: str, due: float) -> TaskId:
    """The id of the message of one firing: the same whoever makes it, and by its time where others would stand."""
    digest = int.from_bytes(hashlib.blake2b(f"{name}\0{due!r}".encode(), digest_size=10).digest(), "big")
    random = (digest & ((1 << 12) - 1)) << 64 | digest >> 12 & ((1 << 62) - 1)
    milliseconds = max(0, int(due * 1000)) & ((1 << 48) - 1)
    return TaskId((milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | random).to_bytes(16, "big"))


def message_of(
    name: str,
    plan: Plan,
    seal: Seal,
    *,
    id: TaskId,
    due: datetime | None = None,
    run_at: float | None = None,
    keep: float = 0.0,
) -> AnyMessage:
    """A message of the schedule `name`; its record is kept for `keep` seconds at least."""
    headers = {**(plan.headers or {}), NAME_HEADER: name, **_due_header(due)}
    envelope = Envelope(bytes(id), plan.task, plan.queue, plan.arguments, p=plan.priority, t=plan.timeout, h=headers)
    key = plan.unique_key
    if key is None and plan.overlap == "skip":
        key = f"schedule:{name}"
    return Message(
        id=id,
        name=plan.task,
        body=seal.close(encode_envelope(envelope)),
        queue=plan.queue,
        priority=plan.priority,
        run_at=run_at,
        unique_key=key,
        unique_for=plan.unique_for,
        result_ttl=max(plan.result_ttl, keep),
        max_losses=plan.max_losses,
    )


def _due_header(due: datetime | None) -> Mapping[str, str]:
    return {} if due is None else {DUE_HEADER: due.isoformat()}


READING_ERRORS: Final = (ScheduleError, SerializationError)
"""What reading a stored schedule may raise."""
