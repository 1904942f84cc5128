"""Cron expressions: text and a time zone → the next instant, by Debian's rule where clocks change (pure).

The cronsim package reads expressions and finds the days and times of a calendar without clock changes; what becomes of
them where local time is skipped or comes twice is decided here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from reinhardt_tasks.errors import ScheduleError

NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The names that stand for an expression."""

_FIELDS: Final = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L for the last day of the month, or LW for its last weekday",
    "month": "1-12, or JAN to DEC",
    "day-of-week": "0-7 (0 and 7 are Sunday), SUN to SAT, 5L for the last Friday of the month, or MON#2 for its "
    "second Monday",
}
"""The fields and what may stand there, seconds first."""

_ONE_WITH_STEP: Final = re.compile(r"(?<!\w)(\w+)-\1/\d+")
"""A range of one number is that number, whatever the step; cronsim takes it for "from this number on"."""
_LONGEST: Final = 200
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
"""No clock was ever set back further at once."""
_CALENDAR: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - local time without a zone is what is meant
"""Where a new expression is tried: within 50 years from here every combination of date and weekday comes."""


def aware(moment: object, what: str = "the moment") -> datetime:
    """`moment`, if it is a datetime with a time zone. Raises ScheduleError naming `what`."""
    if not isinstance(moment, datetime):
        raise ScheduleError(f"{what} is a datetime with a time zone, not {moment!r}")
    if moment.utcoffset() is None:
        raise ScheduleError(
            f"{what} has no time zone: {moment!r}; add one, as in moment.replace(tzinfo=UTC) or moment.astimezone()"
        )
    return moment


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Due by a cron expression, in a time zone such as "Europe/Berlin".

    Five fields: minute, hour, day of month, month, day of week; or six, with seconds first. Each is `*`, a number, a
    name (`MON`, `JAN`), a range `1-5`, a list `1,15`, or one of them with a step `*/10`; a day of month may be `L`
    or `LW`, a day of week `5L` or `MON#2`. `@hourly`, `@daily` (`@midnight`), `@weekly`, `@monthly` and `@yearly`
    (`@annually`) stand for what they say. When neither day field begins with `*`, either of them is enough.

    Where clocks are set forward, a firing at a fixed time that is skipped comes at the end of the gap; where they are
    set back, it comes the first time only. An expression whose minute or hour begins with `*` follows the clock as it
    runs. Two expressions that say the same are equal. Raises ScheduleError, naming the field, for what is no
    expression, never comes, or is no zone.
    """

    expression: str = field(compare=False)
    timezone: str = "UTC"
    _fields: str = field(init=False, repr=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = _text(self.expression)
        object.__setattr__(self, "expression", text)
        object.__setattr__(self, "_fields", _expanded(text))
        object.__setattr__(self, "_zone", _zone(self.timezone, text))
        if next(self._matches(_CALENDAR), None) is None:
            raise ScheduleError(f"cron expression {text!r}: no day ever matches it", expression=text)

    def describe(self) -> str:
        """What it says, in English."""
        return f"{CronSim(self._fields, _CALENDAR).explain()} ({self.timezone})"

    def next_after(self, moment: datetime) -> datetime | None:
        """The first firing after `moment`, in the schedule's zone; None when there is none within 50 years.

        Raises ScheduleError for a moment without a time zone.
        """
        start = aware(moment).astimezone(UTC)
        try:
            due = self._next_fixed(start) if self._is_fixed else self._next_running(start)
            return None if due is None else due.astimezone(self._zone)
        except OverflowError:  # beyond the last year there is
            return None

    @property
    def _is_fixed(self) -> bool:
        """Whether it fires at times of day that are written down, as Debian's cron understands it."""
        minute, hour = self._fields.split()[-5:-3]
        return not minute.startswith("*") and not hour.startswith("*")

    def _matches(self, local: datetime) -> Iterator[datetime]:
        """The local times that match after `local`, none of them with a zone."""
        return CronSim(self._fields, local)

    def _next_fixed(self, start: datetime) -> datetime | None:
        """Each local time once: the first of two, and the end of the gap for one that is skipped."""
        for match in self._matches(_local(start, self._zone)):
            due = _instant(match, self._zone) or _gap_end(match, self._zone)
            if due > start:
                return due
        return None

    def _next_running(self, start: datetime) -> datetime | None:
        """As often as the clock shows it: twice where time comes twice, not at all where it is skipped."""
        local, after = _local(start, self._zone), start
        while (match := next(self._matches(local), None)) is not None:
            due = _instant(match, self._zone, after=after)
            change = _gap_end(match, self._zone) if due is None else _set_back(start, due, self._zone)
            if change is None:
                return due
            # Nothing matches before the clock is changed; from then on, look by the new time.
            start, after, local = change, change - _SECOND, _local(change, self._zone) - _SECOND
        return None


