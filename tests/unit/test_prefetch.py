"""How many messages a worker fetches ahead: what it finishes in 50 ms, never more than 300, none for slow tasks."""

from __future__ import annotations

import pytest

from reinhardt_tasks.worker.prefetch import HORIZON, MOST, Allowance


def after(*, slots: int, rate: float, rounds: int = 20) -> Allowance:
    """The allowance of a worker that has finished `rate` messages a second for a while."""
    allowance = Allowance(None, slots=slots, now=0.0)
    for turn in range(1, rounds + 1):
        allowance.measure(round(rate), float(turn), busy=True)
    return allowance


def test_nothing_is_fetched_ahead_before_anything_was_measured():
    """The first exchange fills the slots."""
    assert Allowance(None, slots=4, now=0.0).size == 0


def test_it_is_what_is_finished_within_the_horizon():
    """Fifty milliseconds' worth."""
    assert after(slots=4, rate=2000).size == pytest.approx(2000 * HORIZON, abs=1)


def test_it_has_a_bound():
    """However quick the tasks are."""
    assert after(slots=4, rate=1_000_000).size == MOST == 300


@pytest.mark.parametrize("slots", [1, 4, 100])
def test_slow_tasks_are_not_fetched_ahead(slots):
    """Tasks that take longer than the horizon would only wait here while others could run them."""
    assert after(slots=slots, rate=slots / 0.06).size == 0
    assert after(slots=slots, rate=slots / 0.04).size >= slots


@pytest.mark.parametrize("apart", [0.0002, 0.001, 0.02])
def test_bursts_of_slow_tasks_do_not_look_quick(apart):
    """Ten tasks of 60 ms that end nearly together, settled in two calls."""
    allowance, sizes = Allowance(None, slots=10, now=0.0), set()
    for turn in range(1, 50):
        allowance.measure(3, turn * 0.06, busy=True)
        sizes.add(allowance.size)
        allowance.measure(7, turn * 0.06 + apart, busy=True)
        sizes.add(allowance.size)
    assert sizes == {0}


def test_a_quick_worker_earns_it_at_once():
    """After fifty milliseconds of no-op tasks."""
    allowance = Allowance(None, slots=100, now=0.0)
    for turn in range(1, 60):
        allowance.measure(80, turn * 0.001, busy=True)
    assert allowance.size == MOST


def test_a_worker_that_becomes_slow_fetches_no_more():
    """Within a few measurements."""
    allowance = after(slots=4, rate=10_000)
    for turn in range(21, 31):
        allowance.measure(4, float(turn), busy=True)
    assert allowance.size == 0


def test_idle_time_does_not_count():
    """A quick worker that had nothing to do is still quick."""
    allowance = after(slots=4, rate=2000)
    before = allowance.size
    allowance.measure(0, 1000.0, busy=False)
    assert allowance.size == before


def test_a_clock_that_stands_still_is_survived():
    """Two exchanges within one tick of the clock measure nothing."""
    allowance = after(slots=4, rate=2000)
    before = allowance.size
    allowance.measure(7, 20.0, busy=True)
    assert allowance.size == before


def test_what_was_measured_can_be_forgotten():
    """Then it has to be earned again."""
    allowance = after(slots=4, rate=10_000)
    allowance.forget()
    assert allowance.size == 0


@pytest.mark.parametrize("fixed", [0, 7, 1000])
def test_a_number_that_was_set_stands(fixed):
    """Whatever is measured."""
    allowance = Allowance(fixed, slots=4, now=0.0)
    allowance.measure(100, 1.0, busy=True)
    allowance.forget()
    assert allowance.size == fixed
