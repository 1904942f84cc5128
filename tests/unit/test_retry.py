"""When a failed message runs again, as numbers; and what is refused as a strategy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.retry import Retry, RetryState, RetryStrategy, seconds


def waits(strategy: RetryStrategy, runs: int) -> list[float]:
    """The waits before the first `runs` retries."""
    return [strategy.delay(attempt) for attempt in range(1, runs + 1)]


def test_waits_grow_up_to_their_limit() -> None:
    """By the multiplier; without jitter they are what the strategy says."""
    growing = RetryStrategy.exponential_backoff(initial_delay=1, multiplier=3, max_delay=10, jitter=False)
    assert waits(growing, 4) == [1, 3, 9, 10]
    shrinking = RetryStrategy.exponential_backoff(initial_delay=8, multiplier=0.5, jitter=False)
    assert waits(shrinking, 3) == [8, 4, 2]


def test_a_fixed_delay_is_the_same_each_time() -> None:
    """Given in seconds or as a timedelta."""
    assert waits(RetryStrategy.fixed_delay(timedelta(minutes=2)), 3) == [120, 120, 120]


@given(attempt=st.integers(1, 10**6), initial=st.floats(0, 1e9), multiplier=st.floats(1e-3, 1e9))
def test_no_wait_is_longer_than_its_limit_or_negative(attempt, initial, multiplier) -> None:
    """Whatever the figures, also where the growth is too large for a float."""
    strategy = RetryStrategy(initial_delay=initial, multiplier=multiplier, max_delay=60)
    assert 0 <= strategy.delay(attempt) <= 60


def test_jitter_spreads_the_waits_evenly() -> None:
    """From 0 to the whole wait, so that what failed together does not return together."""
    drawn = [RetryStrategy(initial_delay=60).delay(1) for _ in range(400)]
    assert min(drawn) < 10
    assert max(drawn) > 50
    assert 24 < sum(drawn) / len(drawn) < 36


def test_retries_are_counted_from_one() -> None:
    """Attempt 0 is a mistake of the caller."""
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        RetryStrategy().delay(0)


def test_kinds_of_exceptions_are_chosen() -> None:
    """By what to retry and what to give up on, which outweighs it; a task's own Retry always is retried."""
    strategy = RetryStrategy.exponential_backoff(retry_on=OSError, give_up_on=(FileNotFoundError,))
    assert strategy.retries(ConnectionResetError())
    assert not strategy.retries(ValueError())
    assert not strategy.retries(FileNotFoundError())
    assert strategy.retries(Retry())
    assert not RetryStrategy().retries(KeyboardInterrupt())
    assert RetryStrategy.no_retry().max_retries == 0


def test_classes_of_exceptions_may_come_as_a_list() -> None:
    """They are kept as a tuple."""
    assert RetryStrategy(retry_on=[OSError]).retry_on == (OSError,)  # type: ignore[arg-type]


def test_a_task_says_how_long_to_wait() -> None:
    """In seconds or as a timedelta; not at all is left to the strategy."""
    assert Retry(after=timedelta(seconds=5)).after == 5.0
    assert Retry("busy").after is None
    assert str(Retry("busy")) == "busy"
    with pytest.raises(ValueError, match="after is a finite number"):
        Retry(after=-1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_retries": -1}, "max_retries is a whole number"),
        ({"max_retries": 1.5}, "max_retries is a whole number"),
        ({"max_retries": True}, "max_retries is a whole number"),
        ({"initial_delay": -1}, "initial_delay is a finite number"),
        ({"max_delay": float("inf")}, "max_delay is a finite number"),
        ({"max_delay": "60"}, "max_delay is a finite number"),
        ({"multiplier": 0}, "multiplier is a finite number above 0"),
        ({"multiplier": float("nan")}, "multiplier is a finite number above 0"),
        ({"multiplier": "2"}, "multiplier is a finite number above 0"),
        ({"jitter": 0.5}, "jitter is True or False"),
        ({"retry_on": 3}, "retry_on takes exception classes, not 3"),
        ({"retry_on": int}, "retry_on takes exception classes"),
        ({"give_up_on": [ValueError()]}, "give_up_on takes exception classes"),
    ],
)
def test_a_strategy_that_cannot_work_is_refused_when_it_is_made(settings, says) -> None:
    """Naming the setting and what it may be."""
    with pytest.raises(ValueError, match=says):
        RetryStrategy(**settings)


def test_a_state_counts_against_its_strategy() -> None:
    """Three retries are four runs; before the first failure there is nothing to wait for."""
    state = RetryState(RetryStrategy.fixed_delay(5, max_retries=2))
    assert (state.can_retry(), state.next_delay()) == (True, None)
    told = []
    for _ in range(3):
        state.record_attempt()
        told.append((state.can_retry(), state.next_delay()))
    assert told == [(True, 5), (True, 5), (False, None)]
    state.reset()
    assert (state.attempts, state.can_retry()) == (0, True)


def test_durations_are_finite_seconds() -> None:
    """A boolean is no number here; the error names what was asked for."""
    assert seconds(timedelta(milliseconds=1500), what="x") == 1.5
    assert isinstance(seconds(3, what="x"), float)
    for wrong in (True, None, "3", float("nan"), float("inf"), -0.1, 10**400):
        with pytest.raises(ValueError, match="pause is a finite number of seconds or a timedelta, at least 0"):
            seconds(wrong, what="pause")  # type: ignore[arg-type]
