"""The options that several commands share, written once."""

from __future__ import annotations

from typing import Annotated

import typer

from reinhardt_tasks.names import check_queue_name


def _queue_name(name: str | None) -> str | None:
    """What was given, if a queue may be called so. Raises ConfigurationError."""
    return None if name is None else check_queue_name(name)


QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="Name of a queue.", show_default=False, callback=_queue_name)
]
QueueFilter = Annotated[
    str | None, typer.Option("--queue", "-q", help="Only messages of this queue.", callback=_queue_name)
]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only messages of this task.")]

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="MODULE:QUEUE",
        help="The application's queue; arguments and results are then shown as its tasks read them.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", "-u", metavar="URL", help="The backend itself, such as sqlite:///tasks.db; no code needed."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of messages.", show_default=False)]
