"""What every test may count on: coroutine tests run on a loop of their own, and Hypothesis has no stop-watch."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import settings

# A shared machine stalls now and then: how long an example took says nothing about the code.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The same test as a plain function: each call gets a fresh event loop, closed when it returns."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let `async def` tests run, those under `@given` too (there every example gets its own loop).

    Only wraps; pytest makes the call. Fixtures are plain functions: a test enters async resources by `async with`.
    """
    given = getattr(pyfuncitem.obj, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = on_a_loop(given.inner_test)
    elif inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = on_a_loop(pyfuncitem.obj)
