"""For tests of applications and of backends: captured messages, runs in place, a still clock, the conformance suite."""

from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.drain import drain
from reinhardt_tasks.testing.outbox import Outbox, capture

__all__ = ["Outbox", "StillClock", "capture", "drain"]
