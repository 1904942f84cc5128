"""The options that several commands share, written once."""

from __future__ import annotations

from typing import Annotated

import typer

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
