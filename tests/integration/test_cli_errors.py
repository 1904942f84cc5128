"""Settings come from where they should, and what is wrong is said in one sentence."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.shell import PROGRAM, URL, Shell


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands on an application with an empty queue."""
    return Shell(tmp_path, monkeypatch, capsys)


def test_target_comes_from_the_environment_or_the_project(cli: Shell) -> None:
    """So that it need not be typed."""
    project = cli.directory / "pyproject.toml"
    project.write_text('[tool.reinhardt-tasks]\ntarget = "app:queue"\n')
    first = cli("enqueue", "secret", '"x"')
    assert first.code == 0, first.err
    project.unlink()
    one = first.out.strip()
    assert cli.outside("status", one, REINHARDT_TASKS_TARGET="app").out == "pending\n"
    assert cli.outside("status", one, REINHARDT_TASKS_URL="sqlite:///tasks.db").out == "pending\n"


INSIDE = """
from reinhardt_tasks import TaskQueue
queue = TaskQueue("memory://")
@queue.task
def noop() -> None: ...
"""
UNKNOWN = "01a20f4d-77e9-7978-8259-ceb865b7e6d3"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["list", "--limit", "0", *URL], 2, "Invalid value for '--limit'"),
        (["list"], 2, "where? Give --url or --target"),
        (["worker"], 2, "which queue? Give TARGET as module:queue"),
        (["worker", "nowhere:queue"], 2, "there is no module 'nowhere'"),
        (["worker", "app:nothing"], 2, "has no 'nothing'; the queue there: app:queue"),
        (["worker", "app:area"], 2, "app:area is an AsyncTask, not a TaskQueue"),
        (["worker", "app:queue", "--lease", "0.01"], 2, "lease"),
        (["status", "12", *URL], 2, "'12' is no task id"),
        (["status", UNKNOWN, *URL], 1, f"holds no message {UNKNOWN}"),
        (["enqueue", "app:queue", "secrets"], 2, "there is no task secrets; did you mean: app.secret?"),
        (["enqueue", "app:queue", "secret"], 2, "text"),
        (["enqueue", "app:queue", "secret", "1"], 2, "text"),
        (["enqueue", "app:queue", "secret", '"a"', '"b"'], 2, "app.secret"),
        (["enqueue", "app:queue", "secret", "hello"], 2, "argument 1 is not JSON: hello"),
        (["enqueue", "app:queue", "secret", "-1"], 2, "text"),
        (["enqueue", "app:queue", "secret", '"a"', "--kwargs", "[]"], 2, "--kwargs takes a JSON object"),
        (["enqueue", "app:queue", "secret", '"a"', "--delay", "soon"], 2, "--delay takes a time"),
        (["enqueue", "app:queue", "secret", '"a"', "--queue", "a b"], 2, "no name for a queue"),
        (["enqueue", "app:queue", "secret", '"\\ud800"'], 2, "Unicode"),
        (["enqueue", "app:queue", "secret", '"a"', "--dely", "5"], 2, "if it is meant as an option, there is none"),
        (["enqueue", "app:queue", "secret", '"a"', "--timeout", "5"], 2, "it goes with --wait"),
        (["enqueue", "sqlite:///tasks.db", "secret"], 2, "TARGET is a URL here"),
        (["enqueue", "app:queue"], 2, "which task?"),
        (["worker", "app:queue", "--queues", ",,"], 2, "queues: ',,' names none"),
        (["worker", "app:queue", "--lease", "nan"], 2, "lease: give a number above 0"),
        (["pause", "a/b", *URL], 2, "'a/b' is no name for a queue"),
        (["resume", "", *URL], 2, "'' is no name for a queue"),
        (["purge", "\x1b[2J", "--yes", *URL], 2, "no name for a queue"),
        (["list", "--queue", "a b", *URL], 2, "no name for a queue"),
        (["watch", "--once", "--every", "inf", *URL], 2, "--every"),
        (["drain", "x" * 5_000, *URL], 2, "xxx… is registered"),
        (["counts", "--url", "sqlite://user:hunter2@host/tasks.db"], 2, "names a host where SQLite has none"),
        (["enqueue", "inside:queue", "noop"], 2, "messages at memory:// live inside one program"),
        (["requeue", *URL], 2, "give either the ids of messages or --all-failed"),
        (["counts", "--url", "nonsense://user:hunter2@host"], 2, "sqlite"),
        (["counts", "--url", "amqp://user:hunter2@host"], 2, "sqlite"),
        (["counts", "--url", "redis://user:hunter2@127.0.0.1:1"], 1, "cannot be reached"),
        (["counts", "--url", "tasks.db"], 2, "sqlite"),
        (["counts", "--url", "memory://"], 2, "memory"),
        (["counts", "--url", "sqlite:///missing/tasks.db"], 1, "missing"),
        (["counts", "--url", "sqlite:///app.py"], 1, "app.py"),
        (["counts", "--url", "sqlite:///other.db"], 1, "other.db"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_sentence_and_a_code(cli: Shell, arguments: list[str], code: int, said: str) -> None:
    """Never a traceback, nothing on standard output, no password, and no file left behind by a mistyped name."""
    cli.enqueue_many(1)
    (cli.directory / "inside.py").write_text(INSIDE)
    before = files(cli.directory)
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert len(ended.err) < 600
    assert "hunter2" not in ended.err
    assert files(cli.directory) == before


def files(directory: Path) -> set[str]:
    """The names of the files there."""
    return {file.name for file in directory.iterdir()} - {"__pycache__"}


def test_a_wrong_setting_is_told_before_anything_starts(cli: Shell) -> None:
    """In the file or the environment; also where several processes would each say so."""
    (cli.directory / "pyproject.toml").write_text("[tool.reinhardt-tasks.worker]\nconcurency = 3\n")
    ended = cli.outside("worker", "app:queue", "-p", "2")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "there is no setting `concurency`" in ended.err
    (cli.directory / "pyproject.toml").unlink()
    ended = cli.outside("worker", "app:nothing", "-p", "2")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    ended = cli.outside("worker", "app:queue", REINHARDT_TASKS_CONCURRENCY="many")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_a_directory_that_was_removed_is_told(cli: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell may stand in one; the system's own words would not say what does not exist."""
    gone = cli.directory / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ended = cli("list")
    assert (ended.code, ended.err) == (
        1,
        "error: the current directory does not exist any more; change to one that does.\n",
    )


def test_a_password_is_shown_nowhere(cli: Shell) -> None:
    """Neither by what works nor by what does not."""
    url = "sqlite:///tasks.db?password=hunter2"
    for arguments in (["check"], ["counts"], ["watch", "--once"]):
        ended = cli(*arguments, "--url", url)
        assert "hunter2" not in ended.out + ended.err


@pytest.mark.parametrize("command", ["counts", "list", "watch --json", "--version", "--help"])
def test_a_reader_that_has_gone_away_is_no_error(cli: Shell, command: str) -> None:
    """As in `list | head`: the program ends quietly."""
    cli.enqueue_many(60)
    reader, writer = os.pipe()
    os.close(reader)
    place = URL if command[0] != "-" else ()
    with cli.started(*command.split(), *place, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")


def test_the_program_tells_its_version_and_its_commands(cli: Shell) -> None:
    """Also as a module, and without arguments."""
    assert cli("--version").out.startswith("reinhardt-tasks ")
    shown = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    for command in ("worker", "enqueue", "watch", "purge", "demo"):
        assert command in shown
    bare = cli()
    assert (bare.code, bare.err) == (0, "")
    assert "Run and look after background tasks." in bare.out
