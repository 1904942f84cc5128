"""What the PostgreSQL backend survives, tried for as long as its promises were written for."""

from __future__ import annotations

import pytest

from tests.integration.postgres_faults import PostgresFaults

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


class TestPostgres(PostgresFaults):
    """See PostgresFaults and ServerFaults."""

    crashes = 5
    downtime = 5.0
    resets = 30
    resets_pause = 1.0
    cut_answers = 1_000
    silence = 30.0
    frozen = 12.0
    terminating = 30.0
