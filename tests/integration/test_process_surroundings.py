"""Children of the process pool inherit nothing, outlive nobody and leave nothing behind, whatever their program is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from reinhardt_tasks.worker import spawned
from reinhardt_tasks.worker.frames import Setup, Start, frame
from reinhardt_tasks.worker.origin import origin_of
from reinhardt_tasks.worker.processes import ChildDiedError, ProcessPool, child_command
from tests.eventually import eventually, eventually_async
from tests.integration import process_tasks as tasks
from tests.integration.pools import call_of, linux, pid_in, pool_of, run
from tests.procfs import children_of, exists, open_files, runs


@linux
async def test_a_child_inherits_nothing_but_its_end_of_the_pipe():
    """Not even a file that this process has marked as inheritable."""
    with socket.socket() as listening:
        os.set_inheritable(listening.fileno(), True)
        async with pool_of(2) as pool:
            await asyncio.gather(run(pool, tasks.open_files), run(pool, tasks.open_files))
            for _ in range(4):
                (only,) = await run(pool, tasks.open_files)
                assert "socket:" in only


@linux
async def test_a_child_sees_the_program_it_belongs_to():
    """The same arguments and import path; an empty input; and no signal left blocked."""
    async with pool_of(1) as pool:
        seen = await run(pool, tasks.surroundings)
    assert seen["argv"] == sys.argv
    assert seen["path"] == sys.path
    assert seen["stdin"] == ["/dev/null"]
    assert seen["blocked"] == []


async def test_a_child_leaves_signals_to_the_worker():
    """Ctrl-C in a terminal reaches it too and changes nothing; programs it starts take them as usual."""
    async with pool_of(1) as pool:
        assert await run(pool, tasks.signalled) == "alive"
        assert await run(pool, tasks.terminated_program) == -signal.SIGTERM


@linux
async def test_a_signal_while_a_child_starts_does_not_end_it():
    """From its first moment on; there is no time in which Ctrl-C would tear it down."""
    async with pool_of(1) as pool:
        running = asyncio.ensure_future(run(pool, tasks.pid))
        (child,) = await eventually_async(lambda: pool.pids)
        for _ in range(50):
            os.kill(child, signal.SIGINT)
            os.kill(child, signal.SIGTERM)
            await asyncio.sleep(0)
        assert await running == child


@linux
async def test_a_closed_pool_leaves_no_process_behind(tmp_path):
    """Idle children end by themselves, one at work is killed; none is left as a zombie, and no file stays open."""
    before = children_of(os.getpid())
    files = open_files()
    pool = ProcessPool(3)
    await asyncio.gather(*(run(pool, tasks.pid) for _ in range(6)))
    started = tmp_path / "started"
    running = asyncio.ensure_future(run(pool, tasks.hanging, started))
    await eventually_async(lambda: pid_in(started))
    assert len(children_of(os.getpid()) - before) == len(pool.pids)
    await pool.close(20)
    with pytest.raises(ChildDiedError):
        await running
    assert (pool.pids, children_of(os.getpid())) == ([], before)
    assert open_files() == files
    with pytest.raises(RuntimeError, match="closed"):
        await run(pool, tasks.pid)


# Programs ------------------------------------------------------------------------------------------------------------

PROLOGUE = """
import asyncio, os, sys, threading
from pathlib import Path
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.worker.origin import refuse_unguarded_program
from reinhardt_tasks.worker.processes import ProcessCall, ProcessPool

registry = TaskRegistry()

@registry.task(runs_in="process")
def hanging(started: Path) -> None:
    started.write_text(f"{os.getpid()}\\n")
    threading.Event().wait()

@registry.task(runs_in="process")
def where(text: str) -> list[str]:
    return [text, __name__, where.name]

async def run(pool, task, *args):
    call = ProcessCall(bytes(TaskId.new()), task.name)
    return task.returns.decode(await pool.run(task, task.arguments.encode(args, {}), call))
"""


def program(directory: Path, text: str) -> Path:
    """A script with tasks and the means to run them, and what else is to stand in it."""
    file = directory / "app.py"
    file.write_text(PROLOGUE + textwrap.dedent(text))
    return file


def ended(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A Python program after it has run."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


SELF_CONTAINED = """
    async def main() -> None:
        pool = ProcessPool(1)
        print(await run(pool, where, "found"))
        await pool.close(20)

    if __name__ == "__main__":
        asyncio.run(main())
