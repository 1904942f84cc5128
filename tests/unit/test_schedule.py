"""Intervals and single moments, the policy of a schedule, and which missed firings are made up for."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.errors import ScheduleError
from reinhardt_tasks.schedule import (
    IntervalSchedule,
    OnceSchedule,
    Policy,
    Schedule,
    describe,
    due_now,
    firings,
    upcoming,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NAIVE = NOON.replace(tzinfo=None)
MOMENTS = st.integers(-50_000_000, 50_000_000).map(lambda number: NOON + number * timedelta(seconds=3.3))


@dataclass(frozen=True)
class Answers:
    """A schedule of the application's own, which always answers the same."""

    answer: datetime | None

    def next_after(self, moment: datetime) -> datetime | None:
        return self.answer


# Intervals and moments -----------------------------------------------------------------------------------------------


def test_an_interval_is_counted_from_its_start():
    """The start is the first firing; none drifts, however long it goes on."""
    every = IntervalSchedule(timedelta(minutes=40), start=NOON)
    assert every.next_after(NOON - timedelta(days=3)) == NOON
    assert every.next_after(NOON) == NOON + timedelta(minutes=40)
    assert every.next_after(NOON + 1_000_000 * timedelta(minutes=40) - SECOND / 2) == NOON + timedelta(
        minutes=40_000_000
    )


def test_an_interval_without_a_start_is_the_same_for_everybody():
    """Quarters of an hour are at 0, 15, 30 and 45 minutes past, whoever asks and when."""
    quarter = IntervalSchedule(900)
    assert quarter.next_after(NOON + SECOND) == NOON + timedelta(minutes=15)
    assert quarter.next_after(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) == datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(100_000, 10**12), MOMENTS, MOMENTS)
def test_the_firings_of_an_interval_are_whole_steps_apart(step, start, moment):
    """To the microsecond, and the next is never more than one step away once it has started."""
    every = IntervalSchedule(timedelta(microseconds=step), start)
    due = every.next_after(moment)
    assert due > moment
    assert (due - start) % timedelta(microseconds=step) == timedelta()
    assert due == start or due - moment <= timedelta(microseconds=step)


def test_a_single_moment_comes_once():
    """Before it, it is next; from then on, nothing is."""
    once = OnceSchedule(NOON.astimezone(timezone(timedelta(hours=5))))
    assert once.next_after(NOON - SECOND) == NOON
    assert once.next_after(NOON) is None
    assert once == OnceSchedule(NOON)


REFUSED = [
    (lambda: IntervalSchedule(0), "every is a finite number of seconds or a timedelta, at least 0.1"),
    (lambda: IntervalSchedule(-5), "at least 0.1"),
    (lambda: IntervalSchedule(float("inf")), "at least 0.1"),
    (lambda: IntervalSchedule(1e300), "IntervalSchedule"),
    (lambda: IntervalSchedule("5"), "at least 0.1"),
    (lambda: IntervalSchedule(5, NAIVE), "start has no time zone"),
    (lambda: OnceSchedule(NAIVE), "at has no time zone"),
    (lambda: OnceSchedule("noon"), "at is a datetime with a time zone"),
    (lambda: OnceSchedule(NOON).next_after(NAIVE), "the moment has no time zone"),
    (lambda: IntervalSchedule(5).next_after(NAIVE), "the moment has no time zone"),
    (lambda: Policy(missed="never"), "missed is one of skip, once, all, not 'never'"),
    (lambda: Policy(overlap="queue"), "overlap is one of allow, skip"),
    (lambda: Policy(max_missed=0), "max_missed is a whole number from 1 to 1000, not 0"),
    (lambda: Policy(max_missed=True), "max_missed"),
    (lambda: Policy(jitter=-1), "jitter"),
    (lambda: Policy(start=NAIVE), "start has no time zone"),
    (lambda: Policy(start=NOON, end=NOON - SECOND), "ends before it starts"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_cannot_be_is_refused(make, reason):
    """When it is made, in words that name it."""
    with pytest.raises(ScheduleError, match=reason):
        make()


def test_schedules_are_values():
    """Equal by what they say, shown as they are made, copied and pickled."""
    for one in (IntervalSchedule(90), IntervalSchedule(5, NOON), OnceSchedule(NOON)):
        assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == one
        assert isinstance(one, Schedule)
    assert IntervalSchedule(90) == IntervalSchedule(timedelta(seconds=90)) != IntervalSchedule(91)
    assert repr(IntervalSchedule(90)) == "IntervalSchedule(every=90.0, start=None)"


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (IntervalSchedule(90), "Every 90 s"),
        (IntervalSchedule(7200), "Every 2 h"),
        (IntervalSchedule(86_400, NOON), "Every 1 d from 2024-05-01 12:00:00 UTC on"),
        (IntervalSchedule(0.25), "Every 0.25 s"),
        (OnceSchedule(NOON), "Once, at 2024-05-01 12:00:00 UTC"),
        (CronSchedule("@daily"), "At 00:00 every day (UTC)"),
        (Answers(None), "Answers(answer=None)"),
    ],
)
def test_schedules_tell_what_they_are(when, words):
    """In English; one of the application's own as Python shows it."""
    assert describe(when) == words


