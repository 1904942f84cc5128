"""Clocks: the one that nobody sets."""

import time

from reinhardt_tasks.clocks import boottime, steadied


def test_the_wall_clock_is_steadied_by_the_one_nobody_sets():
    """A clock of a test measures its durations itself."""

    def still() -> float:
        return 7.0

    assert steadied(time.time) is boottime
    assert steadied(still) is still


def test_it_never_goes_back():
    """Whatever is done to the wall clock."""
    seen = [boottime() for _ in range(1000)]
    assert seen == sorted(seen)