# Reading --------------------------------------------------------------------------------------------------------------


def _text(expression: object) -> str:
    if not isinstance(expression, str):
        raise ScheduleError(f"a cron expression is text such as '0 9 * * MON-FRI', not {expression!r}")
    if len(expression) > _LONGEST:
        raise ScheduleError(f"a cron expression has at most {_LONGEST} characters, not {len(expression)}")
    return " ".join(expression.split())


def _expanded(text: str) -> str:
    """The fields behind `text`, in capitals. Raises ScheduleError."""
    if text.startswith("@"):
        if text.lower() not in NICKNAMES:
            known = ", ".join(NICKNAMES)
            raise ScheduleError(f"there is no cron nickname {text!r}; there are: {known}", expression=text)
        return NICKNAMES[text.lower()]
    parts = text.upper().split()
    if len(parts) not in {5, 6}:
        raise ScheduleError(
            f"cron expression {text!r} has {len(parts)} fields; it takes 5 (minute, hour, day of month, month, day of "
            "week), or 6 with seconds first",
            expression=text,
        )
    if not _reads(parts):
        raise ScheduleError(f"cron expression {text!r}: {_complaint(parts)}", expression=text)
    return " ".join(_ONE_WITH_STEP.sub(r"\1", part) for part in parts)


def _reads(parts: Sequence[str]) -> bool:
    try:
        CronSim(" ".join(parts), _CALENDAR)
    except (CronSimError, ValueError):
        return False
    return True


def _complaint(parts: Sequence[str]) -> str:
    """Which part of which field is wrong, and why."""
    names = list(_FIELDS)[-len(parts) :]
    for index, name in enumerate(names):
        for term in parts[index].split(","):
            alone = ["*"] * len(parts)
            alone[index] = term
            if not _reads(alone):
                return f"{name} {term!r}: {_reason(term, name)}"
    return f"day-of-month {parts[-3]!r}: none of these months has such a day"


def _reason(term: str, name: str) -> str:
    base, slash, step = term.partition("/")
    numbers = re.fullmatch(r"(\d+)-(\d+)", base)
    if not term:
        return "a part of the list is empty"
    if slash and not (step.isascii() and step.isdigit() and step.strip("0")):
        return "a step is a whole number, 1 or more"
    if numbers and int(numbers[1]) > int(numbers[2]):
        return "a range goes upwards; write two, such as 22-23,0-2"
    if name == "day-of-week" and base.endswith("-SUN"):
        return "SUN is 0, and a range goes upwards; write 7 for a Sunday that ends a week, as in 5-7"
    return f"it takes {_FIELDS[name]}"


def _zone(name: object, text: str) -> ZoneInfo:
    """The time zone called `name`. Raises ScheduleError naming similar ones."""
    if not isinstance(name, str):
        raise ScheduleError(f"a time zone is a name such as 'Europe/Berlin', not {name!r}", expression=text)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = difflib.get_close_matches(name, available_timezones(), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; write one such as 'Europe/Berlin' or 'UTC'"
        raise ScheduleError(f"there is no time zone {name[:60]!r}{hint}", expression=text) from None


# Local time and instants ----------------------------------------------------------------------------------------------


def _local(instant: datetime, zone: tzinfo) -> datetime:
    """What the clock shows then, without a zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(local: datetime, zone: tzinfo, *, after: datetime | None = None) -> datetime | None:
    """When the clock shows `local`, the first time, or the first time later than `after`; None when it never does."""
    for fold in (0, 1):
        instant = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if _local(instant, zone) != local:
            return None
        if after is None or instant > after:
            return instant
    return None


def _gap_end(local: datetime, zone: tzinfo) -> datetime:
    """When the clock is set forward over `local`."""
    before, behind = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    return _change(before, behind, zone)


def _set_back(start: datetime, due: datetime, zone: tzinfo) -> datetime | None:
    """When the clock is set back, after `start` and not after `due`, so soon that it shows again what it has shown."""
    end = min(due, start + _DAY)
    later = end.astimezone(zone).utcoffset() or timedelta()
    now = start.astimezone(zone).utcoffset() or timedelta()
    return _change(start, end, zone) if later < now else None


def _change(before: datetime, behind: datetime, zone: tzinfo) -> datetime:
    """The first whole second with the offset from UTC that holds at `behind`, and not yet at `before`."""
    offset = behind.astimezone(zone).utcoffset()
    low, high = int(before.timestamp()), int(behind.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)
