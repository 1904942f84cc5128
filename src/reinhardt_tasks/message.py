"""What travels between the doors: messages, claims, outcomes and what is read back. Frozen values, no behaviour.

Instants are Unix seconds (float) here, since backends compare and store them; the users' doors turn them into aware
datetimes. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from reinhardt_tasks.errors import SerializationError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TaskStatus

R_co = TypeVar("R_co", covariant=True)

ENVELOPE_VERSION: Final = 1
DAY: Final = 86_400.0
DEAD_LETTER_TTL: Final = 7 * DAY
"""Seconds a dead letter (a message that failed for good) is kept at least, to be looked at and requeued."""
TOMBSTONE_TTL: Final = DAY
"""Seconds an id stays known after it finished, at least, so that a late repeat of its enqueue stores nothing."""
MAX_ERROR_TEXT: Final = 64 * 1024


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The immutable wire form of a message: what a worker needs to run it. Short keys; unknown ones are tolerated.

    `a` holds the encoded arguments, `t` the time limit in seconds (None: the task's own, 0: none), `h` the headers.

    In a workflow, `w` says what fills parameters that `a` leaves out (parameter → an expression, see
    `workflow.expression`), `o` names what the message waits for besides, `s` is the step's name, and `f` the whole
    workflow's, in the message that ends it.
    """

    i: bytes
    n: str
    q: str
    a: bytes
    p: int = 5
    t: float | None = None
    h: dict[str, str] | None = None
    w: dict[str, Any] | None = None
    o: list[bytes] | None = None
    s: str | None = None
    f: str | None = None
    v: int = ENVELOPE_VERSION


