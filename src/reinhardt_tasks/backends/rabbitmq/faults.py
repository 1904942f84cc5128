"""What RabbitMQ's errors mean to a caller: each becomes one of the package's errors, with the server and a remedy."""

from __future__ import annotations

from typing import Final

from pika import exceptions

from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    ConfigurationError,
    QueueError,
    TaskError,
)

_NAME: Final = "rabbitmq"
ACCESS_REFUSED: Final = 403
PRECONDITION_FAILED: Final = 406
NOT_ALLOWED: Final = 530
_WILL_NOT_MEND: Final = frozenset({ACCESS_REFUSED, NOT_ALLOWED})
_NO_LOGIN: Final = (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError)
_NO_ENTRY: Final = (exceptions.ProbableAccessDeniedError,)


def code_of(error: BaseException | None) -> int:
    """The number that the broker closed a channel or a connection with; 0 where it did not."""
    return error.reply_code if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed) else 0


def said_by(error: BaseException) -> str:
    """What the broker said, or else what is known of the error, which pika may have wrapped several times."""
    if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return str(error.reply_text)
    inner = (getattr(error, "exception", None), *getattr(error, "exceptions", ()), *error.args)
    wrapped = [one for one in inner if isinstance(one, BaseException)]
    return said_by(wrapped[-1]) if wrapped else str(error) or type(error).__name__


def translated(error: BaseException, place: str) -> TaskError:
    """What to raise instead of `error`, which came of talking to the server at `place`."""
    fault = error if isinstance(error, TaskError) else _ours(error, place)
    if fault is not error:
        fault.__cause__ = error
    return fault


def _ours(error: BaseException, place: str) -> TaskError:
    if isinstance(error, _NO_LOGIN) or (
        isinstance(error, exceptions.ConnectionClosed) and code_of(error) == ACCESS_REFUSED
    ):
        return ConfigurationError(
            f"RabbitMQ at {place} does not accept the user and password of the URL ({said_by(error)}). Write them as "
            "amqp://user:password@host; `guest` may log in from the server's own machine only.",
            setting="url",
        )
    if isinstance(error, _NO_ENTRY) or code_of(error) == NOT_ALLOWED:
        return ConfigurationError(
            f"RabbitMQ at {place} does not let the user into this virtual host ({said_by(error)}). Name another, as in "
            "amqp://user:password@host/virtual_host, or have it made and permitted there.",
            setting="url",
        )
    if code_of(error) == ACCESS_REFUSED:
        return BackendError(
            f"the user of RabbitMQ at {place} lacks a right: {said_by(error)}. Grant it with rabbitmqctl "
            "set_permissions.",
            backend=_NAME,
            place=place,
        )
    if isinstance(error, exceptions.ChannelClosed):
        return BackendError(f"RabbitMQ at {place} refused a step: {said_by(error)}", backend=_NAME, place=place)
    return unavailable(place, said_by(error))


def will_not_mend(error: BaseException) -> bool:
    """Whether waiting and trying again is of no use."""
    return isinstance(error, ConfigurationError) or code_of(error) in _WILL_NOT_MEND


def unavailable(place: str, why: str) -> BackendUnavailableError:
    """The server at `place` cannot be reached now, or has not answered."""
    return BackendUnavailableError(
        f"RabbitMQ at {place} cannot be reached: {why.rstrip(' .')}. Check that it runs and that the URL is right.",
        backend=_NAME,
        place=place,
    )


def blocked(place: str, reason: str) -> BackendFullError:
    """The server at `place` takes nothing new: memory or disk is short there."""
    return BackendFullError(
        f"RabbitMQ at {place} takes nothing new ({reason or 'it is blocked'}); running work can still end. What was "
        "just sent may yet be stored, so repeat it under the same id. Let workers catch up, make room on its disk, or "
        "raise vm_memory_high_watermark.",
        backend=_NAME,
        place=place,
    )


def refused(place: str, queue: str) -> BackendFullError:
    """The server did not store a message for `queue`."""
    return BackendFullError(
        f"RabbitMQ at {place} did not store a message for {queue}: the queue is full, or has no node to run on. See "
        "its policies (max-length) and its log, then enqueue again.",
        backend=_NAME,
        place=place,
    )


def unroutable(place: str, exchange: str, key: str) -> QueueError:
    """No queue is bound where a message was sent to."""
    to = f"the exchange {exchange!r} under {key!r}" if exchange else f"the queue {key!r}"
    remedy = "Correct routing_key or bindings" if exchange else "It was deleted: have it declared again, by a worker"
    return QueueError(
        f"RabbitMQ at {place} has no queue for a message to {to}; it was not stored. {remedy}, then enqueue again.",
        queue=key,
    )


def declared_otherwise(place: str, name: str, said: str) -> ConfigurationError:
    """A queue or exchange is there already, and is not what is wanted."""
    return ConfigurationError(
        f"RabbitMQ at {place} already has {name!r}, declared with other arguments: {said}. It was left as it is. Use "
        "another queue_name (or exchange), or delete the old one when it is empty.",
        setting="queue_name",
    )
