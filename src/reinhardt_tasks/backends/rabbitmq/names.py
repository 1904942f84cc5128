"""What queues and exchanges are called on the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.names import check_queue_name

_FIRST_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True, slots=True)
class Names:
    """Names that begin with `prefix`. A colon, which no queue's name may hold, sets apart what is not a whole queue.

    The prefix has 60 letters at most, so that a name and the 25 steps of a delay fit into a routing key of 255.
    Raises ConfigurationError where it is longer, holds other characters, or begins as the broker's own names do.
    """

    prefix: str

    def __post_init__(self) -> None:
        if _FIRST_PART.fullmatch(str(self.prefix)) and not self.prefix.startswith("amq."):
            return
        raise ConfigurationError(
            f"queue_name={self.prefix!r} cannot stand before the names of queues on the server; use 1 to 60 letters, "
            "digits, '_', '.' or '-', and no 'amq.' in front, such as 'reinhardt_tasks'",
            setting="queue_name",
        )

    def queue(self, queue: str, level: int | None = None) -> str:
        """The queue of the messages of `queue`; of those of one priority, where each has a queue of its own."""
        name = f"{self.prefix}.{check_queue_name(queue)}"
        return name if level is None else f"{name}:{level}"

    def refused(self, queue: str) -> str:
        """Where a quorum queue puts what it has delivered too often."""
        return f"{self.queue(queue)}:refused"

    def rung(self, power: int) -> str:
        """The queue, and the exchange before it, where messages wait 2 to the `power` seconds."""
        return f"{self.prefix}:delay:{power}"

    @property
    def due(self) -> str:
        """The exchange that messages come to when they have waited long enough."""
        return f"{self.prefix}:due"
