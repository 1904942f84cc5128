"""What every test may count on: coroutine tests run on a loop of their own, and Hypothesis has no stop-watch."""

from __future__ import annotations

from hypothesis import settings

from reinhardt_tasks.testing.plugin import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]  # the hook that users load as a plugin

# A shared machine stalls now and then: how long an example took says nothing about the code.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
