"""The pytest plugin as an application loads it: in a project of its own, with plain pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = 'pytest_plugins = ["reinhardt_tasks.testing.plugin"]\n'
APPLICATION = """
from reinhardt_tasks import TaskQueue

queue = TaskQueue()

@queue.task
async def add(left: int, right: int = 1) -> int:
    return left + right
"""
TESTS = """
import asyncio

import pytest
from hypothesis import given, strategies

from application import add, queue
from reinhardt_tasks.testing import capture, drain

@pytest.fixture
def outbox():
    with capture(queue) as outbox:
        yield outbox

@pytest.fixture
def memory():
    with queue.override("memory://"):
        yield

async def test_captured(outbox):
    await add.enqueue(1)
    assert outbox.calls(add) == [{"left": 1, "right": 1}]

@pytest.mark.parametrize("number", [1, 2])
async def test_drained(memory, number):
    handle = await add.enqueue(number)
    assert await drain(queue) == 1
    assert await handle.result(timeout=0) == number + 1

class TestInAClass:
    async def test_called(self):
        assert await add(1, 2) == 3

@given(number=strategies.integers())
async def test_for_many_numbers(number):
    await asyncio.sleep(0)
    assert await add(number) == number + 1

def test_plain(memory):
    handle = add.enqueue_sync(1)
    assert asyncio.run(drain(queue)) == 1
    assert handle.result_sync(timeout=0) == 2

@pytest.mark.xfail(strict=True)
async def test_that_fails():
    assert await add(1) == 3

@pytest.mark.anyio
async def test_of_another_plugin():
    raise AssertionError("pytest says itself that no plugin runs it")
"""


def test_coroutine_tests_of_an_application_run(tmp_path: Path) -> None:
    """Plain, with parameters, in classes and under Hypothesis; one that another plugin owns is left to that."""
    for name, text in (("conftest", CONFTEST), ("application", APPLICATION), ("test_application", TESTS)):
        (tmp_path / f"{name}.py").write_text(text)
    ended = pytest_in(tmp_path, "-W", "error", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    assert "1 failed, 6 passed, 1 xfailed" in ended.stdout, ended.stdout + ended.stderr
    assert "FAILED test_application.py::test_of_another_plugin" in ended.stdout


def pytest_in(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest in the project at `place`, which sees neither this project's settings nor its plugins."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-ra",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *options,
            "--rootdir",
            ".",
        ],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
