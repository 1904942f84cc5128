"""How large and how deep a payload may be."""

from __future__ import annotations

from dataclasses import dataclass

from reinhardt_tasks.errors import ConfigurationError

_DEEPEST = 256  # looking at a value takes a few Python frames a level, and the interpreter allows 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call, or one result, may take: `max_size` bytes when encoded, `max_depth` levels of nesting.

    Raises ConfigurationError if `max_size` is not positive, or `max_depth` is not within 1 and 256.
    """

    max_size: int = 1 << 20
    max_depth: int = 64

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ConfigurationError(
                f"max_size is {self.max_size}; give a number of bytes, 1 or more.", setting="max_size"
            )
        if not 1 <= self.max_depth <= _DEEPEST:
            raise ConfigurationError(
                f"max_depth is {self.max_depth}; give a number of levels from 1 to {_DEEPEST}.", setting="max_depth"
            )


DEFAULT = Limits()