# What is due ---------------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_the_start_and_after_the_end():
    """Both dates count as within."""
    policy = Policy(start=NOON, end=NOON + timedelta(hours=2))
    hours = [due.hour for due in firings(CronSchedule("@hourly"), policy, NOON - timedelta(days=1))]
    assert hours == [12, 13, 14]


def test_a_schedule_that_answers_nonsense_is_caught():
    """One of the application's own that does not go on would be fired for ever."""
    for answer in (NOON, NOON - SECOND, NAIVE + timedelta(days=9)):
        with pytest.raises(ScheduleError):
            upcoming(Answers(answer), Policy(), NOON)
    assert upcoming(Answers(None), Policy(), NOON) is None


def test_what_is_in_time_is_fired_whatever_the_policy():
    """One firing, due a moment ago."""
    for missed in ("skip", "once", "all"):
        now = NOON + SECOND / 10
        assert due_now(CronSchedule("@hourly"), Policy(missed=missed), NOON - SECOND, now) == [NOON]
        assert due_now(CronSchedule("@hourly"), Policy(missed=missed), NOON, now) == []


def test_what_was_missed_is_made_up_for_by_the_policy():
    """Hours were missed: none of them, the latest, all, or the latest few."""
    hourly, since, now = CronSchedule("@hourly"), NOON, NOON + timedelta(hours=5, minutes=30)
    all_of_them = [NOON + timedelta(hours=number) for number in range(1, 6)]
    assert due_now(hourly, Policy(missed="skip"), since, now) == []
    assert due_now(hourly, Policy(missed="once"), since, now) == all_of_them[-1:]
    assert due_now(hourly, Policy(missed="all"), since, now) == all_of_them
    assert due_now(hourly, Policy(missed="all", max_missed=2), since, now) == all_of_them[-2:]


def test_skipping_leaves_out_what_is_more_than_a_minute_late():
    """A restart that takes seconds loses nothing."""
    hourly = CronSchedule("@hourly")
    for late, due in ((60, [NOON]), (61, [])):
        now = NOON + timedelta(seconds=late)
        assert due_now(hourly, Policy(missed="skip"), NOON - timedelta(hours=3), now) == due


WHENS = st.one_of(
    st.sampled_from(
        [CronSchedule("* * * * * *"), CronSchedule("*/7 * 1 * *"), CronSchedule("0 9 * * MON-FRI", "Europe/Riga")]
    ),
    st.integers(1, 10_000).map(IntervalSchedule),
)


@given(WHENS, MOMENTS, st.integers(1, 4000), st.integers(1, 30))
def test_the_latest_are_found_without_looking_at_each(when, since, length, most):
    """By halving, the same as by counting them all."""
    now = since + timedelta(seconds=length)
    everything = list(takewhile(lambda due: due <= now, firings(when, Policy(), since)))
    assert due_now(when, Policy(missed="once"), since, now) == everything[-1:]
    assert due_now(when, Policy(missed="all", max_missed=most), since, now) == everything[-most:]


def test_years_of_missed_seconds_take_no_time():
    """A hundred million of them: a few hundred questions."""

    class Counted:
        asked = 0

        def next_after(self, moment):
            self.asked += 1
            return IntervalSchedule(1).next_after(moment)

    when, now = Counted(), NOON + timedelta(days=1200)
    assert due_now(when, Policy(missed="once"), NOON, now) == [now]
    assert len(due_now(when, Policy(missed="all", max_missed=100), NOON, now)) == 100
    assert when.asked < 10_000