_envelope_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope as MessagePack."""
    return _envelope_encoder.encode(envelope)


def decode_envelope(raw: bytes) -> Envelope:
    """The envelope in `raw`. Raises SerializationError when it is none."""
    try:
        return _envelope_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise SerializationError(f"this is no message envelope: {error}", where="envelope") from error


class Message(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True, gc=False):
    """One call of a task, ready to be enqueued. `R_co` is what the task returns.

    `body` is the sealed envelope, opaque to backends. `delay` (seconds, by the broker's clock) and `run_at` exclude
    each other. `unique_key` holds while the message is unfinished, or for `unique_for` seconds from its enqueue.
    `waits_on` names messages stored before (or earlier in the same call) that must succeed first (finish, when
    `tolerant`). `workflow` is the id of the message whose end ends the workflow; `held` keeps the message from
    starting until `start_workflow`. `returns` is the declared type of what the task returns, as far as whoever made the
    message knows; it is for them, and not stored.
    """

    id: TaskId
    name: str
    body: bytes
    queue: str = "default"
    priority: int = 5
    delay: float = 0.0
    run_at: float | None = None
    unique_key: str | None = None
    unique_for: float | None = None
    result_ttl: float = DAY
    max_losses: int = 3
    waits_on: tuple[TaskId, ...] = ()
    tolerant: bool = False
    workflow: TaskId | None = None
    held: bool = False
    returns: Any = Any


class Guard(msgspec.Struct, frozen=True):
    """Lets a `put` happen once per firing: only if `schedule` was last due at `expected`; then it becomes `due`."""

    schedule: str
    expected: float | None
    due: float


class Put(msgspec.Struct, frozen=True, gc=False):
    """What became of one message offered to `put`: the id that stands for it, and whether this call created it."""

    id: TaskId
    created: bool


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A message given to a worker under its lease. `(worker, number)` is the fencing token.

    `attempts` counts the runs that ended in an exception before this one, `losses` the workers that died under it,
    `unknowns` how often it was released because nobody knew the task. `locator` is the backend's own pointer.
    """

    id: TaskId
    number: int
    body: bytes
    attempts: int = 0
    losses: int = 0
    unknowns: int = 0
    run_at: float | None = None
    locator: int = 0


class OutcomeKind(IntEnum):
    """The five ways a claim ends."""

    SUCCESS = 0
    FAILURE = 1
    RETRY = 2
    RELEASE = 3
    CANCELLED = 4


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How a claim ended. `payload` is the sealed result (SUCCESS) or an encoded ErrorRecord (the others; may be empty).

    `delay` is the wait before the next run in seconds, for RETRY and RELEASE. A RELEASE spends no attempt; with
    `unknown` it counts in the message's `unknowns`.
    """

    id: TaskId
    number: int
    kind: OutcomeKind
    payload: bytes = b""
    delay: float = 0.0
    unknown: bool = False
    locator: int = 0

    @classmethod
    def success(cls, claim: Claim, result: bytes) -> Outcome:
        """The task returned; `result` is its sealed value."""
        return cls(claim.id, claim.number, OutcomeKind.SUCCESS, result, 0.0, False, claim.locator)

    @classmethod
    def failure(cls, claim: Claim, error: ErrorRecord) -> Outcome:
        """The message failed for good and becomes a dead letter."""
        return cls(claim.id, claim.number, OutcomeKind.FAILURE, error.encode(), 0.0, False, claim.locator)

    @classmethod
    def retry(cls, claim: Claim, delay: float, error: ErrorRecord) -> Outcome:
        """The task raised and runs again in `delay` seconds."""
        return cls(claim.id, claim.number, OutcomeKind.RETRY, error.encode(), delay, False, claim.locator)

    @classmethod
    def release(cls, claim: Claim, delay: float = 0.0, *, unknown: bool = False) -> Outcome:
        """The claim is given back, no attempt spent."""
        return cls(claim.id, claim.number, OutcomeKind.RELEASE, b"", delay, unknown, claim.locator)

    @classmethod
    def cancelled(cls, claim: Claim, error: ErrorRecord) -> Outcome:
        """The task was cancelled while it ran."""
        return cls(claim.id, claim.number, OutcomeKind.CANCELLED, error.encode(), 0.0, False, claim.locator)


class Settled(IntEnum):
    """What the fence said to one outcome."""

    SETTLED = 0
    ALREADY = 1
    LOST = 2


class Reason(StrEnum):
    """Why a message ended as a dead letter or was cancelled."""

    FAILED = "failed"
    RETRIES_SPENT = "retries_spent"
    TIMEOUT = "timeout"
    POISON = "poison"
    BAD_PAYLOAD = "bad_payload"
    BAD_SIGNATURE = "bad_signature"
    BAD_RESULT = "bad_result"
    UNKNOWN_TASK = "unknown_task"
    CANCELLED = "cancelled"
    PARENT_FAILED = "parent_failed"


class ErrorRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An error as it travels: type name, message and traceback text, each capped, and the reason it stands for."""

    type: str
    message: str
    traceback: str = ""
    reason: Reason = Reason.FAILED

    def encode(self) -> bytes:
        """MessagePack; texts are cut to 64 KiB and what is no valid Unicode is escaped."""
        texts = (capped(self.type), capped(self.message), capped(self.traceback))
        return _error_encoder.encode(ErrorRecord(*texts, self.reason))

    @classmethod
    def decode(cls, raw: bytes) -> ErrorRecord:
        """The record in `raw`; bytes that are none become a record that says so."""
        try:
            return _error_decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return cls("UnreadableError", f"the stored error cannot be read: {error}")


def capped(text: str) -> str:
    """`text` as valid Unicode within MAX_ERROR_TEXT characters, its middle cut out if need be."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= MAX_ERROR_TEXT:
        return text
    half = MAX_ERROR_TEXT // 2 - 20
    return f"{text[:half]}\n… {len(text) - 2 * half} characters cut …\n{text[-half:]}"


_error_encoder = msgspec.msgpack.Encoder()
_error_decoder = msgspec.msgpack.Decoder(ErrorRecord)


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a running task says it is: `done` of `total` (None: unknown), a note, and when it said so."""

    done: float
    total: float | None = None
    note: str = ""
    at: float = 0.0

    def encode(self) -> bytes:
        """MessagePack."""
        return _error_encoder.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> Progress:
        """The progress in `raw`. Raises SerializationError when it is none."""
        try:
            return _progress_decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SerializationError(f"the stored progress cannot be read: {error}", where="progress") from error


_progress_decoder = msgspec.msgpack.Decoder(Progress)


class Report(msgspec.Struct, frozen=True, gc=False):
    """A task's newest progress, told under its claim's token."""

    id: TaskId
    number: int
    progress: bytes
    locator: int = 0


class Orders(msgspec.Struct, frozen=True):
    """What the backend tells a worker: claims to cancel, whether to drain, and whether it is registered at all.

    Not registered means its lease ran out and its claims were given to others: it drops what it has not started,
    and registers again with its next beat.
    """

    cancel: tuple[TaskId, ...] = ()
    drain: bool = False
    registered: bool = True


class Exchange(msgspec.Struct, frozen=True):
    """The answer to one `exchange`: new claims, the fence's word on each outcome in order, and orders."""

    claims: list[Claim]
    settled: list[Settled]
    orders: Orders


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One sign of life of a worker. `number` rises with every beat; `lease` is how long one sign lasts, in seconds.

    `leaving` is the last one: the worker is forgotten, and what it still holds goes back to its place, no loss counted.
    """

    worker: str
    number: int
    name: str = "worker"
    host: str = ""
    pid: int = 0
    queues: tuple[str, ...] | None = None
    concurrency: int = 1
    lease: float = 30.0
    running: int = 0
    finished: int = 0
    started_at: float = 0.0
    reports: tuple[Report, ...] = ()
    leaving: bool = False


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the backend knows it: its last beat, when that came, and how many claims it holds."""

    beat: Beat
    beat_at: float
    claims: int = 0
    suspected: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as it is read back. `expired`: its result was dropped by `result_ttl`; the rest still stands."""

    id: TaskId
    name: str
    queue: str
    priority: int
    status: TaskStatus
    created_at: float
    updated_at: float
    attempts: int = 0
    losses: int = 0
    run_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    waiting_on: int = 0
    worker: str | None = None
    unique_key: str | None = None
    workflow: TaskId | None = None
    cancelling: bool = False
    expired: bool = False
    result: bytes | None = None
    error: bytes | None = None
    progress: bytes | None = None
    body: bytes | None = None


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages of a queue stand in each status, how many of the pending could start now, and its pause."""

    queue: str
    by_status: Mapping[TaskStatus, int]
    ready: int = 0
    paused: bool = False


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What one `sweep` did; all zero when there was nothing to do."""

    suspected: int = 0
    rescued: int = 0
    poisoned: int = 0
    promoted: int = 0
    cancelled: int = 0
    expired: int = 0
    deleted: int = 0


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored schedule: opaque `spec`, when it was last due, whether it is paused, a version that rises on change."""

    name: str
    spec: bytes
    last_due: float | None = None
    paused: bool = False
    version: int = 0


class Lock(msgspec.Struct, frozen=True):
    """A held lock: its name, the owner's token and when it runs out by the broker's clock."""

    name: str
    token: str
    until: float


AnyMessage = Message[Any]
