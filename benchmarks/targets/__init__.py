"""What this project wants to reach, by broker, each judged from the figures of one run."""

from __future__ import annotations

from benchmarks.targets import postgres, redis, sqlite, workflow
from benchmarks.targets.target import Judgement, Results, Room, Target, best_case, judge

__all__ = ["TARGETS", "Judgement", "Results", "Room", "Target", "best_case", "judge"]

TARGETS = (*sqlite.TARGETS, *redis.TARGETS, *postgres.TARGETS, *workflow.TARGETS)
