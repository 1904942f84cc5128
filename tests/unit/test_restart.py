"""What follows the end of a worker process."""

from __future__ import annotations

import pytest

from reinhardt_tasks.worker.restart import YOUNG, Step, crashes_after, next_step, stopped_gracefully

OLD = YOUNG + 1


@pytest.mark.parametrize(
    ("code", "lived", "step"),
    [
        (0, 1, Step.LEAVE),
        (3, 1, Step.RESTART),
        (3, OLD, Step.RESTART),
        (4, 1, Step.BACK_OFF),
        (1, 1, Step.BACK_OFF),
        (1, OLD, Step.BACK_OFF),
        (2, 1, Step.GIVE_UP),
        (9, 1, Step.BACK_OFF),
        (-9, 1, Step.BACK_OFF),
        (-11, OLD, Step.BACK_OFF),
    ],
)
def test_the_exit_code_decides(code, lived, step):
    """0 leaves, 2 is hopeless, 3 was meant to come back at once; all else is a crash."""
    assert next_step(code, lived=lived, renewing=False, reloading=False) is step


@pytest.mark.parametrize(
    ("code", "lived", "step"),
    [
        (1, 1, Step.AWAIT_CHANGE),
        (2, 1, Step.AWAIT_CHANGE),
        (1, OLD, Step.BACK_OFF),
        (-9, 1, Step.BACK_OFF),
        (3, 1, Step.RESTART),
        (0, 1, Step.LEAVE),
    ],
)
def test_while_files_are_watched_a_failing_start_waits_for_a_change(code, lived, step):
    """An error in the code, soon after the start; a worker that a task killed is replaced as ever."""
    assert next_step(code, lived=lived, renewing=False, reloading=True) is step


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, -9, -15])
def test_a_worker_that_made_room_is_replaced_however_it_ended(code):
    """It was told to end because the code changed."""
    assert next_step(code, lived=OLD, renewing=True, reloading=True) is Step.RESTART


def test_a_long_life_forgives_the_crashes_before():
    """So that the waits grow only while a worker cannot get going."""
    assert crashes_after(0, lived=1) == 1
    assert crashes_after(4, lived=YOUNG - 0.1) == 5
    assert crashes_after(4, lived=YOUNG) == 1


@pytest.mark.parametrize(("code", "graceful"), [(0, True), (3, True), (-15, True), (1, False), (4, False), (-9, False)])
def test_what_counts_as_a_graceful_stop(code, graceful):
    """A worker that SIGTERM itself ended had not begun to work; one that was killed may have held messages."""
    assert stopped_gracefully(code) is graceful
