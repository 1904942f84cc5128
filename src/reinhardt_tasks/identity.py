"""Who a message is: `TaskId`, a time-ordered UUID (version 7)."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from typing import Self

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_62 = (1 << 62) - 1


class TaskId(bytes):
    """The identity of one message: 16 bytes that sort by the moment they were made.

    `str(id)` is the usual text of a UUID. Made by the client, before anything is sent, so that a
    repeated enqueue is recognised as the same message.
    """

    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """A fresh id. Ids of one process made within 250 ns of each other may sort either way."""
        nanoseconds = time.time_ns()
        milliseconds, rest = divmod(nanoseconds, 1_000_000)
        fraction = rest * 4096 // 1_000_000
        noise = int.from_bytes(os.urandom(8), "big") & _RANDOM_62
        return cls((milliseconds << 80 | _VERSION_7 | fraction << 64 | _VARIANT | noise).to_bytes(16, "big"))

    @classmethod
    def parse(cls, text: str | uuid.UUID | TaskId) -> Self:
        """The id written as `text` (any form `uuid.UUID` reads). Raises ValueError for anything else."""
        if isinstance(text, TaskId):
            return cls(text)
        if isinstance(text, uuid.UUID):
            return cls(text.bytes)
        try:
            return cls(uuid.UUID(text).bytes)
        except (ValueError, AttributeError, TypeError):
            raise ValueError(
                f"{text!r} is no task id; expected the text of a UUID such as {str(cls.new())!r}"
            ) from None

    @property
    def uuid(self) -> uuid.UUID:
        """The same identity as a `uuid.UUID`."""
        return uuid.UUID(bytes=bytes(self))

    @property
    def made_at(self) -> datetime:
        """When the id was made, by its maker's clock, to the millisecond."""
        return datetime.fromtimestamp(int.from_bytes(self[:6], "big") / 1000, UTC)

    def __str__(self) -> str:
        text = self.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def __repr__(self) -> str:
        return f"TaskId({str(self)!r})"


AnyId = TaskId | uuid.UUID | str
"""An id in any of the forms it is met in: as it is, as a `uuid.UUID`, or as text."""
