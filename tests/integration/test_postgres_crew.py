"""The PostgreSQL backend and its workers on a server that crashes, freezes, or ends their sessions."""

from __future__ import annotations

from tests.integration.postgres_faults import PostgresFaults


class TestPostgresFaults(PostgresFaults):
    """Each for as long as it takes to be seen; `make chaos` tries longer."""
