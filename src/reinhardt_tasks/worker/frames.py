"""What a worker and the child processes of its pool say to each other: MessagePack behind a length of four bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

LENGTH: Final = 4
MOST_BYTES: Final = 1 << 28
"""A frame longer than this is no frame of ours; the other side has lost its way."""
RECEIVE: Final = 1 << 16
"""Bytes to take from the socket at a time, so that a child that talks a lot does not keep the loop from the others."""


class ProcessCall(msgspec.Struct, frozen=True, array_like=True):
    """What a task in a child learns about its message: the facts behind its TaskContext."""

    id: bytes
    name: str
    attempts: int = 0
    losses: int = 0
    run_at: float | None = None
    headers: dict[str, str] | None = None


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Where a task is defined: the module, and the path of attributes in it. `name` is what it is registered as."""

    module: str
    path: str
    name: str


class Setup(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To a child, first of all: what the program was called with, where its main module is, which queue it serves.

    The main module has a name when it was started by `python -m`, else a path, and neither in a prompt. What is logged
    at `log_level` or above is sent to the worker.
    """

    argv: list[str]
    main_name: str = ""
    main_path: str = ""
    target: str | None = None
    log_level: int = 30


class Start(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To a child: run this task with these encoded arguments."""

    call: ProcessCall
    origin: Origin
    arguments: bytes


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To a child: tell the task of message `id` that it is cancelled."""

    id: bytes


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To a child: close what you opened, and end."""


class Progressed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """From a child: how far the task of message `id` is, as an encoded Progress."""

    id: bytes
    progress: bytes


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """From a child: a log record, its message and traceback as text; `fields` is what was logged beside them."""

    logger: str
    level: int
    message: str
    traceback: str | None
    created: float
    place: tuple[str, int, str]
    fields: dict[str, str | int | float | bool | None]


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """From a child: the task returned; `result` is its encoded value."""

    result: bytes


class Raised(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """From a child: the task raised, or its arguments or result could not be read; an encoded Failure."""

    failure: bytes


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """From a child: the task cannot be found there; `why` is for the people who defined it."""

    why: str


ToChild = Setup | Start | Cancel | Leave
Answer = Returned | Raised | Refused
FromChild = Progressed | Logged | Answer


def _as_bytes(value: object) -> bytes:
    """A TaskId, as msgspec takes bytes themselves only."""
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"a frame cannot hold {value!r}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_as_bytes)
decode_to_child: Final = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child: Final = msgspec.msgpack.Decoder(FromChild).decode


def frame(said: ToChild | FromChild) -> bytes:
    """`said` as it goes over the wire."""
    raw = _encoder.encode(said)
    return len(raw).to_bytes(LENGTH, "big") + raw


class Frames:
    """Cuts a stream of bytes into the frames it consists of."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The contents of the frames that these bytes complete. Raises ValueError for what cannot be a frame."""
        buffer = self._received
        buffer += received
        while len(buffer) >= LENGTH:
            end = LENGTH + int.from_bytes(buffer[:LENGTH], "big")
            if end > MOST_BYTES:
                raise ValueError(f"a frame of {end} bytes; the most is {MOST_BYTES}")
            if len(buffer) < end:
                return
            content = bytes(buffer[LENGTH:end])
            del buffer[:end]
            yield content
