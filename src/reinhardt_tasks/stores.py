"""The doors to what is kept outside a queue: `ResultBackend`, values under ids, and `MetadataStore`, how tasks stand.

A new store implements the abstract verbs and passes its suite in `reinhardt_tasks.testing.conformance`. Each verb is
one atomic step and may be repeated when its answer was lost. Times are the store's own: its server's clock, or, where
there is none, the host's. One instance serves one event loop; `sibling()` makes another for another loop. Every verb
may raise BackendUnavailableError and BackendError; one that writes also BackendFullError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypedDict, TypeVar, overload

import msgspec

from reinhardt_tasks.codec import Limits, Seal, ValueCodec
from reinhardt_tasks.contract import MAX_BATCH, MAX_PAGE
from reinhardt_tasks.errors import (
    ArgumentError,
    MetadataConflictError,
    MetadataNotFoundError,
    OptionError,
    ResultNotFoundError,
    ResultTimeoutError,
    TaskError,
    TransitionError,
)
from reinhardt_tasks.identity import AnyId, TaskId
from reinhardt_tasks.kept import keep_error, keep_value, kept_in
from reinhardt_tasks.message import DAY, DEAD_LETTER_TTL
from reinhardt_tasks.names import check_task_name
from reinhardt_tasks.retry import Seconds, seconds
from reinhardt_tasks.status import TRANSITIONS, TaskStatus, check_transition

T = TypeVar("T")
LONGEST_TTL: Final = 36_500 * DAY
"""The most seconds that anything is kept: 100 years."""
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})


class Store(ABC):
    """What both kinds of store have in common: how they are opened and closed."""

    name: ClassVar[str]
    """The store's name in errors, e.g. "sqlite"."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, and check that the other side can keep the promises. Opening an open store does nothing.

        Raises ConfigurationError, SchemaError or BackendUnavailableError.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection and thread. Closing twice does nothing; a closed store may be opened again."""

    @abstractmethod
    def sibling(self) -> Self:
        """Another, not yet opened instance on the same contents, for another event loop or thread."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def lifetime(value: Seconds) -> float:
    """`value` as the seconds that something is kept. Raises OptionError unless it is above 0 and at most 100 years."""
    try:
        number = seconds(value, what="ttl")
    except ValueError as error:
        raise OptionError(str(error), setting="ttl") from None
    if not 0 < number <= LONGEST_TTL:
        raise OptionError(f"ttl is above 0 and at most 100 years, not {value!r}", setting="ttl")
    return number


def patience(timeout: Seconds | None) -> float | None:
    """How long to wait, in seconds; None for ever. Raises ValueError for what is no time."""
    return None if timeout is None else seconds(timeout, what="timeout")


# Results --------------------------------------------------------------------------------------------------------------


class ResultOptions(TypedDict, total=False):
    """What every ResultBackend takes by keyword.

    `ttl`: how long a result is kept (a day). `max_size`: the most bytes it may take (1 MiB). `secret_keys` sign what is
    stored and `encryption_keys` encrypt it, as those of a QueueConfig do; whoever reads needs the same.
    """

    ttl: Seconds
    max_size: int
    secret_keys: Sequence[str]
    encryption_keys: Sequence[str]


