"""A program that just ends, with SQLite open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from reinhardt_tasks import ResultTimeoutError, TaskQueue

queue = TaskQueue("sqlite:///tasks.db")

@queue.task
def ping() -> None: ...

handle = ping.enqueue_sync()
try:
    handle.result_sync(timeout=0.01)
except ResultTimeoutError:
    print(handle.status_sync())
"""


def test_a_program_without_a_loop_ends_in_silence(tmp_path: Path) -> None:
    """The threads behind the blocking calls are ended in good order, whichever of them is ended first."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "pending\n", "")
