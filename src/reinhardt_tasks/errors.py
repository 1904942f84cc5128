"""Every error of the package, one tree, each with its facts as attributes and a text that says what to do.

TaskError
├── ExecutionFailedError            the task ended without a result; the worker's error as text
│   ├── TaskTimeoutError            it ran longer than its own timeout
│   └── MaxRetriesExceededError     it failed on every run it was allowed
├── TaskCancelledError              it was cancelled before it ended
├── TaskNotFoundError               no task of that name, or no message of that id
│   ├── ResultNotFoundError         no result is kept under that id
│   ├── ScheduleNotFoundError       no schedule is kept under that name
│   └── MetadataNotFoundError       no record is kept under that id
├── ResultTimeoutError              waiting for a result took too long (also TimeoutError)
├── ResultExpiredError              it succeeded, but its result is no longer kept
├── QueueError                      the queue cannot do this now: closed, paused, not configured yet
├── DuplicateTaskError              an unfinished message holds the same unique key
├── LeaseLostError                  another worker holds the message now
├── TransitionError                 a status may not follow the one before
├── MetadataConflictError           the record has changed since it was read
├── SerializationError              a value cannot travel, or did not arrive whole
│   ├── ArgumentError               the call does not fit the task's parameters (also TypeError)
│   ├── ResultMismatchError         the task returned something else than it declares
│   ├── UnencodableError            a value of a type that has no form on the wire
│   ├── NotFiniteError              nan or inf where the type is not float
│   ├── InvalidTextError            text that is not Unicode (a lone surrogate)
│   ├── PayloadTooLargeError        more bytes than the limit
│   ├── PayloadTooDeepError         more nesting than the limit
│   ├── BadPayloadError             bytes that do not decode: dead letter `bad_payload`
│   └── SignatureError              missing or wrong signature: dead letter `bad_signature`
├── UnsupportedError                this backend cannot honour the option
├── ScheduleError                   no such moment, expression or zone (also ValueError)
├── ConfigurationError              a setting or a definition that cannot work
│   ├── OptionError                 an option of one call that cannot work (also ValueError)
│   └── TargetError                 TARGET does not lead to a queue
├── SchemaError                     the stored tables are of another version
└── TaskExecutionError              what backends raise
    ├── BackendError
    │   ├── BackendUnavailableError     not reachable now; retrying later may help
    │   ├── BackendFullError            no room, or writing is refused
    │   ├── NotADatabaseError           the file is something else
    │   └── DirectoryMissingError       the file's directory does not exist
    ├── BackendExecutionFailedError     the backend refused what came of the task (also ExecutionFailedError)
    └── BackendTaskNotFoundError        the backend holds no such message (also TaskNotFoundError)

Every class takes an optional text and keyword facts: `LeaseLostError(task_id=…, holder=…)` writes its own
text from the class's `says`, `LeaseLostError("text", task_id=…)` keeps the one given. All of them survive pickle and
copy with their facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(eq=False)
class TaskError(Exception):
    """Root of every error raised by this package."""

    says: ClassVar[str] = "The task queue could not do this."

    message: str = ""

    def __post_init__(self) -> None:
        if not self.message:
            self.message = self.says.format_map({fact: _said(value) for fact, value in vars(self).items()})
        self.args = (self.message,)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the class with `args` alone: facts lost, TypeError where a subclass wants more.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _said(fact: object) -> object:
    """A fact within a sentence, which brings its own full stop."""
    if fact is None:
        return "(unknown)"
    return fact.rstrip(" .\n") if isinstance(fact, str) else fact


def _rebuilt(kind: type[TaskError], args: tuple[object, ...], facts: dict[str, object]) -> TaskError:
    """The error of class `kind` as it was before it was pickled or copied, made without calling its constructor."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


# How a task ended -----------------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class ExecutionFailedError(TaskError):
    """The task ended without a result.

    `error_type`, `error_message` and `traceback_text` are what the worker saw, as text (at most 64 KB). `reason` says
    why there will be no further run: that of the dead letter, such as `poison` or `bad_payload`.
    """

    says = "Task {name} ({task_id}) failed: {error_type}: {error_message}. Repair the cause, then requeue it."

    task_id: str | None = None
    name: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback_text: str = field(default="", repr=False)
    reason: str | None = None


@dataclass(eq=False, kw_only=True)
class TaskTimeoutError(ExecutionFailedError):
    """The task ran longer than its own `timeout`; a wait that took too long is ResultTimeoutError."""

    says = "Task {name} ({task_id}): {error_message}. Raise its `timeout=`, or give it less to do."


