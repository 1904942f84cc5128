"""Operators can stop, go on, throw away and watch, from outside."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import apsw
import pytest

from reinhardt_tasks import TaskGroup, TaskQueue, TaskStatus
from tests.eventually import eventually
from tests.integration.shell import URL, Ended, Shell
from tests.procfs import runs


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands on an application with an empty queue."""
    return Shell(tmp_path, monkeypatch, capsys)


def test_a_paused_queue_gives_out_nothing(cli: Shell) -> None:
    """Until it is resumed."""
    one = cli.enqueue("secret", '"x"')
    assert "is paused" in cli("pause", "default", *URL).out
    cli.work()
    assert cli("status", one, *URL).out == "pending\n"
    assert cli("counts", *URL, "--json").document["queues"][0]["paused"] is True
    assert cli("resume", "default", *URL).out == "queue default is open\n"
    cli.work()
    assert cli("status", one, *URL).out == "success\n"


def test_waiting_messages_are_cancelled_at_once(cli: Shell) -> None:
    """What has ended, or is unknown, is told apart, and the exit code says that not all were cancelled."""
    done = cli.enqueue("secret", '"x"')
    cli.work()
    waiting = cli.enqueue("secret", '"y"')
    unknown = waiting[:-4] + ("0000" if waiting[-4:] != "0000" else "1111")
    ended = cli("cancel", waiting, done, unknown, *URL)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        f"{waiting} is cancelled",
        f"{done} has ended already: success",
        f"{unknown} is not known here",
    ]
    assert cli("cancel", waiting, *URL).code == 0


def test_the_id_of_a_workflow_cancels_all_of_it(cli: Shell) -> None:
    """Its first step as well, which waits for nothing; that of a step cancels it and what depends on it."""
    queue = TaskQueue(URL[1])

    @queue.task
    async def add(number) -> int:
        return 1

    whole, part = (
        queue.enqueue_sync(TaskGroup([add.message(1), add.message(2)], add.step(), name="sums")) for _ in range(2)
    )
    assert cli("cancel", str(whole.id), *URL).out == f"{whole.id} is cancelled\n"
    assert {node.status for node in whole.tree_sync().nodes.values()} == {TaskStatus.CANCELLED}
    first = next(iter(part.tree_sync().nodes))
    assert cli("cancel", str(first), *URL).out == f"{first} is cancelled\n"
    statuses = [node.status for node in part.tree_sync().nodes.values()]
    assert sorted(statuses) == [TaskStatus.CANCELLED, TaskStatus.CANCELLED, TaskStatus.PENDING]


def test_the_id_of_a_workflow_requeues_all_of_it(cli: Shell) -> None:
    """After a cancel it goes on from where it was, in one call; a second one finds nothing to put back."""
    queue = TaskQueue("sqlite:///tasks.db")

    @queue.task(name="app.send")
    async def send(text: str) -> str:
        return text

    whole = queue.enqueue_sync(TaskGroup([send.message("a"), send.message("b")]))
    cli("cancel", str(whole.id), *URL)
    assert cli("requeue", str(whole.id), *URL).out == f"{whole.id} is back in line\n"
    assert {node.status for node in whole.tree_sync().nodes.values()} == {TaskStatus.PENDING}
    assert whole.requeue_sync() == 0


def test_a_running_message_is_cancelled_and_its_worker_drained(cli: Shell) -> None:
    """Seen from outside while it runs: the worker, what it holds, and both orders obeyed."""
    one = cli.enqueue("wait", '"never"')
    with (
        cli.started("worker", "app:queue", "--name", "only", "--lease", "3", stderr=subprocess.DEVNULL) as worker,
        cli.started("watch", "--every", "0.1", *URL, stdout=subprocess.PIPE) as watch,
    ):
        assert watch.stdout is not None
        line = next(line for line in watch.stdout if " worker=" in line and "holds=1" in line)
        (found,) = cli("workers", *URL, "--json").document["workers"]
        assert (found["name"], found["pid"], found["claims"]) == ("only", worker.pid, 1)
        assert found["id"] in line
        assert found["id"] in cli("workers", *URL).out
        assert cli("cancel", one, *URL).out == f"{one} is running; its worker is told to end it\n"
        next(line for line in watch.stdout if "cancelled=1" in line)
        assert cli("status", one, *URL).out == "cancelled\n"
        told = cli("drain", found["id"].rpartition(":")[0], *URL)
        assert (told.code, told.out) == (0, f"worker {found['id']} is told to finish what it holds and stop\n")
        assert worker.wait(30) == 0
        watch.send_signal(signal.SIGINT)
        assert watch.wait(30) == 0
    assert cli("workers", *URL) == Ended(1, "", "no worker is registered\n")
    assert cli("drain", "x:1", *URL).code == 2


def test_purging_needs_a_yes(cli: Shell) -> None:
    """Where nobody can be asked, nothing is deleted without --yes; running messages never are."""
    cli.enqueue_many(2)
    refused = cli("purge", "default", *URL)
    assert refused.code == 2
    assert "this would delete 2 messages (pending, retry) of queue default" in refused.err
    assert cli("purge", "default", "--status", "running", "--yes", *URL).code == 2
    assert cli("purge", "default", "--status", "failure", "--yes", *URL).out == "0 messages deleted from default\n"
    assert cli("purge", "default", "--yes", *URL).out == "2 messages deleted from default\n"
    assert cli("counts", *URL) == Ended(0, "", "there are no messages\n")


