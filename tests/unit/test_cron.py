"""CronSchedule: what is read, what is refused and why, and what is due where clocks change."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reinhardt_tasks.cron import NICKNAMES, CronSchedule
from reinhardt_tasks.errors import ScheduleError

ZONES = (
    "Europe/Riga",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Cairo",
    "UTC",
)
MINUTE = timedelta(minutes=1)


def at(text: str, zone: str = "UTC") -> datetime:
    """The moment written as `text`, by the clock of a zone unless it says its own offset."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def firings(schedule: CronSchedule, moment: datetime, count: int) -> list[str]:
    """The next so many, as text."""
    found = []
    while len(found) < count and (due := schedule.next_after(moment)) is not None:
        moment = due
        found.append(due.isoformat(" "))
    return found


# A slow model: look at every minute --------------------------------------------------------------------------------


def numbers(text: str, lowest: int, highest: int) -> set[int]:
    """What a field of numbers stands for."""
    found: set[int] = set()
    for term in text.split(","):
        base, _, step = term.partition("/")
        first, dash, last = base.partition("-")
        if base == "*":
            first, last = str(lowest), str(highest)
        elif not dash:
            last = str(highest) if step else first
        found |= set(range(int(first), int(last) + 1, int(step or 1)))
    return found


def shows(expression: str, local: datetime) -> bool:
    """Whether an expression of five fields matches what the clock shows."""
    minute, hour, day, month, weekday = expression.split()
    if local.minute not in numbers(minute, 0, 59) or local.hour not in numbers(hour, 0, 23):
        return False
    if local.month not in numbers(month, 1, 12):
        return False
    by_date = local.day in numbers(day, 1, 31)
    by_week = local.isoweekday() % 7 in {number % 7 for number in numbers(weekday, 0, 7)}
    return by_date and by_week if day[0] == "*" or weekday[0] == "*" else by_date or by_week


