"""When a failed message runs again: attempt number → seconds (pure)."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

Seconds = float | timedelta
"""A duration: seconds, or a timedelta."""


def seconds(value: Seconds, *, what: str, minimum: float = 0.0) -> float:
    """`value` as finite seconds. Raises ValueError naming `what` when it is below `minimum` or no number."""
    number = _finite(value.total_seconds() if isinstance(value, timedelta) else value)
    if number is None or number < minimum:
        raise ValueError(f"{what} is a finite number of seconds or a timedelta, at least {minimum:g}, not {value!r}")
    return number


def _finite(value: object) -> float | None:
    """`value` as a float, None unless it is a finite number; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond every float
        return None
    return number if math.isfinite(number) else None


class Retry(Exception):  # noqa: N818 - raised as a request, as in `raise Retry(after=5)`
    """Raised by a task to be run again: after `after` seconds, or after what its strategy says.

    Counts as an attempt; when no retry is left the message fails for good with this as its error.
    """

    def __init__(self, message: str = "the task asked to be retried", *, after: Seconds | None = None) -> None:
        super().__init__(message)
        self.after = None if after is None else seconds(after, what="after")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStrategy:
    """How often and when a task that raised runs again.

    `max_retries` counts runs after the first. The wait grows from `initial_delay` by `multiplier` up to `max_delay`
    (seconds); with `jitter` it is drawn evenly from 0 to that. Only exceptions that match `retry_on` and not
    `give_up_on` are retried. Impossible values are a ValueError.
    """

    max_retries: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    multiplier: float = 2.0
    jitter: bool = True
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        _check_whole(self.max_retries, "max_retries")
        object.__setattr__(self, "initial_delay", seconds(self.initial_delay, what="initial_delay"))
        object.__setattr__(self, "max_delay", seconds(self.max_delay, what="max_delay"))
        _check_multiplier(self.multiplier)
        _check_flag(self.jitter, "jitter")
        object.__setattr__(self, "retry_on", _exceptions(self.retry_on, "retry_on"))
        object.__setattr__(self, "give_up_on", _exceptions(self.give_up_on, "give_up_on"))

    @classmethod
    def exponential_backoff(
        cls,
        *,
        max_retries: int = 3,
        initial_delay: Seconds = 1.0,
        max_delay: Seconds = 60.0,
        multiplier: float = 2.0,
        jitter: bool = True,
        retry_on: ExceptionTypes = (Exception,),
        give_up_on: ExceptionTypes = (),
    ) -> RetryStrategy:
        """Waits that grow: 1 s, 2 s, 4 s … 60 s by default, each drawn with full jitter."""
        return cls(
            max_retries=max_retries,
            initial_delay=seconds(initial_delay, what="initial_delay"),
            max_delay=seconds(max_delay, what="max_delay"),
            multiplier=multiplier,
            jitter=jitter,
            retry_on=_exceptions(retry_on, "retry_on"),
            give_up_on=_exceptions(give_up_on, "give_up_on"),
        )

    @classmethod
    def fixed_delay(
        cls,
        delay: Seconds = 1.0,
        *,
        max_retries: int = 3,
        jitter: bool = False,
        retry_on: ExceptionTypes = (Exception,),
        give_up_on: ExceptionTypes = (),
    ) -> RetryStrategy:
        """The same wait before every retry."""
        wait = seconds(delay, what="delay")
        return cls(
            max_retries=max_retries,
            initial_delay=wait,
            max_delay=wait,
            multiplier=1.0,
            jitter=jitter,
            retry_on=_exceptions(retry_on, "retry_on"),
            give_up_on=_exceptions(give_up_on, "give_up_on"),
        )

    @classmethod
    def no_retry(cls) -> RetryStrategy:
        """The first exception is final."""
        return cls(max_retries=0)

    def retries(self, error: BaseException) -> bool:
        """Whether this kind of exception is one to retry. A task's own `Retry` always is."""
        if isinstance(error, Retry):
            return True
        return isinstance(error, self.retry_on) and not isinstance(error, self.give_up_on)

    def delay(self, attempt: int) -> float:
        """Seconds to wait before retry number `attempt` (1 is the first).

        Grows from `initial_delay` up to `max_delay`, then draws evenly from 0 to that, so that failed tasks do not
        return together.

        Raises ValueError if `attempt` < 1. Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        if attempt < 1:
            raise ValueError(f"retries are counted from 1, not {attempt!r}")
        bound = self._bound(attempt)
        return random.uniform(0.0, bound) if self.jitter else bound  # noqa: S311 - spread, not secrecy

    def _bound(self, attempt: int) -> float:
        """The wait before jitter; growth too large for a float is `max_delay`."""
        try:
            grown = self.initial_delay * self.multiplier ** (attempt - 1)
        except OverflowError:
            return self.max_delay if self.initial_delay else 0.0
        return min(self.max_delay, grown)


def _check_whole(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} is a whole number, 0 or more, not {value!r}")


def _check_multiplier(value: object) -> None:
    number = _finite(value)
    if number is None or number <= 0:
        raise ValueError(f"multiplier is a finite number above 0, not {value!r}")


def _check_flag(value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{what} is True or False, not {value!r}")


ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]


def _exceptions(value: object, what: str) -> tuple[type[BaseException], ...]:
    """`value` as a tuple of exception classes; ValueError naming `what` otherwise."""
    kinds: list[type[BaseException]] = []
    for kind in value if isinstance(value, Iterable) else (value,):
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(f"{what} takes exception classes, not {kind!r}")
        kinds.append(kind)
    return tuple(kinds)


@dataclass(slots=True)
class RetryState:
    """Counts the attempts of one piece of work against a strategy, for use outside a worker too."""

    strategy: RetryStrategy = field(default_factory=RetryStrategy)
    attempts: int = 0

    def record_attempt(self) -> None:
        """One more run ended in an exception."""
        self.attempts += 1

    def can_retry(self) -> bool:
        """Whether another run is allowed."""
        return self.attempts <= self.strategy.max_retries

    def next_delay(self) -> float | None:
        """Seconds before the next run; None when no retry is left or nothing has failed yet."""
        if self.attempts == 0 or not self.can_retry():
            return None
        return self.strategy.delay(self.attempts)

    def reset(self) -> None:
        """Forget the attempts."""
        self.attempts = 0
