"""The program `reinhardt-tasks`: its commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.main import get_command

from reinhardt_tasks.cli import operating, reading, schedules_operating, schedules_reading, workflow_reading
from reinhardt_tasks.cli.check import check
from reinhardt_tasks.cli.demo_command import demo
from reinhardt_tasks.cli.enqueue import enqueue
from reinhardt_tasks.cli.failures import FAILED, INTERRUPTED, exit_code, sentence
from reinhardt_tasks.cli.migrate import migrate
from reinhardt_tasks.cli.scheduler_command import scheduler
from reinhardt_tasks.cli.screen import print_error, print_text
from reinhardt_tasks.cli.watch import watch
from reinhardt_tasks.cli.worker_command import worker

NAME = "reinhardt-tasks"
_COMMANDS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "Work": {"worker": worker, "scheduler": scheduler, "enqueue": enqueue, "demo": demo},
    "Look": {
        "status": reading.status,
        "list": reading.list_messages,
        "show": reading.show,
        "counts": reading.counts,
        "workers": reading.workers,
        "watch": watch,
        "check": check,
    },
    "Act": {
        "cancel": operating.cancel,
        "requeue": operating.requeue,
        "purge": operating.purge,
        "pause": operating.pause,
        "resume": operating.resume,
        "drain": operating.drain,
        "migrate": migrate,
    },
}
"""Commands by name, in groups, in the order of the help page."""

_SCHEDULE_COMMANDS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "Look": {
        "list": schedules_reading.list_schedules,
        "show": schedules_reading.show,
        "next": schedules_reading.next_firings,
    },
    "Act": {
        "add": schedules_operating.add,
        "pause": schedules_operating.pause,
        "resume": schedules_operating.resume,
        "remove": schedules_operating.remove,
        "run-now": schedules_operating.run_now,
    },
}
"""The commands of `schedules`."""

_WORKFLOW_COMMANDS: Mapping[str, Mapping[str, Callable[..., None]]] = {"Look": {"show": workflow_reading.show}}
"""The commands of `workflow`."""

app = typer.Typer(
    name=NAME,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
schedules = typer.Typer(rich_markup_mode="markdown")
workflow = typer.Typer(rich_markup_mode="markdown")


def _enter(place: typer.Typer, groups: Mapping[str, Mapping[str, Callable[..., None]]]) -> None:
    for group, commands in groups.items():
        for name, command in commands.items():
            # A negative number among the arguments of a call is no option.
            loose = {"ignore_unknown_options": True} if name in {"enqueue", "add"} else None
            place.command(name, rich_help_panel=group, context_settings=loose)(command)


_enter(app, _COMMANDS)
_enter(schedules, _SCHEDULE_COMMANDS)
_enter(workflow, _WORKFLOW_COMMANDS)
app.add_typer(
    schedules, name="schedules", rich_help_panel="Act", help="Look at schedules, add and change them, try them out."
)
app.add_typer(workflow, name="workflow", rich_help_panel="Look", help="Look at chains, groups and graphs.")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        print_text(f"{NAME} {version(NAME)}")
        raise typer.Exit


@app.callback()
def program(
    *,
    shown: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Run and look after background tasks.

    Where commands look: --url, --target, REINHARDT_TASKS_TARGET, REINHARDT_TASKS_URL, or target in pyproject.toml.
    """


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code. An error is told in one sentence, and nothing is raised."""
    try:
        done = get_command(app)(list(arguments) or ["--help"], prog_name=NAME, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what is still in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost door: nobody should see a traceback
        print_error(f"error: {sentence(error)}")
        return exit_code(error)
    return done if isinstance(done, int) else 0
