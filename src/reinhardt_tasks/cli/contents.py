"""What a message carries: its arguments and its result, checked by its task where TARGET is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from reinhardt_tasks.cli.documents import Document
from reinhardt_tasks.cli.failures import sentence
from reinhardt_tasks.cli.text import shortened
from reinhardt_tasks.codec import Seal
from reinhardt_tasks.config import QueueConfig, with_environment
from reinhardt_tasks.errors import SerializationError
from reinhardt_tasks.message import Record, decode_envelope
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.task import Task

_SHOWN = 2_000
"""The most characters of one value in the text form."""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of a message; arguments by parameter. `obstacles` are sentences about what could not."""

    arguments: dict[str, Any] | None = None
    timeout: float | None = None
    headers: dict[str, str] = {}
    result: Any = None
    has_result: bool = False
    obstacles: tuple[str, ...] = ()


def contents_of(record: Record, queue: TaskQueue | None) -> Contents:
    """What `record` carries, as far as it can be read with the keys of `queue` or, without one, of the environment."""
    task = None if queue is None else queue.find(record.name)
    obstacles: list[str] = []
    if queue is not None and task is None:
        obstacles.append(f"the target has no task {record.name}, so values are shown as they travel")
    seal = _seal(queue)
    call = _read(lambda: _call(record, seal, task), obstacles)
    result = _read(lambda: _result(record, seal, task), obstacles)
    return Contents(**call, **result, obstacles=tuple(obstacles))


def _seal(queue: TaskQueue | None) -> Seal:
    if queue is not None:
        return queue.seal
    config = with_environment(QueueConfig())
    return Seal(config.secret_keys, config.encryption_keys)


def _read(part: Callable[[], dict[str, Any]], obstacles: list[str]) -> dict[str, Any]:
    """The fields of one part; none of them where it cannot be read, and the reason among the obstacles."""
    try:
        return part()
    except (SerializationError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        obstacles.append(sentence(error))
        return {}


def _call(record: Record, seal: Seal, task: Task[Any, Any] | None) -> dict[str, Any]:
    if record.body is None:
        return {}
    envelope = decode_envelope(seal.open(record.body))
    found = {"timeout": envelope.t, "headers": dict(envelope.h or {})}
    arguments = msgspec.msgpack.decode(envelope.a, type=dict[str, Any])
    if task is not None:
        task.arguments.decode(envelope.a)  # says whether a worker could read them
    return {**found, "arguments": {name: _plain(value) for name, value in arguments.items()}}


def _result(record: Record, seal: Seal, task: Task[Any, Any] | None) -> dict[str, Any]:
    if record.status is not TaskStatus.SUCCESS or record.result is None:
        return {}
    raw = seal.open(record.result, bytes(record.id))
    value = msgspec.msgpack.decode(raw) if task is None else task.returns.decode(raw)
    return {"result": _plain(value), "has_result": True}


def _plain(value: object) -> object:
    """`value` as JSON knows it; what JSON has no form for, as its repr; nan and inf as text."""
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_readable)
    return _finite(plain)


def _readable(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def contents_document(contents: Contents) -> Document:
    """What `show --json` adds. `arguments` is null where they could not be read, `result` also where there is none."""
    return {
        "arguments": contents.arguments,
        "timeout": contents.timeout,
        "headers": contents.headers,
        "result": contents.result,
        "obstacles": list(contents.obstacles),
    }


def contents_facts(contents: Contents) -> dict[str, object]:
    """What `show` tells of it at a terminal, by name."""
    facts: dict[str, object] = {f"argument {name}": _json(value) for name, value in (contents.arguments or {}).items()}
    facts |= {f"header {name}": _json(value) for name, value in contents.headers.items()}
    if contents.timeout is not None:
        facts["timeout"] = f"{contents.timeout:g} s" if contents.timeout else "none"
    if contents.has_result:
        facts["result"] = _json(contents.result)
    return facts


def _json(value: object) -> str:
    return shortened(msgspec.json.encode(value).decode(), _SHOWN)
