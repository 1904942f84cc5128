"""An argument beats the environment, which beats pyproject.toml, which beats the default; errors name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reinhardt_tasks.cli.settings import (
    ProjectSettings,
    WorkerSettings,
    parse_project,
    queue_names,
    read_project,
    worker_settings,
)
from reinhardt_tasks.errors import ConfigurationError

PROJECT = """
[tool.reinhardt-tasks]
target = "app:queue"
imports = ["app.more"]
[tool.reinhardt-tasks.worker]
concurrency = 3
queues = ["mail"]
max-tasks = 100
lease = 12
log-level = "warning"
"""


def test_without_any_setting_the_defaults_hold() -> None:
    """Nothing given is the documented default."""
    assert worker_settings({}, {}, ProjectSettings()) == WorkerSettings()


def test_each_place_beats_the_next() -> None:
    """Argument, environment, pyproject.toml, default: in this order, setting by setting."""
    environment = {"REINHARDT_TASKS_CONCURRENCY": "5", "REINHARDT_TASKS_QUEUES": " a, b ,"}
    settings = worker_settings({"concurrency": 7, "lease": None}, environment, parse_project(PROJECT))
    assert (settings.concurrency, settings.queues, settings.lease) == (7, ("a", "b"), 12.0)
    assert (settings.max_tasks, settings.log_level, settings.processes) == (100, "warning", 1)


def test_an_empty_variable_says_nothing() -> None:
    """As if it were not set."""
    environment = {"REINHARDT_TASKS_CONCURRENCY": "", "REINHARDT_TASKS_QUEUES": " "}
    assert worker_settings({}, environment, ProjectSettings()) == WorkerSettings()


def test_the_level_of_the_environment_may_be_in_capitals() -> None:
    """As loggers write it."""
    assert worker_settings({}, {"REINHARDT_TASKS_LOG_LEVEL": "DEBUG"}, ProjectSettings()).log_level == "debug"


def test_target_and_imports_are_read() -> None:
    """The table's other keys."""
    project = parse_project(PROJECT)
    assert (project.target, project.imports) == ("app:queue", ("app.more",))


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'", "tool = 3", "[tool.other]\nreinhardt-tasks = 1"])
def test_a_project_without_the_table_has_no_settings(text: str) -> None:
    """Whatever else is in the file."""
    assert parse_project(text) == ProjectSettings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x =", r"pyproject.toml is not valid TOML"),
        ("[tool.reinhardt-tasks]\ntarge = 'x'", r"no setting `targe`; there are: imports, target, worker"),
        ("[tool.reinhardt-tasks]\ntarget = 3", r"\[tool.reinhardt-tasks\]: target: expected `str \| null`, got `int`"),
        ("[tool.reinhardt-tasks.worker]\nmax_tasks = 3", r"no setting `max_tasks`; there are: .*max-tasks"),
        ("[tool.reinhardt-tasks.worker]\nconcurrency = 0", r"\.worker\]: concurrency: give a number of 1 or more"),
        ("[tool.reinhardt-tasks.worker]\nqueues = [1]", r"queues\[0\]: expected `str`"),
    ],
)
def test_a_wrong_file_names_table_and_key(text: str, complaint: str) -> None:
    """What is wrong can be found without guessing."""
    with pytest.raises(ConfigurationError, match=complaint):
        parse_project(text)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("CONCURRENCY", "many", "REINHARDT_TASKS_CONCURRENCY=many: concurrency: expected `int`"),
        ("CONCURRENCY", "0", "REINHARDT_TASKS_CONCURRENCY=0: concurrency: give a number of 1 or more"),
        ("LOG_LEVEL", "loud", "log-level: invalid enum value 'loud'; one of: debug, info"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, complaint: str) -> None:
    """Also when an argument would have overridden it: a wrong setting is wrong."""
    with pytest.raises(ConfigurationError, match=complaint):
        worker_settings({"concurrency": 2}, {f"REINHARDT_TASKS_{variable}": value}, ProjectSettings())


def test_a_wrong_argument_is_blamed_on_the_command_line() -> None:
    """Not on a file."""
    with pytest.raises(ConfigurationError, match="the command line: lease: give a number above 0"):
        worker_settings({"lease": 0.0}, {}, ProjectSettings())


def test_the_file_of_the_directory_is_read(tmp_path: Path) -> None:
    """None is no error; one that is no text is."""
    assert read_project(tmp_path) == ProjectSettings()
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT)
    assert read_project(tmp_path).target == "app:queue"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml cannot be read"):
        read_project(tmp_path)


def test_names_are_separated_by_commas() -> None:
    """Blanks and empty names do not count."""
    assert queue_names(" a,b , ,c") == ("a", "b", "c")