def slow_firings(expression: str, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """Every firing after `since` and up to `until`, by Debian's rule, found by watching the clock minute by minute.

    One at fixed times is also run when the clock jumps forward over its time, and not again for what was shown before.
    """
    minute, hour = expression.split()[:2]
    fixed = minute[0] != "*" and hour[0] != "*"
    moment = (since - timedelta(days=2)).astimezone(UTC).replace(second=0, microsecond=0)
    shown = moment.astimezone(zone).replace(tzinfo=None) - MINUTE
    found = []
    while moment <= until:
        local = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        if fixed:
            passed = [shown + step * MINUTE for step in range(1, (local - shown) // MINUTE + 1)]
            due = any(shows(expression, one) for one in passed)
            shown = max(shown, local)
        else:
            due = shows(expression, local)
        if due and moment > since:
            found.append(moment)
        moment += MINUTE
    return found


CHANGES = {
    "Europe/Riga": ["2024-03-31 01:00", "2024-10-27 01:00"],
    "America/New_York": ["2024-03-10 07:00", "2024-11-03 06:00"],
    "Australia/Lord_Howe": ["2024-04-06 15:00", "2024-10-05 15:30"],
    "America/Santiago": ["2024-04-07 03:00", "2024-09-08 04:00"],
    "Africa/Cairo": ["2024-04-25 22:00", "2024-10-31 21:00"],
    "UTC": ["2024-02-28 23:00", "2024-12-31 23:00"],
}
"""Moments (UTC) at which clocks are set there; in UTC, a leap day and the end of a year."""


def field(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """A field of numbers as people write it."""
    number = st.integers(lowest, highest)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.tuples(st.one_of(st.just("*"), ranges), st.integers(1, 20)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    lists = st.lists(st.one_of(number.map(str), ranges), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), number.map(str), ranges, steps, lists)


EXPRESSIONS = st.tuples(
    field(0, 59),
    st.one_of(field(0, 23), field(0, 4)),
    st.one_of(st.just("*"), field(1, 28)),
    st.one_of(st.just("*"), field(1, 12)),
    st.one_of(st.just("*"), field(0, 7)),
).map(" ".join)
PLACES = st.sampled_from([(zone, change) for zone in ZONES for change in CHANGES[zone]])


@given(EXPRESSIONS, PLACES, st.integers(-26 * 3600, 8 * 3600))
@example("*/15 2 * * *", ("Australia/Lord_Howe", "2024-04-06 15:00"), -3600)
@example("*/10 0 * * FRI".replace("FRI", "5"), ("Africa/Cairo", "2024-04-25 22:00"), -86_400)
@example("30 2 * * *", ("America/New_York", "2024-03-10 07:00"), -7200)
@example("0,30 1,2 * * *", ("America/New_York", "2024-11-03 06:00"), -7200)
@example("0 0 * * *", ("America/Santiago", "2024-09-08 04:00"), -3600)
@example("30 3 * * *", ("Europe/Riga", "2024-10-27 01:00"), 1200)
def test_what_is_due_is_what_a_watched_clock_would_fire(expression, place, offset):
    """Around each change of the clocks, from any second on, against the slow model: the same moments in order."""
    zone, change = place
    since = at(f"{change}+00:00") + timedelta(seconds=offset)
    until = since + timedelta(hours=30)
    expected = slow_firings(expression, ZoneInfo(zone), since, until)
    schedule = CronSchedule(expression, zone)
    found, moment = [], since
    while (due := schedule.next_after(moment)) is not None and due.astimezone(UTC) <= until:
        moment = due
        found.append(due.astimezone(UTC))
    assert found == expected


@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(-20 * 365, 100 * 365 * 24))
def test_the_next_firing_is_later_and_none_is_left_out(expression, zone, moment):
    """It depends on the moment alone: asked from anywhere before it, the answer is the same."""
    schedule = CronSchedule(expression, zone)
    since = at("1970-01-01") + moment * timedelta(minutes=59.3)
    due = schedule.next_after(since)
    assert due is not None
    assert due.astimezone(UTC) > since
    assert schedule.next_after(since + (due.astimezone(UTC) - since) / 2) == due


# Where clocks change -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "since", "expected"),
    [
        # set forward, 03:00 to 04:00: at the end of the gap
        ("30 3 * * *", "Europe/Riga", "2024-03-30 12:00", ["2024-03-31 04:00:00+03:00", "2024-04-01 03:30:00+03:00"]),
        ("0,30 3 * * *", "Europe/Riga", "2024-03-31 02:00", ["2024-03-31 04:00:00+03:00", "2024-04-01 03:00:00+03:00"]),
        ("*/30 3 * * *", "Europe/Riga", "2024-03-31 02:00", ["2024-04-01 03:00:00+03:00"]),
        ("0 * * * *", "Europe/Riga", "2024-03-31 01:30", ["2024-03-31 02:00:00+02:00", "2024-03-31 04:00:00+03:00"]),
        # set back, 04:00 to 03:00: the first time only, or twice
        ("30 3 * * *", "Europe/Riga", "2024-10-26 12:00", ["2024-10-27 03:30:00+03:00", "2024-10-28 03:30:00+02:00"]),
        ("*/30 3 * * *", "Europe/Riga", "2024-10-27 03:10", ["2024-10-27 03:30:00+03:00", "2024-10-27 03:00:00+02:00"]),
        # half an hour
        ("15 2 * * *", "Australia/Lord_Howe", "2024-10-05 12:00", ["2024-10-06 02:30:00+11:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2024-04-06 12:00", ["2024-04-07 01:45:00+11:00"]),
        # at midnight
        ("0 0 * * *", "America/Santiago", "2024-09-07 12:00", ["2024-09-08 01:00:00-03:00"]),
        ("0 0 * * *", "Africa/Cairo", "2024-04-25 12:00", ["2024-04-26 01:00:00+03:00", "2024-04-27 00:00:00+03:00"]),
        # with seconds: the same rule
        ("0 30 3 * * *", "Europe/Riga", "2024-03-30 12:00", ["2024-03-31 04:00:00+03:00"]),
        ("0 30 3 * * *", "Europe/Riga", "2024-10-27 00:00", ["2024-10-27 03:30:00+03:00", "2024-10-28 03:30:00+02:00"]),
    ],
)
def test_debians_rule_holds_where_clocks_change(expression, zone, since, expected):
    """What is at a fixed time is never lost and never doubled; what runs with the clock follows the clock."""
    assert firings(CronSchedule(expression, zone), at(since, zone), len(expected)) == expected


def test_an_hourly_schedule_keeps_its_pace_through_the_repeated_hour():
    """24 firings on a day of 25 hours would leave one out: there are 25."""
    schedule = CronSchedule("@hourly", "America/New_York")
    since = at("2024-11-02 23:59", "America/New_York").astimezone(UTC)
    found, moment = [], since
    for _ in range(25):
        moment = schedule.next_after(moment).astimezone(UTC)
        found.append(moment - since)
    assert found == [timedelta(minutes=1) + timedelta(hours=number) for number in range(25)]


# The calendar --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "since", "expected"),
    [
        ("0 0 29 2 *", "2024-03-01", ["2028-02-29", "2032-02-29"]),
        ("59 23 31 12 *", "2024-12-31", ["2024-12-31 23:59", "2025-12-31 23:59"]),
        ("0 0 1 JAN *", "2024-12-31", ["2025-01-01"]),
        ("0 0 L * *", "2024-01-31 00:00:01", ["2024-02-29", "2024-03-31"]),
        ("0 0 LW * *", "2024-03-01", ["2024-03-29", "2024-04-30"]),
        ("0 0 * * 5L", "2024-03-01", ["2024-03-29", "2024-04-26"]),
        ("0 0 * * MON#2", "2024-03-01", ["2024-03-11", "2024-04-08"]),
        ("0 0 13 * FRI", "2024-09-07", ["2024-09-13", "2024-09-20"]),
        ("0 0 */13 * FRI", "2024-09-07", ["2024-09-27", "2024-11-01"]),
        ("0 0 * * 7", "2024-09-07", ["2024-09-08", "2024-09-15"]),
        ("30 0 12 * * *", "2024-09-07", ["2024-09-07 12:00:30", "2024-09-08 12:00:30"]),
        ("*/20 * * * * *", "2024-09-07 00:00:39.5", ["2024-09-07 00:00:40", "2024-09-07 00:01:00"]),
        ("0 0 * 2 MON#5", "2020-01-01", ["2044-02-29", "2072-02-29"]),
    ],
)
def test_days_and_times_are_found(expression, since, expected):
    """Leap days, ends of months and years, weekdays by number, seconds, and either of two day fields."""
    wanted = [at(one).isoformat(" ") for one in expected]
    assert firings(CronSchedule(expression), at(since), 2)[: len(wanted)] == wanted


def test_nothing_is_due_after_the_last_year():
    """The calendar ends, quietly."""
    assert CronSchedule("@yearly").next_after(at("9999-06-01")) is None
    assert CronSchedule("@yearly", "Asia/Tokyo").next_after(datetime.max.replace(tzinfo=UTC)) is None


@pytest.mark.parametrize("name", NICKNAMES)
def test_a_nickname_is_the_expression_it_stands_for(name):
    """And says so in the same words."""
    schedule, other = CronSchedule(name), CronSchedule(NICKNAMES[name])
    assert schedule == other
    assert schedule.describe() == other.describe()
    assert schedule.expression == name


# As a value ----------------------------------------------------------------------------------------------------------


def test_equal_schedules_say_the_same():
    """Case and blanks say nothing, the zone does; equal ones hash alike, survive copies, and show how to make them."""
    one = CronSchedule(" 0  9 * * mon-fri ", "Europe/Berlin")
    other = CronSchedule("0 9 * * MON-FRI", timezone="Europe/Berlin")
    assert one == other
    assert len({one, other, pickle.loads(pickle.dumps(one)), copy.deepcopy(one)}) == 1
    assert one != CronSchedule("0 9 * * MON-FRI")
    assert one != CronSchedule("0 9 * * MON-SAT", "Europe/Berlin")
    assert repr(one) == "CronSchedule(expression='0 9 * * mon-fri', timezone='Europe/Berlin')"
    assert one.describe() == "At 09:00 on Monday through Friday (Europe/Berlin)"


@given(EXPRESSIONS)
def test_every_expression_can_be_described(expression):
    """In words, with the zone at the end."""
    assert CronSchedule(expression).describe().endswith(" (UTC)")


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("60 * * * *", "minute '60': it takes 0-59"),
        ("0,61 * * * *", "minute '61': it takes 0-59"),
        ("60 0 * * * *", "second '60': it takes 0-59"),
        ("* 24 * * *", "hour '24': it takes 0-23"),
        ("0 0 0 * *", "day-of-month '0': it takes 1-31"),
        ("0 0 * 13 *", "month '13': it takes 1-12, or JAN to DEC"),
        ("0 0 * * MOO", "day-of-week 'MOO': it takes 0-7"),
        ("0 0 * * 8", "day-of-week '8': it takes 0-7"),
        ("0 0 * * FRI-SUN", "day-of-week 'FRI-SUN': SUN is 0"),
        ("0 22-2 * * *", "hour '22-2': a range goes upwards"),
        ("*/0 * * * *", "minute '*/0': a step is a whole number, 1 or more"),
        ("*/x * * * *", r"minute '\*/X': a step is a whole number, 1 or more"),
        ("1,,2 * * * *", "minute '': a part of the list is empty"),
        ("0 0 31 2 *", "day-of-month '31': none of these months has such a day"),
        ("0 0 30 FEB *", "day-of-month '30': none of these months has such a day"),
        ("* * */20 * 1L", "no day ever matches it"),
        ("0 0 ? * *", r"day-of-month '\?': it takes 1-31"),
        ("0 0 L-3 * *", "day-of-month 'L-3': it takes 1-31"),
        ("0 0 * * MON#6", "day-of-week 'MON#6': it takes 0-7"),
        ("٣ * * * *", "minute '٣': it takes 0-59"),
        ("* * * *", "has 4 fields; it takes 5"),
        ("0 0 0 1 1 * 2024", "has 7 fields; it takes 5"),
        ("", "has 0 fields"),
        ("@reboot", "there is no cron nickname '@reboot'; there are: @hourly"),
        ("9" * 201, "has at most 200 characters, not 201"),
        ("9" * 150 + " * * * *", "it takes 0-59"),
        (None, "a cron expression is text"),
        (b"* * * * *", "a cron expression is text"),
    ],
)
def test_a_wrong_expression_is_refused_with_field_and_reason(expression, reason):
    """When it is made, not when it would be due."""
    with pytest.raises(ScheduleError, match=reason.replace("*/0", r"\*/0")):
        CronSchedule(expression)