"""


def test_a_program_may_define_its_own_tasks(tmp_path):
    """Tasks of the script that Python was started with are found in the child, under the same name."""
    done = ended(program(tmp_path, SELF_CONTAINED))
    assert (done.stdout, done.stderr) == ("['found', '__mp_main__', 'app.where']\n", "")


def test_a_module_run_as_a_program_may_define_its_own_tasks(tmp_path):
    """As `python -m app`."""
    program(tmp_path, SELF_CONTAINED)
    done = ended("-m", "app", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("['found', '__mp_main__', 'app.where']\n", "")


def test_a_program_that_would_start_a_worker_in_its_children_can_be_refused(tmp_path):
    """A script without the `__main__` guard runs again in each child; `refuse_unguarded_program` stops it there."""
    file = program(tmp_path, SELF_CONTAINED)
    file.write_text(file.read_text().replace('if __name__ == "__main__":', "refuse_unguarded_program()\nif True:"))
    done = ended(file)
    assert done.stdout == ""
    assert "ConfigurationError: the program starts a worker whenever it is imported" in done.stderr


def test_a_pool_works_on_uvloop(tmp_path):
    """Pipes, the end of a child and its killing do not depend on which loop it is."""

    async def main() -> None:
        async with pool_of(1) as pool:
            assert await run(pool, tasks.echoed, "äöü" * 150_000) == "äöü" * 150_000
            with pytest.raises(ChildDiedError, match="exited with code 9"):
                await run(pool, tasks.exiting, 9)
            started = tmp_path / "started"
            running = asyncio.ensure_future(run(pool, tasks.hanging, started))
            pid = await eventually_async(lambda: pid_in(started))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not exists(pid)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_an_answer_counts_though_its_child_died_of_it(tmp_path, monkeypatch):
    """The loop learns of both at once, and takes more than one look to read the answer."""

    def refused(pid):
        raise PermissionError

    monkeypatch.setattr(spawned.os, "pidfd_open", refused)
    monkeypatch.setattr(spawned, "_LOOK_INTERVAL", 0.001)

    async def main() -> None:
        async with pool_of(1) as pool:
            started, go_on = tmp_path / "started", tmp_path / "go_on"
            running = asyncio.ensure_future(run(pool, tasks.dying_of_the_answer, started, go_on))
            pid = await eventually_async(lambda: pid_in(started))
            go_on.touch()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop is not to see either yet
            assert await running == "the answer " * 12_000

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_program_that_forgets_its_pool_ends_all_the_same(tmp_path):
    """Nobody waits for the children at the exit of the interpreter; they end with it, idle and busy ones."""
    done = ended(
        program(
            tmp_path,
            """
            async def main(started: Path) -> None:
                pool = ProcessPool(2)
                await run(pool, where, "idle")
                asyncio.ensure_future(run(pool, hanging, started))
                while not started.exists():
                    await asyncio.sleep(0.005)
                print(*pool.pids)

            if __name__ == "__main__":
                loop = asyncio.new_event_loop()  # not asyncio.run, which would cancel what runs
                loop.run_until_complete(main(Path(sys.argv[1])))
            """,
        ),
        tmp_path / "started",
    )
    assert done.returncode == 0
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    for pid in pids:
        eventually(lambda pid=pid: not runs(pid))


HANGING = """
    async def main(started: Path, holder: Path) -> None:
        task = asyncio.ensure_future(run(ProcessPool(1), hanging, started))
        while not started.exists():
            await asyncio.sleep(0.005)
        {then}
        await task

    if __name__ == "__main__":
        asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@contextlib.contextmanager
def worker_program(directory: Path, then: str = "pass") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A program whose pool runs a task that never ends, and the process that runs it."""
    started = directory / "started"
    file = program(directory, HANGING.format(then=then))
    with subprocess.Popen([sys.executable, file, started, directory / "holder"]) as process:
        try:
            yield process, eventually(lambda: pid_in(started))
        finally:
            process.kill()


@linux
def test_a_child_ends_at_once_when_its_worker_is_killed(tmp_path):
    """In the middle of a task, though nobody was left to tell it."""
    with worker_program(tmp_path) as (worker, child):
        worker.kill()
        eventually(lambda: not runs(child), timeout=5)


@linux
def test_a_child_ends_though_a_fork_of_its_worker_lives_on(tmp_path):
    """The fork still holds the worker's end of the pipe, so the child hears no end of it."""
    fork = "if (pid := os.fork()): holder.write_text(f'{pid}\\n')\n        else: threading.Event().wait()"
    with worker_program(tmp_path, then=fork) as (worker, child):
        holder = eventually(lambda: pid_in(tmp_path / "holder"))
        try:
            worker.kill()
            eventually(lambda: not runs(child), timeout=5)
            assert runs(holder)
        finally:
            os.kill(holder, signal.SIGKILL)


@linux
def test_a_child_ends_when_its_worker_hangs_up(tmp_path):
    """The end of the pipe alone is enough, where the system does not kill the children of the dead."""
    ours, theirs = socket.socketpair()
    started = tmp_path / "started"
    with theirs, subprocess.Popen(child_command(theirs.fileno()), pass_fds=[theirs.fileno()]) as child:
        theirs.close()
        arguments = tasks.hanging.arguments.encode((started,), {})
        ours.sendall(frame(Setup([])) + frame(Start(call_of(tasks.hanging), origin_of(tasks.hanging), arguments)))
        assert eventually(lambda: pid_in(started)) == child.pid
        ours.close()
        assert child.wait(5) == 1