@dataclass(eq=False, kw_only=True)
class MaxRetriesExceededError(ExecutionFailedError):
    """The task raised on each of its `attempts` runs; the error facts are those of the last one."""

    says = (
        "Task {name} ({task_id}) failed on all its {attempts} runs, the last with {error_type}: {error_message}. "
        "Repair the cause, then requeue it."
    )

    attempts: int | None = None


@dataclass(eq=False, kw_only=True)
class TaskCancelledError(TaskError):
    """The task was cancelled; `reason` says by what, such as a task it waited for that failed."""

    says = "Task {name} ({task_id}) was cancelled ({reason}). Requeue it to run it after all."

    task_id: str | None = None
    name: str | None = None
    reason: str | None = None


@dataclass(eq=False, kw_only=True)
class TaskNotFoundError(TaskError):
    """No task is registered under `name`, or no message has the id `task_id` (never enqueued here, or expired)."""

    says = "There is no task {name} and no message {task_id} here. Check the name and the backend's URL."

    task_id: str | None = None
    name: str | None = None


class ResultNotFoundError(TaskNotFoundError):
    """A ResultBackend keeps no result under the id `task_id`."""

    says = (
        "No result of {task_id} is kept here: it is not stored yet, was deleted, or its time is over. "
        "Wait for it with `wait`, or keep results longer with `ttl`."
    )


class ScheduleNotFoundError(TaskNotFoundError):
    """No schedule called `name` is kept in the backend."""

    says = "There is no schedule {name} here. Check the name and the backend's URL; list those there are."


class MetadataNotFoundError(TaskNotFoundError):
    """A MetadataStore keeps no record under the id `task_id`."""

    says = (
        "No record of {task_id} is kept here: it was never stored, was deleted, or finished longer than `ttl` ago. "
        "Check the id and which store this is, or keep records longer with `ttl`."
    )


@dataclass(eq=False, kw_only=True)
class ResultTimeoutError(TaskError, TimeoutError):
    """No result came within `timeout` seconds. The task itself goes on."""

    says = "Task {task_id} has not ended within {timeout} s. It goes on: wait longer, or see that it is served."

    task_id: str | None = None
    timeout: float | None = None


@dataclass(eq=False, kw_only=True)
class ResultExpiredError(TaskError):
    """The task succeeded and its result was kept for `result_ttl` seconds, which are over."""

    says = "Task {task_id} succeeded, but its result is no longer kept. Raise `result_ttl` or read results sooner."

    task_id: str | None = None
    result_ttl: float | None = None


# What a queue and its messages refuse ---------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class QueueError(TaskError):
    """The queue `queue` cannot do this now."""

    says = "Queue {queue} cannot do this now."

    queue: str | None = None


@dataclass(eq=False, kw_only=True)
class DuplicateTaskError(TaskError):
    """The unique key `unique_key` is held by the message `existing_id`."""

    says = "Message {existing_id} already holds the unique key {unique_key}. Wait for it or cancel it first."

    existing_id: str | None = None
    unique_key: str | None = None


@dataclass(eq=False, kw_only=True)
class LeaseLostError(TaskError):
    """Another worker (`holder`, where known) holds the message now; what was offered for it here was dropped."""

    says = (
        "Message {task_id} is no longer held here (holder now: {holder}); what was offered for it was dropped. "
        "The other run counts: do nothing."
    )

    task_id: str | None = None
    holder: str | None = None


@dataclass(eq=False, kw_only=True)
class TransitionError(TaskError):
    """A message in `from_status` may not become `to_status`."""

    says = "Message {task_id} is {from_status} and cannot become {to_status}. Read its status again before changing it."

    task_id: str | None = None
    from_status: str | None = None
    to_status: str | None = None


@dataclass(eq=False, kw_only=True)
class MetadataConflictError(TaskError):
    """The record of `task_id` is of version `found`, and was to be changed only if it was of `version`."""

    says = (
        "The record of {task_id} has changed since it was read (version {version} then, {found} now); it was left "
        "alone. Read it again, then decide."
    )

    task_id: str | None = None
    version: int | None = None
    found: int | None = None


# Values on the wire ---------------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class SerializationError(TaskError):
    """A value cannot travel, or did not arrive whole.

    `name` is the task, `where` the place in its call (`parameter 'width'`, `parameter 'sizes'[2]`, `the result`).
    """

    says = "Task {name}: {where} cannot be carried."

    name: str | None = None
    where: str | None = None


@dataclass(eq=False, kw_only=True)
class ArgumentError(SerializationError, TypeError):
    """The call does not fit the task's parameters: too many, missing, unexpected, or of another type."""

    expected: str | None = None
    given: str | None = None


@dataclass(eq=False, kw_only=True)
class ResultMismatchError(SerializationError):
    """The task returned `given` where it declares `expected`, so that a handle could not read the result back."""

    expected: str | None = None
    given: str | None = None


