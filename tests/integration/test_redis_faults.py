"""The Redis backend and its workers on a server that crashes, freezes, forgets, fills up or is slow to come back."""

from __future__ import annotations

from tests.integration.redis_faults import RedisFaults


class TestRedisFaults(RedisFaults):
    """Each for as long as it takes to be seen; `make chaos` tries longer."""
