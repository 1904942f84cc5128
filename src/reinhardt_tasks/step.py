"""A call that lacks what the results of other messages will fill: `Step`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from reinhardt_tasks.message import Message

A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Step(msgspec.Struct, Generic[A_contra, R_co], frozen=True, kw_only=True):
    """One call of a task less its first parameter, of type `A_contra`, which the result of the step before fills.

    Made by `task.step(…)`, and taken by chains, groups and graphs, any number of times. `message` is the call as far as
    it is known, `takes` the parameters it lacks, with their declared types.
    """

    message: Message[R_co]
    takes: Mapping[str, Any]
