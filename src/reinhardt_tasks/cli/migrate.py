"""`migrate`: creates the tables of a backend that has some, or brings them up to this version."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Protocol, runtime_checkable

import typer

from reinhardt_tasks.cli.options import Url
from reinhardt_tasks.cli.place import Place, find_place
from reinhardt_tasks.cli.screen import print_error, print_text
from reinhardt_tasks.cli.worker_options import Target


@runtime_checkable
class Migrates(Protocol):
    """A backend whose tables have versions. Both verbs work without open."""

    async def migrate(self) -> tuple[int, int]:
        """Bring the tables up to this version; the versions before (0: no tables) and after."""
        ...

    async def migration(self) -> str:
        """The SQL that `migrate` would run; empty where there is nothing to do."""
        ...


def migrate(
    *,
    target: Target = None,
    url: Url = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
) -> None:
    """Create the tables, or bring them up to this version, in one transaction.

    Not needed where the application may do it: the first process that opens the database does so by itself.
    """
    place = find_place(target, url)
    backend = place.connect()
    if not isinstance(backend, Migrates):
        print_text(f"{place.url}: there is nothing to migrate; what is needed there is made when it is opened")
    elif sql:
        _print_sql(place, asyncio.run(backend.migration()))
    else:
        _tell(place, *asyncio.run(backend.migrate()))


def _print_sql(place: Place, script: str) -> None:
    """The SQL is the result; that there is none is a remark."""
    if script:
        sys.stdout.write(script)
    else:
        print_error(f"{place.url}: the tables are of this version; there is nothing to run")


def _tell(place: Place, before: int, after: int) -> None:
    if before == after:
        print_text(f"{place.url}: the tables are of version {after} already")
    elif before == 0:
        print_text(f"{place.url}: the tables are there now, of version {after}")
    else:
        print_text(f"{place.url}: the tables are of version {after} now; they were of version {before}")
