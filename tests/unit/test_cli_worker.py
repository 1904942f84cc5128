"""The worker's options survive the way from the command line to each of several processes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from reinhardt_tasks.cli.application import app
from reinhardt_tasks.cli.settings import LOG_LEVELS, ProjectSettings, WorkerSettings, queue_names, worker_settings
from reinhardt_tasks.cli.target import Found
from reinhardt_tasks.cli.worker_command import arguments_for_one, greeting
from reinhardt_tasks.queue import TaskQueue

names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
counts = st.integers(1, 1_000)
seconds = st.floats(0.5, 1e4, allow_subnormal=False)
settings = st.builds(
    WorkerSettings,
    name=names,
    concurrency=counts,
    queues=st.lists(names, max_size=3).map(tuple),
    processes=counts,
    reload=st.booleans(),
    max_tasks=st.none() | counts,
    max_memory=st.none() | counts,
    max_tasks_per_child=st.none() | counts,
    grace=seconds,
    shutdown_timeout=seconds,
    lease=seconds,
    poll_interval=seconds,
    prefetch=st.none() | st.integers(0, 300),
    until_idle=st.booleans(),
    scheduler=st.booleans(),
    log_level=st.sampled_from(LOG_LEVELS),
)


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of them, by parameter."""
    group: Any = get_command(app)
    with group.commands["worker"].make_context("worker", arguments) as context:
        return dict(context.params)


@given(settings)
def test_each_of_several_processes_gets_the_same_settings(wanted: WorkerSettings) -> None:
    """As one process without reload, also where the environment or pyproject.toml say otherwise."""
    params = parsed(["app:queue", *arguments_for_one(wanted)])
    assert params.pop("target") == "app:queue"
    assert params.pop("until_eof") is False
    params["queues"] = queue_names(params["queues"])
    for name in ("reload", "until_idle", "scheduler"):
        assert params[name] is None or not params[f"no_{name}"]
        params[name] = False if params.pop(f"no_{name}") else params[name]
    given = {name.replace("_", "-"): value for name, value in params.items()}
    other = ProjectSettings(
        worker={"processes": 3, "reload": True, "until-idle": True, "scheduler": False, "queues": ["other"]}
    )
    environment = {"REINHARDT_TASKS_CONCURRENCY": "77", "REINHARDT_TASKS_QUEUES": "elsewhere"}
    got = worker_settings(given, environment, other)
    assert got == msgspec.structs.replace(wanted, processes=1, reload=False)


@pytest.mark.parametrize(
    "arguments", [["--concurrency", "0"], ["--processes", "none"], ["--prefetch", "-1"], ["--nonsense"], ["a:b", "c:d"]]
)
def test_wrong_options_are_refused(arguments: list[str]) -> None:
    """By the command line itself, as wrong usage."""
    with pytest.raises(Exception, match=r".") as caught:
        parsed(arguments)
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]


def test_a_worker_says_what_it_found() -> None:
    """TARGET, the tasks, what it serves; a dozen names are enough."""
    queue = TaskQueue("memory://")
    for number in range(14):

        @queue.task(name=f"task{number:02}")
        def task() -> None: ...

    lines = greeting(Found(queue, "app:queue"), WorkerSettings(queues=("mail", "images"), concurrency=8))
    assert lines[0].endswith("worker for app:queue at memory://")
    assert lines[1].startswith("  14 tasks: task00, task01")
    assert lines[1].endswith("task11 and 2 more")
    assert lines[2] == "  queues: mail, images; 8 at a time; lease 30 s"
    assert lines[3] == "  messages there live inside one program: this worker sees only what its own tasks enqueue"


def test_a_worker_without_tasks_says_what_to_do() -> None:
    """It would run nothing, for ever."""
    assert "no tasks: " in greeting(Found(TaskQueue("memory://"), "app:queue"), WorkerSettings())[1]
