"""What the Redis backend survives, tried for as long as its promises were written for."""

from __future__ import annotations

import pytest

from tests.integration.redis_faults import RedisFaults

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


class TestRedis(RedisFaults):
    """See RedisFaults and ServerFaults."""

    crashes = 5
    downtime = 5.0
    resets = 30
    resets_pause = 1.0
    cut_answers = 1_000
    silence = 30.0
    frozen = 12.0
    slow_messages = 400
    flushing = 30.0
    to_load = 40_000
