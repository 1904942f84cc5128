"""A shell for tests: an application in a directory of its own, and commands run on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from reinhardt_tasks.cli.application import run

APP = """
import asyncio, os
from dataclasses import dataclass
from datetime import date
from reinhardt_tasks import RetryStrategy, TaskQueue, current_task

queue = TaskQueue("sqlite:///tasks.db")

@dataclass
class Size:
    width: int
    height: int

@queue.task
async def area(size: Size, day: date | None = None) -> int:
    return size.width * size.height

@queue.task(retry=RetryStrategy.no_retry())
async def fail(text: str) -> None:
    raise ValueError(text)

@queue.task(queue="slow")
async def wait(path: str) -> str:
    current_task().progress(1, 4, "waiting")
    while not os.path.exists(path):
        await asyncio.sleep(0.02)
    return "seen"

@queue.task(priority=7)
def secret(text: str) -> str:
    return text
"""
URL = ("--url", "sqlite:///tasks.db")
PROGRAM = (sys.executable, "-m", "reinhardt_tasks")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document it printed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class Shell:
    """Commands in `directory`, which is made the current one and holds the application."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys
        (directory / "app.py").write_text(APP)
        monkeypatch.chdir(directory)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setitem(sys.modules, "app", ModuleType("app"))  # so that it is taken away in the end
        del sys.modules["app"]
        for name in [name for name in os.environ if name.startswith("REINHARDT_TASKS_")]:
            monkeypatch.delenv(name)
        monkeypatch.delenv("COLUMNS", raising=False)  # the width of whoever runs the tests

    def __call__(self, *arguments: str) -> Ended:
        """Run a command in this process."""
        code = run(arguments)
        return Ended(code, *self._capsys.readouterr())

    def outside(self, *arguments: str, **variables: str) -> Ended:
        """Run a command as a process of its own."""
        ended = subprocess.run(
            [*PROGRAM, *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on meanwhile; killed in the end, should it still run."""
        with subprocess.Popen([*PROGRAM, *arguments], text=True, **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def enqueue(self, *words: str) -> str:
        """Enqueue a call; its id."""
        ended = self("enqueue", "app:queue", *words)
        assert ended.code == 0, ended.err
        return ended.out.strip()

    def enqueue_many(self, count: int) -> None:
        """So many messages of one task."""
        assert self("counts", "--target", "app:queue").code == 0  # imports the application
        app: Any = sys.modules["app"]
        app.queue.enqueue_many_sync(app.secret.message(f"{number:040}") for number in range(count))

    def work(self, *options: str) -> Ended:
        """Let a worker do all there is to do."""
        ended = self.outside("worker", "app:queue", "--until-idle", *options)
        assert ended.code == 0, ended.err
        return ended