def test_check_says_what_it_found(cli: Shell) -> None:
    """The versions, the durability, and whether all is well."""
    cli.enqueue("secret", '"x"')
    document = cli("check", "--target", "app:queue", "--json").document
    assert document["facts"]["backend"] == "sqlite"
    assert document["facts"]["tasks"] == "4"
    assert document["ok"] is (document["warnings"] == [])
    ended = cli("check", *URL, "--strict")
    assert ended.code == (0 if document["ok"] else 1)
    assert "reinhardt-tasks" in ended.out


def test_watch_goes_on_when_the_backend_fails_for_a_while(cli: Shell) -> None:
    """It says what is wrong, and goes on once that is mended; --once ends with exit code 1."""
    cli.enqueue_many(1)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with cli.started("watch", "--every", "0.1", *URL, **pipes) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert "pending=1" in watch.stdout.readline()
        tables = apsw.Connection("tasks.db")
        tables.execute("ALTER TABLE messages RENAME TO elsewhere")
        assert "messages" in watch.stderr.readline()
        assert cli("watch", "--once", *URL).code == 1
        tables.execute("ALTER TABLE elsewhere RENAME TO messages")
        cli.enqueue_many(1)
        next(line for line in watch.stdout if "pending=2" in line)
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert watch.returncode == 0


# At a terminal ------------------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal: what a program shows there, and keys for it."""

    def __init__(self) -> None:
        self._controller, self.end = pty.openpty()
        self.seen = ""

    def read_until(self, text: str) -> None:
        """Read what is shown, up to `text`."""
        while text not in self.seen:
            ready, _, _ = select.select([self._controller], [], [], 30)
            assert ready, f"{text!r} never came: {self.seen!r}"
            self.seen += os.read(self._controller, 65_536).decode()

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._controller, keys.encode())

    def close(self) -> None:
        """Take the terminal away."""
        os.close(self._controller)
        os.close(self.end)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """A terminal of 120 columns."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "30")
    made = Terminal()
    yield made
    made.close()


def test_watch_at_a_terminal_ends_with_q(cli: Shell, terminal: Terminal) -> None:
    """It takes the whole screen, shows the queues, and gives the screen back."""
    cli.enqueue("secret", '"x"')
    end = terminal.end
    with cli.started("watch", "--every", "0.1", *URL, stdin=end, stdout=end, stderr=end) as process:
        terminal.read_until("No worker is registered")
        assert "\x1b[?1049h" in terminal.seen
        assert "default" in terminal.seen
        terminal.type("q")
        terminal.read_until("\x1b[?1049l")
        assert process.wait(30) == 0


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 2), ("y\n", 0, 0)])
def test_purging_asks_at_a_terminal(cli: Shell, terminal: Terminal, answer: str, code: int, left: int) -> None:
    """With the number of messages it is about."""
    cli.enqueue_many(2)
    end = terminal.end
    with cli.started("purge", "default", *URL, stdin=end, stdout=end, stderr=end) as process:
        terminal.read_until("Delete 2 messages (pending, retry) of queue default?")
        terminal.type(answer)
        assert process.wait(30) == code
    assert len(cli("list", *URL, "--json").document["messages"]) == left


# Several processes --------------------------------------------------------------------------------------------------


def test_several_processes_end_when_standard_input_does(cli: Shell) -> None:
    """They share the work, and a program that started them lets them go by closing a pipe."""
    ids = [cli.enqueue("wait", '"go"') for _ in range(2)]
    options = ["--processes", "2", "--concurrency", "1", "--prefetch", "0", "--until-eof"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        cli.started("worker", "app:queue", *options, **pipes) as workers,
        cli.started("watch", "--every", "0.1", "--json", *URL, stdout=subprocess.PIPE) as watch,
    ):
        assert watch.stdout is not None
        frames = (json.loads(line) for line in watch.stdout)
        both = next(frame for frame in frames if [worker["claims"] for worker in frame["workers"]] == [1, 1])
        assert {worker["name"] for worker in both["workers"]} == {"worker-0", "worker-1"}
        (cli.directory / "go").touch()
        next(frame for frame in frames if frame["queues"][0]["success"] == 2)
        _, said = workers.communicate("")
        assert workers.returncode == 0, said
    assert [cli("status", one, *URL).out for one in ids] == ["success\n"] * 2
    assert said.count("4 tasks: ") == 1


def test_a_worker_that_reloads_runs_the_code_as_it_is_now(cli: Shell) -> None:
    """A file is changed, and the next message is run by the new code."""
    with cli.started("worker", "app:queue", "--reload", stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        next(line for line in worker.stderr if "4 tasks: " in line)
        app = cli.directory / "app.py"
        app.write_text(app.read_text() + "@queue.task\ndef another() -> int:\n    return 41 + 1\n")
        next(line for line in worker.stderr if "5 tasks: app.another" in line)
        answer = cli.outside("enqueue", "app:queue", "another", "--wait", "--timeout", "30")
        worker.terminate()
        worker.communicate(timeout=30)
    assert (answer.out, worker.returncode) == ("42\n", 0)


def test_workers_do_not_outlive_their_supervisor(cli: Shell) -> None:
    """Not even when it is killed, so that nothing goes on unwatched."""
    cli.enqueue_many(1)
    with (
        cli.started("worker", "app:queue", "--processes", "2", stderr=subprocess.DEVNULL) as supervisor,
        cli.started("watch", "--every", "0.1", "--json", *URL, stdout=subprocess.PIPE) as watch,
    ):
        assert watch.stdout is not None
        frames = (json.loads(line) for line in watch.stdout)
        workers = next(frame["workers"] for frame in frames if len(frame["workers"]) == 2)
        supervisor.kill()
        next(frame for frame in frames if not frame["workers"])
    eventually(lambda: not any(runs(worker["pid"]) for worker in workers))
