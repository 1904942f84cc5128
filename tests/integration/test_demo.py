"""The demo does what it says on real files with real processes, also when it is killed or interrupted half-way."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
from pathlib import Path

import pytest

from reinhardt_tasks.demo.sources import python_files, standard_library
from tests.eventually import eventually
from tests.integration.shell import PROGRAM
from tests.procfs import runs

LAST_LINE = re.compile(r"demo: (\d+) messages, (\d+) succeeded, (\d+) failed, \d+\.\d s")


def last_line(output: str) -> tuple[int, int, int]:
    """The figures of the last line."""
    found = LAST_LINE.fullmatch(output.splitlines()[-1])
    assert found is not None, output
    return int(found[1]), int(found[2]), int(found[3])


def demo(directory: Path, *options: str) -> str:
    """Run the demo to its end; what it printed."""
    ended = subprocess.run(
        [*PROGRAM, "demo", "--directory", str(directory), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    log = directory / "workers.log"
    assert ended.returncode == 0, ended.stdout + ended.stderr + (log.read_text() if log.exists() else "")
    assert ended.stderr == ""
    return ended.stdout


def test_a_run_counts_its_files_and_leaves_a_page(tmp_path: Path) -> None:
    """Sixty real files; run again, it starts anew, as the first run came to its end."""
    output = demo(tmp_path, "--limit", "60")
    assert last_line(output) == (60, 60, 0)
    assert f"60 messages, one for each .py file below {standard_library()}" in output
    assert "Longest functions" in output
    assert "No dead letters" in output
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "the last run here came to its end; this is a new one" in demo(tmp_path, "--limit", "20")


@pytest.mark.timeout(100)
def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    """The process is gone, what it held is run again by another, and every file counts once."""
    output = demo(tmp_path, "--limit", "60", "--kill")
    killed = re.search(r"killed worker process (\d+) with SIGKILL; messages it held: (\d+)", output)
    assert killed is not None, output
    assert int(killed[2]) >= 1
    assert not runs(int(killed[1]))
    assert re.search(rf"killed +process {killed[1]}, which held {killed[2]} messages?; {killed[2]} run again", output)
    assert "every file exactly once: 60 results and 0 dead letters" in output
    assert last_line(output) == (60, 60, 0)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C stops the workers and says how to go on; the second run does the rest, and only the rest."""
    files = len(python_files(standard_library()))
    command = [*PROGRAM, "demo", "--directory", str(tmp_path), "--limit", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = next(line for line in process.stdout if " of " in line)
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=60)
    assert (process.returncode, output.count("demo:")) == (130, 0)
    again = f"reinhardt-tasks demo --directory {tmp_path} --workers 2 --limit 400"
    assert said == f"stopped; go on by: {again}\n"
    assert min(400, files) > int(first.split()[0])
    rest = demo(tmp_path, "--limit", "400")
    resumed = re.search(r"going on with an interrupted run: (\d+) of 400 files are done", rest)
    assert resumed is not None, rest
    assert int(resumed[1]) >= int(first.split()[0])
    messages, succeeded, failed = last_line(rest)
    assert (messages, succeeded + failed) == (400, 400)
    page = (tmp_path / "report.html").read_text()
    assert "An interrupted run was resumed" in page


def test_workers_do_not_outlive_a_demo_that_was_killed(tmp_path: Path) -> None:
    """Nothing goes on in the background without anybody to see it."""
    command = [*PROGRAM, "demo", "--directory", str(tmp_path), "--limit", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if " of " in line)
        process.kill()
    log = tmp_path / "workers.log"
    pids = [int(pid) for pid in re.findall(r"worker_process_started index=\d pid=(\d+)", log.read_text())]
    assert len(pids) == 2
    eventually(lambda: not any(runs(pid) for pid in pids))


def test_the_only_worker_is_not_killed(tmp_path: Path) -> None:
    """Nobody would be left to go on."""
    command = [*PROGRAM, "demo", "--directory", str(tmp_path), "--kill", "--workers", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "give it --workers 2 or more" in ended.stderr


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    """The second one is told to wait."""
    with (tmp_path / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = subprocess.run(
            [*PROGRAM, "demo", "--directory", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: another demo works in {tmp_path}; let it end, or name another --directory.\n"


def test_a_file_is_no_place_for_a_demo(tmp_path: Path) -> None:
    """Neither it nor what would be below it."""
    file = tmp_path / "notes"
    file.touch()
    for directory in (file, file / "below"):
        command = [*PROGRAM, "demo", "--directory", str(directory)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == (
            f"error: {directory} cannot be made a directory, as a file is in the way; name another --directory.\n"
        )
