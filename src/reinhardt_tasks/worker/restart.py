"""What a supervisor does when a worker process has ended: the decision alone (pure)."""

from __future__ import annotations

import signal
from enum import Enum
from typing import Final

from reinhardt_tasks.worker.shift import ExitCode

YOUNG: Final = 30.0
"""A process that lived for less than this many seconds counts as one that cannot get going."""
_ERROR_IN_CODE: Final = 1
_WRONG_INPUT: Final = 2


class Step(Enum):
    """What comes after the end of a worker process."""

    LEAVE = "not restarted: it left on its own account"
    GIVE_UP = "not restarted: what it was started with is wrong"
    RESTART = "restarted"
    BACK_OFF = "restarted after a while"
    AWAIT_CHANGE = "restarted when a file changes"


def next_step(code: int, *, lived: float, renewing: bool, reloading: bool) -> Step:
    """What follows a process that ended with `code` (a signal's number below zero) after `lived` seconds.

    `renewing`: it was asked to end to make room for one with changed code. `reloading`: there will be such changes, so
    a program that fails at its start is not tried again before one.
    """
    if renewing or code == ExitCode.RECYCLED:
        return Step.RESTART
    if code == ExitCode.GRACEFUL:
        return Step.LEAVE
    if reloading and code in {_ERROR_IN_CODE, _WRONG_INPUT} and lived < YOUNG:
        return Step.AWAIT_CHANGE
    return Step.GIVE_UP if code == _WRONG_INPUT else Step.BACK_OFF


def crashes_after(crashes: int, *, lived: float) -> int:
    """How many times in a row a worker has crashed, this one included; a long life makes it the first."""
    return crashes + 1 if lived < YOUNG else 1


def stopped_gracefully(code: int) -> bool:
    """Whether a worker that was told to stop gave everything back; one that the signal ended had not begun yet."""
    return code in {ExitCode.GRACEFUL, ExitCode.RECYCLED, -signal.SIGTERM}