@dataclass(eq=False, kw_only=True)
class UnencodableError(SerializationError):
    """A value of type `given` has no form on the wire."""

    given: str | None = None


@dataclass(eq=False, kw_only=True)
class NotFiniteError(SerializationError):
    """nan or inf where the declared type is not float."""


@dataclass(eq=False, kw_only=True)
class InvalidTextError(SerializationError):
    """Text that is not valid Unicode, such as one with a lone surrogate."""


@dataclass(eq=False, kw_only=True)
class PayloadTooLargeError(SerializationError):
    """`size` bytes where `limit` are allowed."""

    says = (
        "Task {name}: {where} takes {size} bytes; the limit is {limit}. "
        "Store it elsewhere and pass its key, or raise `max_size`."
    )

    size: int | None = None
    limit: int | None = None


@dataclass(eq=False, kw_only=True)
class PayloadTooDeepError(SerializationError):
    """Nested more than `limit` levels deep: `depth` levels or more."""

    says = "Task {name}: {where} is nested {depth} levels deep or more; the limit is {limit}. Flatten it."

    depth: int | None = None
    limit: int | None = None


@dataclass(eq=False, kw_only=True)
class BadPayloadError(SerializationError):
    """Bytes that do not decode to what the task declares: a dead letter, reason `bad_payload`."""


@dataclass(eq=False, kw_only=True)
class SignatureError(SerializationError):
    """Bytes without the signature the keys ask for, or with a wrong one: a dead letter, reason `bad_signature`."""


# Definitions and settings ---------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class UnsupportedError(TaskError):
    """The backend `backend` cannot honour `option`; `instead` names one that can, or another way."""

    says = "The {backend} backend cannot honour {option}. Use {instead}."

    option: str | None = None
    backend: str | None = None
    instead: str | None = None


@dataclass(eq=False, kw_only=True)
class ScheduleError(TaskError, ValueError):
    """A schedule that names no moment: a wrong expression, zone, interval or instant (`expression`)."""

    says = "The schedule {expression} is not valid."

    expression: str | None = None


@dataclass(eq=False, kw_only=True)
class ConfigurationError(TaskError):
    """A setting (`setting`) or a task's definition that cannot work."""

    says = "The setting {setting} is not valid."

    setting: str | None = None


@dataclass(eq=False, kw_only=True)
class OptionError(ConfigurationError, ValueError):
    """An option (`setting`) given to one call, of `using`, `enqueue` and their kin, that cannot work."""


@dataclass(eq=False, kw_only=True)
class TargetError(ConfigurationError):
    """`target` does not lead to a TaskQueue."""

    says = "{target} does not lead to a queue. Write it as module:queue, for example app:queue."

    target: str | None = None


@dataclass(eq=False, kw_only=True)
class SchemaError(TaskError):
    """The tables at `place` are of version `found`; this package knows up to `known`."""

    says = "{place} holds tables of version {found}; this reinhardt-tasks knows up to {known}. Upgrade reinhardt-tasks."

    place: str | None = None
    found: int | None = None
    known: int | None = None


# What backends raise --------------------------------------------------------------------------------------------------


class TaskExecutionError(TaskError):
    """Root of what backends raise."""


@dataclass(eq=False, kw_only=True)
class BackendError(TaskExecutionError):
    """The backend `backend` at `place` (a path, or a URL without its password) could not do this."""

    says = "The {backend} backend at {place} could not do this."

    backend: str | None = None
    place: str | None = None


class BackendUnavailableError(BackendError):
    """The backend cannot be reached now. A write may have taken effect; repeating it under the same id is safe."""

    says = "The {backend} backend at {place} cannot be reached. Check that it runs and that the URL is right."


class BackendFullError(BackendError):
    """The backend takes nothing new: memory, disk or a length limit is used up. Running work can still end."""

    says = "The {backend} backend at {place} has no room. Make room or raise its limit, then enqueue again."


class NotADatabaseError(BackendError):
    """The file at `place` is not a database of this backend; it was not touched."""

    says = "{place} is not a {backend} database. It was left as it is: name another file in the URL."


class DirectoryMissingError(BackendError):
    """The directory of the file at `place` does not exist; it is not made, as a mistyped path would then go unseen."""

    says = "The directory of {place} does not exist. Create it, or correct the path in the URL."


class BackendExecutionFailedError(TaskExecutionError, ExecutionFailedError):
    """The task ran, but the backend refused to store what came of it; `error_message` says why."""

    says = ExecutionFailedError.says


class BackendTaskNotFoundError(TaskExecutionError, TaskNotFoundError):
    """The backend holds no message with the id `task_id`."""

    says = (
        "The backend holds no message {task_id}: it was never enqueued here, or its record has expired. "
        "Check the id and the URL."
    )