@pytest.mark.parametrize(
    ("zone", "reason"),
    [
        ("Europe/Berlim", "no time zone 'Europe/Berlim'; did you mean Europe/Berlin"),
        ("", "no time zone ''"),
        ("America", "no time zone 'America'"),
        ("../../etc/passwd", "no time zone"),
        ("/etc/localtime", "no time zone"),
        ("Europe/Berlin\0", "no time zone"),
        ("\ud800", "no time zone"),
        ("z" * 5000, "no time zone 'z{60}'"),
        (UTC, "a time zone is a name such as"),
    ],
)
def test_a_wrong_zone_is_refused(zone, reason):
    """With the names that look like it."""
    with pytest.raises(ScheduleError, match=reason):
        CronSchedule("@daily", zone)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading(text):
    """It is an expression, or a ScheduleError."""
    try:
        schedule = CronSchedule(text)
    except ScheduleError:
        return
    assert next(islice(iter([schedule.next_after(at("2024-01-01"))]), 1)) is not None


@pytest.mark.parametrize("moment", [at("2024-01-01").replace(tzinfo=None), None, "2024-01-01", 1.0])
def test_a_moment_without_a_zone_is_refused(moment):
    """The error says what to add."""
    with pytest.raises(ScheduleError, match="time zone"):
        CronSchedule("@daily").next_after(moment)