class ResultBackend(Store):
    """Results kept under ids until their time is over, to be read and waited for by whoever knows the id.

    It stands by itself: the id may be that of a message or a fresh `TaskId.new()`. A result is a value, encoded as a
    task's result is, or an error. What is stored under an id that has a result replaces it.
    """

    def __init__(
        self,
        *,
        ttl: Seconds = DAY,
        max_size: int = 1 << 20,
        secret_keys: Sequence[str] = (),
        encryption_keys: Sequence[str] = (),
    ) -> None:
        self._ttl = lifetime(ttl)
        self._limits = Limits(max_size=max_size)
        self._seal = Seal(secret_keys, encryption_keys)
        self._plain = self._codec_of(Any)

    # What a store implements: bytes under ids ---------------------------------------------------------------------

    @abstractmethod
    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        """Keep `raw` for `ttl` seconds, in place of what is there; wake whoever waits for it."""

    @abstractmethod
    async def read(self, task_id: TaskId) -> bytes | None:
        """What is kept; None where nothing is, or its time is over."""

    @abstractmethod
    async def remove(self, task_id: TaskId) -> bool:
        """Keep it no longer. False when nothing was there."""

    @abstractmethod
    async def watch(self, task_id: TaskId, timeout: float | None) -> bytes | None:
        """What is kept, as soon as it is there; None after `timeout` seconds (None: waits for ever). Pushed."""

    # What users call ----------------------------------------------------------------------------------------------

    async def store_result(self, id: AnyId, value: object, *, type: Any = None, ttl: Seconds | None = None) -> None:
        """Keep `value` under `id`, for `ttl` or the store's own time, and wake whoever waits for it.

        `type` is the declared type, as of a task's result; without one the value's own class, and plain values inside
        lists and dicts. Raises SerializationError (also as ArgumentError, PayloadTooLargeError) for a value that does
        not travel, ValueError for what is no id.
        """
        task_id = TaskId.parse(id)
        codec = self._codec(_class_of(value) if type is None else type)
        await self._keep(task_id, keep_value(codec.encode(value)), ttl)

    async def store_error(self, id: AnyId, error: BaseException, *, ttl: Seconds | None = None) -> None:
        """Keep an error under `id` instead of a value: `get_result` and `wait` raise it.

        An error of this package comes back as it was; any other as an ExecutionFailedError with its type, message and
        traceback as text.
        """
        task_id = TaskId.parse(id)
        await self._keep(task_id, keep_error(task_id, error), ttl)

    @overload
    async def get_result(self, id: AnyId) -> Any: ...
    @overload
    async def get_result(self, id: AnyId, *, type: type[T]) -> T: ...
    async def get_result(self, id: AnyId, *, type: Any = Any) -> Any:
        """The value under `id`, read as `type`; without one, as plain values.

        Raises the error that was stored in its place; ResultNotFoundError; SerializationError for a value of another
        type or with a wrong signature.
        """
        task_id = TaskId.parse(id)
        raw = await self.read(task_id)
        if raw is None:
            raise ResultNotFoundError(task_id=str(task_id))
        return self._opened(task_id, raw, type)

    @overload
    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> Any: ...
    @overload
    async def wait(self, id: AnyId, timeout: Seconds | None = None, *, type: type[T]) -> T: ...
    async def wait(self, id: AnyId, timeout: Seconds | None = None, *, type: Any = Any) -> Any:
        """As `get_result`, as soon as there is one. None waits without limit. Pushed by the store.

        Nothing tells whether a result will ever come: ResultTimeoutError after `timeout` seconds.
        """
        task_id = TaskId.parse(id)
        limit = patience(timeout)
        raw = await self.watch(task_id, limit)
        if raw is None:
            raise ResultTimeoutError(
                f"No result of {task_id} was stored within {limit} s. Wait longer, or see that it is being made.",
                task_id=str(task_id),
                timeout=limit,
            )
        return self._opened(task_id, raw, type)

    async def delete_result(self, id: AnyId) -> bool:
        """Forget the result under `id`. False when there was none."""
        return await self.remove(TaskId.parse(id))

    async def _keep(self, task_id: TaskId, kept: bytes, ttl: Seconds | None) -> None:
        await self.put(task_id, self._seal.close(kept, task_id), self._ttl if ttl is None else lifetime(ttl))

    def _opened(self, task_id: TaskId, raw: bytes, declared: Any) -> Any:
        kept = kept_in(self._seal.open(raw, task_id), task_id)
        if isinstance(kept, TaskError):
            raise kept
        return self._codec(declared).decode(kept)

    def _codec(self, declared: Any) -> ValueCodec:
        return self._plain if declared is Any else self._codec_of(declared)

    def _codec_of(self, declared: Any) -> ValueCodec:
        return ValueCodec(declared, where="the result", limits=self._limits, mismatch=ArgumentError)


def _class_of(value: object) -> Any:
    """The type that a value is encoded by where none is declared."""
    kind = type(value)
    return Any if kind in _PLAIN else kind


# Metadata -------------------------------------------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC)


