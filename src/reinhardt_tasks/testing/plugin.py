"""A pytest plugin: `async def` tests run, each on an event loop of its own.

Load it with `pytest_plugins = ["reinhardt_tasks.testing.plugin"]` in the top conftest. It leaves a test alone that
another plugin (pytest-asyncio, anyio) has made its own. The conformance suite runs without it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The same test as a plain function: each call gets a fresh event loop, closed when it returns."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Wrap an `async def` test, or what stands under its `@given` (there every example gets its own loop).

    pytest makes the call itself. Fixtures are plain functions: a test enters async resources by `async with`.
    """
    if any(pyfuncitem.get_closest_marker(owner) for owner in ("anyio", "asyncio", "trio")):
        return
    given = getattr(pyfuncitem.obj, "hypothesis", None)
    if given is not None and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = on_a_loop(given.inner_test)
    elif inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = on_a_loop(pyfuncitem.obj)
