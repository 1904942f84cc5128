"""`worker`: runs the tasks of TARGET's queue, in this process or in several that are watched over."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import typer

from reinhardt_tasks.cli import worker_options as options
from reinhardt_tasks.cli.logs import set_up_logging
from reinhardt_tasks.cli.place import is_inside, needed_target
from reinhardt_tasks.cli.screen import print_error
from reinhardt_tasks.cli.settings import WorkerSettings, queue_names, read_project, worker_settings
from reinhardt_tasks.cli.target import Found, find_queue
from reinhardt_tasks.cli.text import count
from reinhardt_tasks.worker import Worker, WorkerConfig
from reinhardt_tasks.worker.lifeline import INDEX_VARIABLE
from reinhardt_tasks.worker.reload import SourceWatch
from reinhardt_tasks.worker.supervisor import Supervisor, worker_command

_SHOWN = 12
"""Names of tasks or schedules that the greeting tells."""
_CONFIG_FIELDS = frozenset(WorkerConfig.__dataclass_fields__) & frozenset(WorkerSettings.__struct_fields__)


def worker(
    *,
    target: options.Target = None,
    concurrency: options.Concurrency = None,
    queues: options.Queues = None,
    processes: options.Processes = None,
    reload: options.Reload = None,
    no_reload: options.NoReload = False,
    name: options.Name = None,
    lease: options.Lease = None,
    shutdown_timeout: options.ShutdownTimeout = None,
    grace: options.Grace = None,
    poll_interval: options.PollInterval = None,
    prefetch: options.Prefetch = None,
    max_tasks: options.MaxTasks = None,
    max_memory: options.MaxMemory = None,
    max_tasks_per_child: options.MaxTasksPerChild = None,
    until_idle: options.UntilIdle = None,
    no_until_idle: options.NoUntilIdle = False,
    scheduler: options.Schedules = None,
    no_scheduler: options.NoSchedules = False,
    until_eof: options.UntilEof = False,
    log_level: options.Level = None,
) -> None:
    """Run the tasks of a queue until SIGTERM or Ctrl-C; a second one leaves at once.

    What is not given comes from REINHARDT_TASKS_CONCURRENCY, _QUEUES and _LOG_LEVEL, then from the table
    tool.reinhardt-tasks.worker in pyproject.toml, where the options have the same names.
    """
    given: dict[str, object] = {
        "concurrency": concurrency,
        "queues": None if queues is None else queue_names(queues),
        "processes": processes,
        "reload": False if no_reload else reload,
        "name": name,
        "lease": lease,
        "shutdown-timeout": shutdown_timeout,
        "grace": grace,
        "poll-interval": poll_interval,
        "prefetch": prefetch,
        "max-tasks": max_tasks,
        "max-memory": max_memory,
        "max-tasks-per-child": max_tasks_per_child,
        "until-idle": False if no_until_idle else until_idle,
        "scheduler": False if no_scheduler else scheduler,
        "log-level": log_level,
    }
    raise typer.Exit(_work(target, given, until_eof=until_eof))


def _work(argument: str | None, given: dict[str, object], *, until_eof: bool) -> int:
    """Work, in this process or others; the exit code."""
    project = read_project(Path.cwd())
    settings = worker_settings(given, os.environ, project)
    target = needed_target(argument, project)
    set_up_logging(settings.log_level)
    if until_eof:
        threading.Thread(target=_stop_at_eof, name="until-eof", daemon=True).start()
    if settings.processes == 1 and not settings.reload:
        return _work_here(find_queue(target, imports=project.imports), settings)
    if not settings.reload:  # what is wrong is told once; with --reload it may be repaired meanwhile
        find_queue(target, imports=project.imports)
    return _supervise(target, settings)


def _stop_at_eof() -> None:
    """Stop this process gracefully when standard input closes."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _work_here(found: Found, settings: WorkerSettings) -> int:
    index = os.environ.get(INDEX_VARIABLE)
    fields = {field: getattr(settings, field) for field in _CONFIG_FIELDS - {"processes"}}
    name = settings.name if index is None else f"{settings.name}-{index}"
    made = Worker(found.queue, WorkerConfig(**(fields | {"name": name})), target=found.target)
    if index in {None, "0"}:
        for line in greeting(found, settings):
            print_error(line)
    made.run_sync(until_idle=settings.until_idle)
    return int(made.exit_code)


def _few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    return ", ".join(names[:_SHOWN]) + more


def greeting(found: Found, settings: WorkerSettings) -> list[str]:
    """What a worker is about to do, as lines."""
    tasks = sorted(found.queue.tasks)
    none = "no tasks: the module that defines them is not imported; name it in `imports` under [tool.reinhardt-tasks]"
    served = ", ".join(settings.queues) or "all"
    lines = [
        f"reinhardt-tasks {version('reinhardt-tasks')}: worker for {found.target} at {found.queue.url}",
        f"  {count(len(tasks), 'task')}: {_few(tasks)}" if tasks else f"  {none}",
        f"  queues: {served}; {settings.concurrency} at a time; lease {settings.lease:g} s",
    ]
    if found.queue.schedules and settings.scheduler and not settings.until_idle:
        lines.insert(2, f"  {count(len(found.queue.schedules), 'schedule')}: {_few(sorted(found.queue.schedules))}")
    if is_inside(found.queue.url):
        lines.append("  messages there live inside one program: this worker sees only what its own tasks enqueue")
    return lines


# Several processes ----------------------------------------------------------------------------------------------------


def _supervise(target: str, settings: WorkerSettings) -> int:
    supervisor = Supervisor(
        worker_command([target, *arguments_for_one(settings)]),
        settings.processes,
        shutdown_timeout=settings.shutdown_timeout + settings.grace,
        sources=SourceWatch([Path.cwd()]) if settings.reload else None,
    )
    return supervisor.run_sync()


def arguments_for_one(settings: WorkerSettings) -> list[str]:
    """The options that make one worker process work by `settings`, whatever else it is told."""
    one = msgspec.to_builtins(msgspec.structs.replace(settings, processes=1, reload=False))
    arguments: list[str] = []
    for name, value in one.items():
        if isinstance(value, bool):
            arguments.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list | tuple):
            arguments.append(f"--{name}={','.join(value)}")
        elif value is not None:
            arguments.append(f"--{name}={value}")
    return arguments
