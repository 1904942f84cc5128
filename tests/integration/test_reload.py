"""Reloading: workers are replaced when the code changes, and left alone when it is no Python."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from reinhardt_tasks.worker import reload
from reinhardt_tasks.worker.reload import SourceWatch, syntax_errors
from tests.eventually import eventually, eventually_async
from tests.integration.supervision import supervision


def written(file: Path, text: str) -> Path:
    """The file, with this text in it now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def change_soon(watch: SourceWatch) -> asyncio.Task[list[Path]]:
    """The next change, waited for in the background."""
    return asyncio.create_task(watch.change())


@pytest.fixture
def root(tmp_path):
    """A small application."""
    written(tmp_path / "app.py", "x = 1\n")
    written(tmp_path / "pages" / "shop.py", "y = 1\n")
    return tmp_path


async def test_a_file_that_is_changed_added_or_removed_is_noticed(root):
    """Each by its path, wherever it lies below the root."""
    watch = SourceWatch([root], interval=0.01)
    written(root / "app.py", "x = 22\n")
    assert await watch.change() == [root / "app.py"]
    written(root / "pages" / "new.py", "z = 1\n")
    assert await watch.change() == [root / "pages" / "new.py"]
    (root / "pages" / "shop.py").unlink()
    assert await watch.change() == [root / "pages" / "shop.py"]


async def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(root):
    """Editors write a new file and move it over the old one; tools may keep the old one's time."""
    file = root / "app.py"
    old = file.stat()
    watch = SourceWatch([root], interval=0.01)
    new = written(root / "app.py.new", "x = 2\n")
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.replace(file)
    assert await watch.change() == [file]


async def test_changes_that_follow_each_other_are_one(root, monkeypatch):
    """A checkout writes many files; the workers are to be replaced when it is done."""
    monkeypatch.setattr(reload, "_SETTLE", 1.0)  # longer than a busy machine halts this test
    watch = SourceWatch([root], interval=0.01)
    changed = change_soon(watch)
    files = [root / f"module_{number}.py" for number in range(20)]
    for file in files:
        written(file, "x = 1\n")
        await asyncio.sleep(0)
    assert await changed == sorted(files)


@pytest.mark.parametrize(
    "place",
    ["notes.txt", ".git/hook.py", "__pycache__/app.py", "node_modules/a.py", "lib/site-packages/a.py", "env/lib/a.py"],
)
async def test_what_is_not_the_application_s_source_is_left_out(root, place):
    """Only the change of a source file comes through, though another file was changed before it."""
    written(root / "env" / "pyvenv.cfg", "")
    watch = SourceWatch([root], interval=0.01)
    changed = change_soon(watch)
    written(root / place, "x = 1\n")
    written(root / "app.py", "x = 333\n")
    assert await changed == [root / "app.py"]


async def test_code_that_is_no_python_is_told_and_not_a_change_yet(root, caplog):
    """The line is named once per attempt; the change comes when it is repaired, with all that changed meanwhile."""
    watch = SourceWatch([root], interval=0.01)
    changed = change_soon(watch)
    written(root / "app.py", "x = 1\ny = (\n")
    await eventually_async(lambda: "syntax_error" in caplog.text)
    assert f"{root / 'app.py'}:2: '(' was never closed" in caplog.text
    written(root / "pages" / "shop.py", "y = 22\n")
    await eventually_async(lambda: caplog.text.count("syntax_error") == 2)
    assert not changed.done()
    written(root / "app.py", "x = 1\n")
    assert await changed == [root / "app.py", root / "pages" / "shop.py"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b"x = 1\n", []),
        (b"x = = 1\n", ["1: invalid syntax"]),
        (b"# coding: klingon\n", ["unknown encoding: klingon"]),
        (b"\xff\xfe\n", ["cannot decode", "can't decode", "(unicode error)"]),
        (b"x = '\0'\n", ["null bytes"]),
    ],
)
def test_what_is_wrong_with_a_source_is_said(tmp_path, source, found):
    """Whatever stands in the file, looking at it raises nothing."""
    file = tmp_path / "app.py"
    file.write_bytes(source)
    said = list(syntax_errors([file, tmp_path / "gone.py"]))
    assert len(said) == bool(found)
    assert all(line.startswith(str(file)) for line in said)
    assert not found or any(text in said[0] for text in found)


# With a supervisor ---------------------------------------------------------------------------------------------------


def test_workers_are_replaced_when_the_code_changes(root, tmp_path):
    """Each is told to stop, does so in its own time, and another takes its place."""
    with supervision(tmp_path, "--reload", root) as seen:
        old = sorted(seen.started(2), key=lambda worker: worker.index)
        written(root / "app.py", "x = 22\n")
        new = [seen.next_start(worker.index, worker) for worker in old]
        assert {event.pid for event in seen.events("stop")} == {worker.pid for worker in old}
        seen.process.terminate()
        assert seen.ended() == 0
        assert {event.pid for event in seen.events("stop")} == {worker.pid for worker in [*old, *new]}


def test_workers_stay_while_the_code_is_no_python(root, tmp_path):
    """A half-written line costs nothing; the next good state counts."""
    with supervision(tmp_path, "--reload", root) as seen:
        old = seen.started(2)
        written(root / "app.py", "def f(:\n")
        eventually(lambda: f"syntax_error {root / 'app.py'}:1: " in seen.log())
        assert seen.events("stop") == []
        written(root / "app.py", "def f(): ...\n")
        for worker in old:
            seen.next_start(worker.index, worker)


def test_a_worker_that_fails_at_its_start_waits_for_a_change(root, tmp_path):
    """It would fail again; no crash loop fills the terminal."""
    failing = written(root / "failing.py", "raise SystemExit(1)\n")
    started = tmp_path / "started"
    with supervision(tmp_path, "--count", "1", "--reload", root, "--program", sys.executable, failing) as seen:
        eventually(lambda: "next='restarted when a file changes'" in seen.log())
        assert seen.log().count("worker_process_started") == 1
        written(failing, f"open({str(started)!r}, 'w')\n")
        eventually(started.exists)
        assert seen.ended() == 0  # the program that was repaired has nothing more to do


def test_a_worker_that_is_ending_is_not_told_twice(root, tmp_path):
    """A second signal means "at once", with what it runs lost: neither another change nor a stop is meant so."""
    (tmp_path / "stubborn").touch()
    with supervision(tmp_path, "--count", "1", "--reload", root) as seen:
        (worker,) = seen.started(1)
        for text in ("x = 33\n", "x = 444\n"):
            reloads = seen.log().count("reload changed=1")
            written(root / "app.py", text)
            eventually(lambda reloads=reloads: seen.log().count("reload changed=1") > reloads)
        seen.process.terminate()
        eventually(lambda: "supervisor_stops" in seen.log())
        os.kill(worker.pid, signal.SIGHUP)
        assert seen.ended() == 0
        assert len(seen.events("told")) == 1


def test_a_worker_that_does_not_stop_for_a_change_is_killed(root, tmp_path):
    """A task that hangs does not keep the new code out for ever."""
    (tmp_path / "stubborn").touch()
    with supervision(tmp_path, "--count", "1", "--timeout", "0.2", "--reload", root) as seen:
        (old,) = seen.started(1)
        written(root / "app.py", "x = 22\n")
        new = seen.next_start(0, old)
        assert new.pid != old.pid
        assert f"worker_process_killed index=0 pid={old.pid} after=0.2" in seen.log()
