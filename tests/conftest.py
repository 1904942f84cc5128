"""What every test may count on: a loop of its own for coroutines, servers, and a Hypothesis without a stop-watch."""

from __future__ import annotations

import pytest
from hypothesis import settings

from reinhardt_tasks.testing.plugin import pytest_pyfunc_call
from tests.servers import postgres, rabbitmq
from tests.servers.redis import SharedRedis, close_shared, shared

__all__ = ["pytest_pyfunc_call"]  # the hook that users load as a plugin

# A shared machine stalls now and then: how long an example took says nothing about the code.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(scope="session")
def redis_server() -> SharedRedis:
    """The Redis server of this test process. Take a `fresh_prefix()` on it."""
    return shared()


def pytest_unconfigure() -> None:
    """End what the tests shared."""
    close_shared()
    postgres.close_shared()
    rabbitmq.close_shared()
