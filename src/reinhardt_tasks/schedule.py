"""Schedules: which moment is due next, and which of those that are due are to be made up for (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Protocol, get_args, runtime_checkable

from reinhardt_tasks.cron import aware
from reinhardt_tasks.errors import ScheduleError
from reinhardt_tasks.retry import Seconds, seconds

Missed = Literal["skip", "once", "all"]
"""What becomes of firings that nobody was there to make."""
Overlap = Literal["allow", "skip"]
"""What becomes of a firing while the message of the one before is unfinished."""

LATE: Final = 60.0
"""Seconds after which a firing counts as missed, for `missed="skip"`."""
MOST_MISSED: Final = 1000
"""The most missed firings of one schedule that are made up for."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(microseconds=1)
_SHORTEST: Final = 0.1
"""Seconds: what is due more often belongs into a loop of a task."""


@runtime_checkable
class Schedule(Protocol):
    """When something is due, again and again."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing after `moment`, None when there is none. Both have a time zone. Depends on nothing else."""


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Due every so many seconds (or a timedelta), at least 0.1, without drift.

    Counted from `start`, which is the first firing, or without one from midnight of 1 January 1970, UTC: every quarter
    of an hour is then at 0, 15, 30 and 45 minutes past, whoever counts. Raises ScheduleError.
    """

    every: Seconds
    start: datetime | None = None
    _step: timedelta = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            every = seconds(self.every, what="every", minimum=_SHORTEST)
            step = timedelta(seconds=every)
        except (ValueError, OverflowError) as error:
            raise ScheduleError(f"IntervalSchedule: {error}") from None
        object.__setattr__(self, "every", every)
        object.__setattr__(self, "_step", step)
        if self.start is not None:
            object.__setattr__(self, "start", aware(self.start, "start").astimezone(UTC))

    def describe(self) -> str:
        """What it says, in English."""
        since = "" if self.start is None else f" from {self.start:%Y-%m-%d %H:%M:%S} UTC on"
        return f"Every {_span(self._step)}{since}"

    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing after `moment`, in UTC. Raises ScheduleError for a moment without a time zone."""
        now, start = aware(moment).astimezone(UTC), self.start or _EPOCH
        if self.start is not None and now < start:
            return start
        try:
            return start + ((now - start) // self._step + 1) * self._step
        except OverflowError:  # beyond the last year there is
            return None


@dataclass(frozen=True, slots=True)
class OnceSchedule:
    """Due once, at the moment `at`. Raises ScheduleError for one without a time zone."""

    at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", aware(self.at, "at").astimezone(UTC))

    def describe(self) -> str:
        """What it says, in English."""
        return f"Once, at {self.at:%Y-%m-%d %H:%M:%S} UTC"

    def next_after(self, moment: datetime) -> datetime | None:
        """`at`, in UTC, when it is after `moment`. Raises ScheduleError for a moment without a time zone."""
        return self.at if aware(moment) < self.at else None


def _span(step: timedelta) -> str:
    """`90 s`, `15 min`, `2 h`, `1 d`: the largest unit that it is a whole number of."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if not step % timedelta(seconds=size):
            return f"{step // timedelta(seconds=size)} {unit}"
    return f"{step.total_seconds():g} s"


def describe(when: Schedule) -> str:
    """What a schedule says, in English; one of the application's own is shown as Python does."""
    own: Callable[[], str] | None = getattr(when, "describe", None)
    return repr(when) if own is None else own()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a schedule is fired.

    `missed`: what was due while no scheduler ran is left out ("skip", what is more than a minute late), made up for by
    one firing, the latest ("once"), or by each, at most the `max_missed` latest ("all"). `overlap="skip"` leaves a
    firing out while the message of the one before is unfinished. `jitter`: each message starts so many seconds later,
    drawn evenly from 0 to this. Nothing is due before `start` or after `end`. Raises ScheduleError.
    """

    missed: Missed = "once"
    max_missed: int = 100
    overlap: Overlap = "allow"
    jitter: Seconds = 0.0
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        _check_choice("missed", self.missed, get_args(Missed))
        _check_choice("overlap", self.overlap, get_args(Overlap))
        most: object = self.max_missed
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_MISSED:
            raise ScheduleError(f"max_missed is a whole number from 1 to {MOST_MISSED}, not {most!r}")
        try:
            object.__setattr__(self, "jitter", seconds(self.jitter, what="jitter"))
        except ValueError as error:
            raise ScheduleError(str(error)) from None
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment is not None:
                object.__setattr__(self, name, aware(moment, name).astimezone(UTC))
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ScheduleError(f"the schedule ends before it starts: {self.start} to {self.end}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ScheduleError(f"{name} is one of {', '.join(choices)}, not {value!r}")


def upcoming(when: Schedule, policy: Policy, moment: datetime) -> datetime | None:
    """The first firing after `moment` within the policy's dates, in UTC. Raises ScheduleError for a wrong answer."""
    if policy.start is not None:
        moment = max(moment, policy.start - _STEP)
    due: Any = when.next_after(moment)
    if due is None:
        return None
    if aware(due, f"what {when!r} answers") <= moment:
        raise ScheduleError(f"{when!r} answers {due} for the firing after {moment}; it has to be later")
    due = due.astimezone(UTC)
    return None if policy.end is not None and due > policy.end else due


def firings(when: Schedule, policy: Policy, moment: datetime) -> Iterator[datetime]:
    """The firings after `moment`, one after the other."""
    due = upcoming(when, policy, moment)
    while due is not None:
        yield due
        due = upcoming(when, policy, due)


def due_now(when: Schedule, policy: Policy, anchor: datetime, now: datetime) -> list[datetime]:
    """What is to be fired of all that is due after `anchor` and not after `now`, in order. Raises ScheduleError."""
    first = upcoming(when, policy, anchor)
    if first is None or first > now:
        return []
    if policy.missed == "all":
        return _latest_many(when, policy, first, now)
    latest = _latest(when, policy, first, now)
    late = (now - latest).total_seconds() > LATE
    return [] if late and policy.missed == "skip" else [latest]


def _latest(when: Schedule, policy: Policy, first: datetime, now: datetime) -> datetime:
    """The last firing that is not after `now`, where `first` is one. By halving: there may be very many between."""
    low, high = first, now  # a firing, and a moment after which none is due
    while (following := upcoming(when, policy, low)) is not None and following <= now:
        middle = following + (high - following) / 2
        later = upcoming(when, policy, middle)
        if later is not None and later <= now:
            low = later
        else:
            low, high = following, middle
    return low


def _latest_many(when: Schedule, policy: Policy, first: datetime, now: datetime) -> list[datetime]:
    """The last `max_missed` firings that are not after `now`, where `first` is one."""
    most = policy.max_missed
    low, found = first - _STEP, _some(when, policy, first - _STEP, now, most)
    high = now
    while len(found) > most and high - low > _STEP:
        middle = low + (high - low) / 2
        later = _some(when, policy, middle, now, most)
        if len(later) < most:
            high = middle
        else:
            low, found = middle, later
    return found[-most:]


def _some(when: Schedule, policy: Policy, moment: datetime, now: datetime, most: int) -> list[datetime]:
    """The firings after `moment` and not after `now`; of many only the first `most` and one."""
    found: deque[datetime] = deque()
    for due in firings(when, policy, moment):
        if due > now or len(found) > most:
            break
        found.append(due)
    return list(found)
