"""The supervisor: workers that die are replaced, signals reach each of them once, and none outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from reinhardt_tasks.worker.lifeline import LIFELINE_VARIABLE, Lifeline, follow_supervisor
from reinhardt_tasks.worker.supervisor import Supervisor, worker_command
from tests.eventually import eventually, eventually_async
from tests.integration.supervision import supervision
from tests.procfs import runs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_workers_are_started_and_stopped_together(tmp_path, number):
    """Each knows which it is; one signal to the supervisor ends them all in order, and the exit code says so."""
    with supervision(tmp_path, "--count", "3") as seen:
        workers = seen.started(3)
        assert sorted(worker.index for worker in workers) == [0, 1, 2]
        assert len({worker.pid for worker in workers}) == 3
        seen.process.send_signal(number)
        assert seen.ended() == 0
        assert {event.pid for event in seen.events("stop")} == {worker.pid for worker in workers}
        assert not any(runs(worker.pid) for worker in workers)


def test_ctrl_c_reaches_each_worker_once(tmp_path):
    """The terminal sends it to the whole foreground group; a worker that saw two signals would leave at once."""
    with supervision(tmp_path) as seen:
        workers = seen.started(2)
        os.killpg(seen.process.pid, signal.SIGINT)
        assert seen.ended() == 0
        assert {event.pid for event in seen.events("stop")} == {worker.pid for worker in workers}
        assert seen.events("interrupted") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGUSR2])
def test_a_worker_that_dies_is_replaced(tmp_path, number):
    """Killed, recycled (exit code 3) or crashed (1): another takes its index, and its neighbour does not notice."""
    with supervision(tmp_path) as seen:
        first, second = sorted(seen.started(2), key=lambda worker: worker.index)
        os.kill(second.pid, number)
        third = seen.next_start(1, second)
        os.kill(third.pid, number)
        fourth = seen.next_start(1, third)
        assert len({second.pid, third.pid, fourth.pid}) == 3
        assert runs(first.pid)
        seen.process.terminate()
        assert seen.ended() == 0
        assert {event.pid for event in seen.events("stop")} == {first.pid, fourth.pid}


def test_a_worker_that_left_on_purpose_is_not_replaced(tmp_path):
    """Exit code 0, as after an order to drain; when all have left, so does the supervisor."""
    with supervision(tmp_path) as seen:
        for worker in seen.started(2):
            os.kill(worker.pid, signal.SIGHUP)
        assert seen.ended() == 0
        assert len(seen.events("start")) == 2
        assert "not restarted: it left on its own account" in seen.log()


def test_a_worker_with_wrong_input_is_not_started_again_and_again(tmp_path):
    """Exit code 2 stays what it is, and the supervisor passes it on."""
    with supervision(tmp_path) as seen:
        for worker in seen.started(2):
            os.kill(worker.pid, signal.SIGQUIT)
        assert seen.ended() == 2
        assert len(seen.events("start")) == 2


def test_a_worker_that_does_not_stop_is_killed(tmp_path):
    """After the time it was given; the exit code tells that not all went well."""
    (tmp_path / "stubborn").touch()
    with supervision(tmp_path, "--timeout", "0.2") as seen:
        workers = seen.started(2)
        seen.process.terminate()
        assert seen.ended() == 1
        assert {event.pid for event in seen.events("told")} == {worker.pid for worker in workers}
        assert seen.log().count("worker_process_killed") == 2
        assert not any(runs(worker.pid) for worker in workers)


def test_the_second_signal_kills_at_once(tmp_path):
    """Whoever sends it does not want to wait for the time that workers have."""
    (tmp_path / "stubborn").touch()
    with supervision(tmp_path, "--timeout", "600") as seen:
        workers = seen.started(2)
        seen.process.terminate()
        eventually(lambda: len(seen.events("told")) == 2)
        seen.process.terminate()
        assert seen.ended() == 1
        assert not any(runs(worker.pid) for worker in workers)


def test_workers_end_when_the_supervisor_is_killed(tmp_path):
    """Nobody is left to tell them, and nobody would stop or replace them any more."""
    with supervision(tmp_path) as seen:
        workers = seen.started(2)
        seen.process.kill()
        eventually(lambda: len(seen.events("exit 50")) == 2)
        eventually(lambda: not any(runs(worker.pid) for worker in workers))


def test_a_supervisor_can_be_stopped_while_it_waits(tmp_path):
    """Workers that end as soon as they are started are started again with pauses, in which a signal is heard."""
    with supervision(tmp_path, "--program", sys.executable, "-c", "raise SystemExit(1)") as seen:
        eventually(lambda: seen.log().count("worker_process_ended") >= 4)
        seen.process.terminate()
        assert seen.ended() == 0


def test_a_command_that_cannot_be_started_is_tried_again(tmp_path):
    """The system may be out of processes for a moment; the log says what is wrong."""
    with supervision(tmp_path, "--count", "1", "--program", tmp_path / "missing") as seen:
        eventually(lambda: seen.log().count("worker_process_not_started") >= 2)
        assert "No such file or directory" in seen.log()
        seen.process.terminate()
        assert seen.ended() == 0


def test_each_event_is_one_line_in_the_log(tmp_path):
    """Who was started, how it ended, and what comes next."""
    with supervision(tmp_path, "--count", "1") as seen:
        (worker,) = seen.started(1)
        os.kill(worker.pid, signal.SIGKILL)
        other = seen.next_start(0, worker)
        seen.process.terminate()
        seen.ended()
        assert seen.log().splitlines() == [
            f"supervisor_started pid={seen.process.pid} workers=1",
            f"worker_process_started index=0 pid={worker.pid}",
            "worker_process_ended index=0 how='was killed by SIGKILL' next='restarted after a while'",
            f"worker_process_started index=0 pid={other.pid}",
            "supervisor_stops signal=SIGTERM",
            "supervisor_ended exit=0",
        ]


async def test_a_worker_follows_its_supervisor_and_nobody_else_does(monkeypatch):
    """What the worker starts inherits neither the pipe nor the word of it; the end is told once."""
    lifeline = Lifeline()
    ours = os.dup(lifeline.descriptor)
    os.set_inheritable(ours, True)
    monkeypatch.setenv(LIFELINE_VARIABLE, str(ours))
    told: list[str] = []
    assert follow_supervisor(lambda: told.append("gone"))
    assert LIFELINE_VARIABLE not in os.environ
    assert not os.get_inheritable(ours)
    await asyncio.sleep(0)
    assert told == []
    lifeline.close()
    await eventually_async(lambda: told)
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == ["gone"]
    os.close(ours)


async def test_a_worker_without_a_supervisor_follows_none(monkeypatch):
    """As when it is started by hand."""
    monkeypatch.delenv(LIFELINE_VARIABLE, raising=False)
    assert not follow_supervisor(lambda: None)


def test_the_command_of_a_worker_is_this_python_s():
    """The same interpreter, and the command line as a module, so that it is found wherever the script is."""
    command = worker_command(["app:queue", "--concurrency", "8"])(1)
    assert command[0] == sys.executable
    assert command[-6:] == ["-m", "reinhardt_tasks", "worker", "app:queue", "--concurrency", "8"]


@pytest.mark.parametrize("count", [0, -1])
def test_a_supervisor_watches_one_worker_at_least(count):
    """None would be a supervisor that ends before it began."""
    with pytest.raises(ValueError, match="one worker at least"):
        Supervisor(worker_command(["app:queue"]), count)