class TaskMetadata(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one task stands, and what its owner keeps with it.

    `task_data` are bytes that the store does not look into. `created_at`, `updated_at` and `version` are the store's:
    what is given to `store` is replaced by its own clock, and by 1; the version rises with each change.
    """

    id: TaskId
    name: str
    status: TaskStatus = TaskStatus.PENDING
    created_at: datetime = msgspec.field(default_factory=_now)
    updated_at: datetime = msgspec.field(default_factory=_now)
    task_data: bytes = b""
    version: int = 0


class MetadataChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change of one record: a legal step to `status`, other `task_data`, or both.

    With `version` it is made only if the record is still of that version: a claim on it that others may have taken
    over is so told from one that still holds.
    """

    id: TaskId
    status: TaskStatus | None = None
    task_data: bytes | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """What `find` looks for, checked; nothing given stands for any."""

    statuses: frozenset[TaskStatus]
    name: str | None
    before: TaskId | None
    limit: int

    @classmethod
    def by(cls, statuses: Collection[TaskStatus], name: str | None, before: AnyId | None, limit: int) -> Sought:
        """Raises ValueError for a status, an id or a limit that is none, ConfigurationError for a name that is none."""
        _check_limit(limit)
        if name is not None:
            check_task_name(name, place="find(name=…)")
        start = None if before is None else TaskId.parse(before)
        return cls(frozenset(map(TaskStatus, statuses)), name, start, min(limit, MAX_PAGE))


def _check_limit(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"limit is a whole number, 1 or more, not {value!r}")


class MetadataStore(Store):
    """How tasks stand, kept outside the broker that carries them: records by id, changed by legal steps only.

    Records of finished tasks are forgotten `ttl` seconds after they finished; others are kept until they are deleted.
    The verbs for many take at most MAX_BATCH (else ValueError) and are one step; those for one are calls of them.
    What is given is checked first: ValueError for an id or a status that is none, ConfigurationError for a name that no
    task could have, ArgumentError for data that are no bytes.
    """

    shared: ClassVar[bool]
    """Whether other processes see the same records."""

    def __init__(self, *, ttl: Seconds = DEAD_LETTER_TTL) -> None:
        self._ttl = lifetime(ttl)

    @abstractmethod
    async def store_many(self, records: Sequence[TaskMetadata]) -> list[bool]:
        """Keep new records, all or none; per record whether this call stored it.

        One whose id is known, here or earlier in the call, is left as it stands there: False.
        """

    @abstractmethod
    async def get_many(self, ids: Sequence[TaskId]) -> list[TaskMetadata | None]:
        """The records of `ids`, in order, None for an unknown one."""

    @abstractmethod
    async def update_many(self, changes: Sequence[MetadataChange]) -> list[TaskMetadata | TaskError]:
        """Make each change that can be made, in order; per change the record as it is now, or why it was left alone.

        That is MetadataNotFoundError, MetadataConflictError (it is not of the `version` given) or TransitionError.
        """

    @abstractmethod
    async def delete_many(self, ids: Sequence[TaskId]) -> list[bool]:
        """Forget records, whatever their status; per id whether there was one."""

    @abstractmethod
    async def find(
        self,
        *,
        statuses: Collection[TaskStatus] = (),
        name: str | None = None,
        before: AnyId | None = None,
        limit: int = 50,
    ) -> list[TaskMetadata]:
        """Records that match, newest id first, at most `limit` and MAX_PAGE, continuing below the id `before`."""

    @abstractmethod
    async def wait(self, id: AnyId, timeout: Seconds | None = None) -> TaskMetadata | None:
        """The record once its task is finished; None after `timeout` seconds (None: waits for ever). Pushed.

        Raises MetadataNotFoundError when it is unknown, or deleted meanwhile.
        """

    # For one record -----------------------------------------------------------------------------------------------

    async def store(self, metadata: TaskMetadata) -> bool:
        """Keep a new record, with the store's times. False, with nothing done, when its id is known already."""
        return (await self.store_many((metadata,)))[0]

    async def get(self, id: AnyId) -> TaskMetadata:
        """The record of `id`. Raises MetadataNotFoundError, ValueError for what is no id."""
        task_id = TaskId.parse(id)
        record = (await self.get_many((task_id,)))[0]
        if record is None:
            raise MetadataNotFoundError(task_id=str(task_id))
        return record

    async def update_status(
        self, id: AnyId, status: TaskStatus, *, task_data: bytes | None = None, version: int | None = None
    ) -> TaskMetadata:
        """Let a task be of another status, and keep other data with it where they are given; the record as it is now.

        Raises, with nothing done, MetadataNotFoundError, TransitionError for a step that the table forbids,
        MetadataConflictError when the record is no longer of `version`.
        """
        change = MetadataChange(id=TaskId.parse(id), status=TaskStatus(status), task_data=task_data, version=version)
        return await self._update(change)

    async def update_data(self, id: AnyId, task_data: bytes, *, version: int | None = None) -> TaskMetadata:
        """Keep other data with a task that stays as it stands. Raises as `update_status` does."""
        return await self._update(MetadataChange(id=TaskId.parse(id), task_data=task_data, version=version))

    async def delete(self, id: AnyId) -> bool:
        """Forget a record, whatever its status. False when there was none."""
        return (await self.delete_many((TaskId.parse(id),)))[0]

    async def _update(self, change: MetadataChange) -> TaskMetadata:
        answer = (await self.update_many((change,)))[0]
        if isinstance(answer, TaskError):
            raise answer
        return answer


# What every MetadataStore decides alike -------------------------------------------------------------------------------


def check_ids(ids: Sequence[TaskId]) -> None:
    """Raise ValueError for more ids than one step takes, and for what is none."""
    _check_number(ids)
    for id in ids:
        _check_id(id)


def check_records(records: Sequence[TaskMetadata]) -> None:
    """Raise unless these can be stored in one step; see MetadataStore for the errors."""
    _check_number(records)
    for record in records:
        _check_id(record.id)
        _check_status(record.status)
        _check_data(record.task_data)
        check_task_name(record.name, place="TaskMetadata(name=…)")


def check_changes(changes: Sequence[MetadataChange]) -> None:
    """Raise unless these could be made in one step, whatever the records are; see MetadataStore for the errors."""
    _check_number(changes)
    for change in changes:
        _check_id(change.id)
        if change.status is not None:
            _check_status(change.status)
        if change.task_data is not None:
            _check_data(change.task_data)
        elif change.status is None:
            raise ValueError(
                f"the change of {change.id} gives neither a status nor task_data; give one of them, or both"
            )


def _check_number(items: Sequence[object]) -> None:
    if len(items) > MAX_BATCH:
        raise ValueError(f"{len(items)} records in one call; the most is {MAX_BATCH}, give the rest to another")


def _check_id(value: object) -> None:
    if not isinstance(value, TaskId) or len(value) != 16:
        raise ValueError(f"{value!r} is no task id; make one by TaskId.new(), or by TaskId.parse(…) from its text")


def _check_status(value: object) -> None:
    if not isinstance(value, TaskStatus):
        raise ValueError(f"{value!r} is no status; write a TaskStatus, such as TaskStatus.RUNNING")


def _check_data(value: object) -> None:
    if not isinstance(value, bytes):
        raise ArgumentError(
            f"task_data are bytes, not of type `{type(value).__qualname__}`; encode them first, as in text.encode()",
            where="task_data",
            expected="bytes",
            given=type(value).__qualname__,
        )


def sources(status: TaskStatus) -> frozenset[TaskStatus]:
    """The statuses from which `status` may be reached."""
    return frozenset(old for old, allowed in TRANSITIONS.items() if status in allowed)


def refusal(change: MetadataChange, standing: tuple[TaskStatus, int] | None) -> TaskError | None:
    """Why a change is not made to a record of this (status, version); None: it is. No record: `standing` is None."""
    task_id = str(change.id)
    if standing is None:
        return MetadataNotFoundError(task_id=task_id)
    status, version = standing
    if change.version not in (None, version):
        return MetadataConflictError(task_id=task_id, version=change.version, found=version)
    if change.status is None:
        return None
    try:
        check_transition(status, change.status, task_id=task_id)
    except TransitionError as error:
        return error
    return None


def moment(instant: float) -> datetime:
    """Unix seconds, as stores keep them, as an aware datetime."""
    return datetime.fromtimestamp(instant, UTC)
