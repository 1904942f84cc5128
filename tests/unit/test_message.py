"""Outcomes carry the token of the claim they end."""

from __future__ import annotations

import pytest

from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, ErrorRecord, Outcome, OutcomeKind

CLAIM = Claim(TaskId.new(), 7, b"body", locator=42)
ERROR = ErrorRecord("ValueError", "it went wrong")


@pytest.mark.parametrize(
    ("outcome", "kind", "payload", "delay", "unknown"),
    [
        (Outcome.success(CLAIM, b"r"), OutcomeKind.SUCCESS, b"r", 0.0, False),
        (Outcome.failure(CLAIM, ERROR), OutcomeKind.FAILURE, ERROR.encode(), 0.0, False),
        (Outcome.retry(CLAIM, 2.5, ERROR), OutcomeKind.RETRY, ERROR.encode(), 2.5, False),
        (Outcome.release(CLAIM), OutcomeKind.RELEASE, b"", 0.0, False),
        (Outcome.release(CLAIM, 2.5, unknown=True), OutcomeKind.RELEASE, b"", 2.5, True),
        (Outcome.cancelled(CLAIM, ERROR), OutcomeKind.CANCELLED, ERROR.encode(), 0.0, False),
    ],
)
def test_an_outcome_ends_the_claim_it_was_made_for(outcome: Outcome, kind, payload, delay, unknown) -> None:
    """Same message, same number, same locator; and what the kind needs, nothing else."""
    assert (outcome.id, outcome.number, outcome.locator) == (CLAIM.id, CLAIM.number, CLAIM.locator)
    assert (outcome.kind, outcome.payload, outcome.delay, outcome.unknown) == (kind, payload, delay, unknown)
