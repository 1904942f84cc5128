"""A benchmark leaves nothing behind, however its driver ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.guard import guarded
from tests.eventually import eventually
from tests.procfs import runs

FAMILY = 'sleep 600 & echo $! >>"$0"; setsid sleep 600 & echo $! >>"$0"; echo $$ >>"$0"; exec sleep 600'
DRIVER = f"""
import os, sys
from pathlib import Path
from benchmarks.guard import guarded
with guarded(Path(sys.argv[1])) as guard, guard.running(
    ["sh", "-c", {FAMILY!r}, sys.argv[2]], environment=os.environ, output=sys.stderr, errors=sys.stderr
) as process:
    process.wait()
"""


def pids_in(file: Path) -> list[int]:
    """The three processes of a family, once all are there; until then none."""
    pids = [int(line) for line in file.read_text().splitlines()] if file.exists() else []
    return pids if len(pids) == 3 else []


def test_a_driver_that_is_killed_takes_along_what_it_started(tmp_path: Path) -> None:
    """Children, their children, those in a session of their own, and the files."""
    stores, told = tmp_path / "stores", tmp_path / "pids"
    stores.mkdir()
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(stores), str(told)], cwd=ROOT) as driver:
        pids = eventually(lambda: pids_in(told))
        assert all(map(runs, pids))
        driver.kill()
    eventually(lambda: not any(map(runs, pids)))
    eventually(lambda: not list(stores.iterdir()))


def test_a_run_that_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    """It stops its processes and removes its files before it returns."""
    told = tmp_path / "pids"
    with guarded(tmp_path) as guard, (tmp_path / "log").open("wb") as log:
        directory = guard.directory
        command = ["sh", "-c", FAMILY.replace("setsid ", ""), str(told)]
        with guard.running(command, environment=os.environ, output=log, errors=log) as process:
            pids = eventually(lambda: pids_in(told))
        assert process.returncode == -signal.SIGTERM
        eventually(lambda: not any(map(runs, pids)))
        assert directory.is_dir()
    assert not directory.exists()
