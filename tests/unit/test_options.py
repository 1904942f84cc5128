"""The options of one call: each is checked where it is given."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from reinhardt_tasks.errors import ConfigurationError, OptionError
from reinhardt_tasks.options import PLAIN, EnqueueOptions, checked, optional_seconds

NINE = datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=1)))


def test_options_become_plain_values() -> None:
    """Durations are seconds, instants Unix seconds, whatever form they are given in."""
    call = checked(
        {
            "queue": "mail",
            "priority": 9,
            "delay": timedelta(minutes=1),
            "unique_key": "k",
            "unique_for": 5,
            "timeout": timedelta(seconds=2),
            "headers": {"trace": "1"},
        }
    )
    assert (call.queue, call.priority, call.delay, call.unique_key) == ("mail", 9, 60.0, "k")
    assert (call.unique_for, call.timeout, call.headers) == (5.0, 2.0, {"trace": "1"})
    assert checked({"run_at": NINE}).run_at == NINE.timestamp()
    assert type(call.priority) is int


def test_no_time_limit_is_not_the_tasks_own_limit() -> None:
    """`timeout=None` lifts the limit, leaving it out keeps the task's."""
    assert checked({"timeout": None}).timeout == 0.0
    assert checked({}).timeout is None


def test_the_check_knows_every_option_there_is() -> None:
    """What type checkers accept and what is accepted at run time are the same names."""
    fields = set(PLAIN.__struct_fields__)
    assert fields == set(EnqueueOptions.__annotations__)
    with pytest.raises(OptionError) as caught:
        checked({"nope": 1})
    assert all(name in str(caught.value) for name in fields)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dealy": 5}, "there is no option 'dealy'"),
        ({"queue": "no queue"}, "no name for a queue"),
        ({"priority": 10}, "0 to 9"),
        ({"priority": True}, "0 to 9"),
        ({"priority": 5.0}, "0 to 9"),
        ({"delay": -1}, "at least 0"),
        ({"delay": float("nan")}, "finite"),
        ({"delay": "5"}, "finite number of seconds"),
        ({"delay": None}, "finite number of seconds"),
        ({"delay": 1e300}, "at most 100 years"),
        ({"delay": timedelta.max}, "at most 100 years"),
        ({"run_at": datetime.max.replace(tzinfo=UTC)}, "1970 to 9998"),
        ({"run_at": datetime.min.replace(tzinfo=UTC)}, "1970 to 9998"),
        ({"run_at": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that is the mistake
        ({"run_at": 5}, "datetime"),
        ({"run_at": NINE, "delay": 5}, "exclude each other"),
        ({"unique_key": ""}, "unique key"),
        ({"unique_key": "a\0b"}, "unique key"),
        ({"unique_key": "\ud800"}, "unique key"),
        ({"unique_key": "x" * 501}, "501 characters"),
        ({"unique_key": 7}, "unique key"),
        ({"unique_for": 0}, "more than 0"),
        ({"on_duplicate": "ignore"}, "'return' or 'raise'"),
        ({"timeout": 0}, "more than 0"),
        ({"timeout": -2}, "at least 0"),
        ({"headers": ["a"]}, "mapping"),
        ({"headers": {"a": 1}}, "'a': 1"),
        ({"headers": {"a": "\udc00"}}, "text to text"),
        ({"headers": {"a": "x" * 40_000, "b": "x" * 40_000}}, "80002 characters or more; the limit is 65536"),
    ],
)
def test_an_impossible_option_is_refused_by_its_name(options, says) -> None:
    """One error class, which is a ValueError and a ConfigurationError, names the option and what may stand there."""
    with pytest.raises(OptionError, match=says) as caught:
        checked(options)
    assert caught.value.setting in options
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ConfigurationError)


def test_options_stack_and_the_newest_counts() -> None:
    """`using(…).using(…)` adds up."""
    call = checked({"priority": 2}, onto=checked({"priority": 9, "queue": "mail"}))
    assert (call.priority, call.queue) == (2, "mail")


def test_a_conflict_between_two_layers_is_found() -> None:
    """A delay given first and a moment given later exclude each other as well."""
    with pytest.raises(OptionError, match="exclude each other"):
        checked({"run_at": datetime.now(UTC)}, onto=checked({"delay": 5}))


def test_headers_are_copied() -> None:
    """What the caller does to its own mapping afterwards is not sent."""
    mine = {"a": "1"}
    call = checked({"headers": mine})
    mine["a"] = "2"
    assert call.headers == {"a": "1"}


@pytest.mark.parametrize(
    ("options", "name"),
    [({"connection": object()}, "connection"), ({"on_duplicate": "raise"}, "on_duplicate"), ({}, None)],
)
def test_what_concerns_the_sending_is_told_apart(options, name) -> None:
    """A message can carry everything but these."""
    assert checked(options).about_sending == name


def test_optional_seconds_are_seconds_or_none() -> None:
    """None stays None; zero only where it means something."""
    assert optional_seconds(None, "x") is None
    assert optional_seconds(timedelta(seconds=3), "x") == 3.0
    assert optional_seconds(0, "x", zero=True) == 0.0
    with pytest.raises(OptionError, match="x is more than 0"):
        optional_seconds(0, "x")
