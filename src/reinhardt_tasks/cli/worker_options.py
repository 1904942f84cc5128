"""The options of `worker`, each with its help; what is not given comes from the environment or pyproject.toml."""

from __future__ import annotations

from typing import Annotated

import typer

Target = Annotated[str | None, typer.Argument(metavar="TARGET", help="The queue, as module:queue.", show_default=False)]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", "-c", min=1, metavar="N", help="Messages run at a time, per process (4).")
]
Queues = Annotated[str | None, typer.Option("--queues", "-q", metavar="A,B", help="Serve these, in this order (all).")]
Processes = Annotated[
    int | None,
    typer.Option("--processes", "-p", min=1, metavar="N", help="Worker processes; dead ones are replaced (1)."),
]
Reload = Annotated[bool | None, typer.Option("--reload", help="Start anew when the code changes.")]
NoReload = Annotated[bool, typer.Option("--no-reload", hidden=True, help="Whatever pyproject.toml says.")]
Name = Annotated[str | None, typer.Option(help="Shown in listings (worker).")]
Lease = Annotated[float | None, typer.Option(metavar="SECONDS", help="Silent for so long, it is given up (30).")]
ShutdownTimeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="What running tasks get to end after a stop (25).")
]
Grace = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="What a task told to end gets before the worker ends (5).")
]
PollInterval = Annotated[float | None, typer.Option(metavar="SECONDS", help="Look so often without being woken (1).")]
Prefetch = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Messages held beyond those that run (by speed).")
]
MaxTasks = Annotated[int | None, typer.Option(min=1, metavar="N", help="Start anew after so many messages.")]
MaxMemory = Annotated[int | None, typer.Option(min=1, metavar="MIB", help="Start anew above so much memory.")]
MaxTasksPerChild = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="The same for each process of the process pool.")
]
UntilIdle = Annotated[bool | None, typer.Option("--until-idle", help="End when there is nothing to do.")]
NoUntilIdle = Annotated[bool, typer.Option("--no-until-idle", hidden=True, help="Whatever pyproject.toml says.")]
Schedules = Annotated[bool | None, typer.Option("--scheduler", hidden=True, help="Whatever pyproject.toml says.")]
NoSchedules = Annotated[bool, typer.Option("--no-scheduler", help="Fire no schedules; leave that to others.")]
UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="End when standard input closes, for programs that start workers.")
]
Level = Annotated[
    str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical (info).")
]
