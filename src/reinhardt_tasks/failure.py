"""What an exception means for its message: an error record that can travel, and whether another run is worth it."""

from __future__ import annotations

import traceback
from types import TracebackType

import msgspec
from msgspec import structs

from reinhardt_tasks.errors import SerializationError, SignatureError, TaskTimeoutError
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.retry import Retry, RetryStrategy

_PACKAGE = __name__.partition(".")[0] + "."


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception judged: its record, whether its kind is retried, and the wait the task asked for (seconds)."""

    record: ErrorRecord
    retryable: bool = False
    after: float | None = None

    def encode(self) -> bytes:
        """MessagePack, for the way from a task's process to its worker; the record's texts are cut and escaped."""
        return _encoder.encode(structs.replace(self, record=ErrorRecord.decode(self.record.encode())))

    @classmethod
    def decode(cls, raw: bytes) -> Failure:
        """The failure in `raw`, as `encode` made it."""
        return _decoder.decode(raw)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Failure)


def judge(strategy: RetryStrategy, error: BaseException) -> Failure:
    """What `error`, raised by a task, means under its strategy. The traceback starts at the task's own code."""
    after = getattr(error, "after", None) if isinstance(error, Retry) else None
    record = ErrorRecord(type_name(error), _text(error), _traceback_text(error), _reason(error))
    return Failure(record, strategy.retries(error), after)


def refusal(error: SerializationError) -> ErrorRecord:
    """The record of a message that cannot be read: `bad_signature` or `bad_payload`, never retried."""
    reason = Reason.BAD_SIGNATURE if isinstance(error, SignatureError) else Reason.BAD_PAYLOAD
    return ErrorRecord(type_name(error), _text(error), "", reason)


def type_name(error: BaseException) -> str:
    """The error's class, with its module unless it is a builtin."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _reason(error: BaseException) -> Reason:
    return Reason.TIMEOUT if isinstance(error, TaskTimeoutError) else Reason.FAILED


def _text(error: BaseException) -> str:
    """`str(error)`, whatever the task's own `__str__` does."""
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - user code; the message must end all the same
        return f"(its __str__ raised {type(broken).__name__})"


def _traceback_text(error: BaseException) -> str:
    """The formatted traceback without this package's frames at its top."""
    try:
        return "".join(traceback.format_exception(type(error), error, _own_frames(error.__traceback__)))
    except BaseException as broken:  # noqa: BLE001 - as above
        return f"(its traceback cannot be shown: {type(broken).__name__})"


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame outside this package on; all of it when there is none."""
    step = trace
    while step is not None:
        if not step.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            return step
        step = step.tb_next
    return trace
