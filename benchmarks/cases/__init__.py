"""Every case, by broker."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from benchmarks.cases import postgres, rabbitmq, redis, sqlite, workflow
from benchmarks.cases.case import COMPOSED, MEASURES, PROJECT, Case

__all__ = ["CASES", "COMPOSED", "MEASURES", "PROJECT", "Case", "chosen"]

CASES = (*sqlite.CASES, *redis.CASES, *postgres.CASES, *rabbitmq.CASES, *workflow.CASES)


def chosen(patterns: Sequence[str]) -> tuple[Case, ...]:
    """The cases whose name fits one of the shell patterns, or all. Raises ValueError for one that fits none."""
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in CASES):
            raise ValueError(f"no case is called {pattern}; there are {', '.join(case.name for case in CASES)}")
    return tuple(case for case in CASES if not patterns or any(fnmatchcase(case.name, one) for one in patterns))
