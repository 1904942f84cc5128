"""The tables: whether they are there and of this version, and how they are made. A killed migration leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

from reinhardt_tasks.backends.postgres import faults
from reinhardt_tasks.backends.postgres.line import Row, connect
from reinhardt_tasks.backends.postgres.place import Place
from reinhardt_tasks.backends.postgres.statements import Names, functions, migrations, quoted, words
from reinhardt_tasks.errors import ConfigurationError, SchemaError

OLDEST: Final = 130000
"""The oldest server that will do."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS {T}migrations "
    "(version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
_TURN: Final = "SELECT pg_advisory_xact_lock({LOCK})"
_APPLIED: Final = "INSERT INTO {T}migrations (version) VALUES ({VERSION})"
# Not by to_regclass, which may still say no after a wait for the lock under which another made the table.
_KNOWN: Final = (
    "SELECT count(*) > 0 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = $2"
)
_UNLOGGED: Final = (
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relpersistence = 'u' ORDER BY c.relname"
)
_LASTING: Final = ("messages", "ended", "edges", "fallen", "uniques", "paused", "schedules", "results", "metadata")
_NEWEST: Final = "SELECT coalesce(max(version), 0) FROM {T}migrations"


class Versions(NamedTuple):
    """What the tables were and are; 0: there were none."""

    before: int
    after: int


async def look_up(connection: AsyncConnection[Row], place: Place) -> Names:
    """Where the tables are or would be. Raises ConfigurationError for a server that cannot keep the promises."""
    version = connection.info.server_version
    if version < OLDEST:
        raise ConfigurationError(
            f"{place} is PostgreSQL {version // 10000}; 13 or newer is needed. Upgrade the server.", setting="url"
        )
    asked = await connection.execute(
        "SELECT current_schema(), current_setting('transaction_read_only'), pg_is_in_recovery(), "
        "current_setting('server_encoding'), current_setting('search_path')"
    )
    schema, read_only, standby, encoding, path = (await asked.fetchall())[0]
    if read_only == "on":
        why = "is a standby" if standby else "is read-only"
        raise ConfigurationError(
            f"{place} {why}: nothing can be stored there. Name the primary, or add target_session_attrs=read-write to "
            "a URL with several hosts.",
            setting="url",
        )
    if encoding != "UTF8":
        raise ConfigurationError(
            f"{place} has the encoding {encoding}, in which not every text can be stored. Use a database made with "
            "ENCODING 'UTF8'.",
            setting="url",
        )
    if schema is None:
        raise ConfigurationError(
            f"{place}: none of the schemas in search_path ({path}) exists. Create one, or correct the path.",
            setting="url",
        )
    return Names(schema, place.table_prefix)


async def prepare(connection: AsyncConnection[Row], place: Place, names: Names) -> None:
    """See that the tables are of this version; where they are older or missing, bring them up to it.

    Raises SchemaError for tables of a newer version, and for older ones where `place.migrate` is off;
    ConfigurationError for tables that a crash of the server would empty.
    """
    newest = migrations(names)[-1][0]
    found = await _version(connection, names)
    if found == newest:
        await _refuse_unlogged(connection, place, names)
        return
    if found > newest:
        raise SchemaError(place=f"{place} ({names.tables}…)", found=found, known=newest)
    if not place.migrate:
        raise SchemaError(
            f"{place} holds tables of version {found}, {newest} is needed. Run `reinhardt-tasks migrate`, or open it "
            "once with migrate=true.",
            place=str(place),
            found=found,
            known=newest,
        )
    await migrate(connection, place, names)


async def _refuse_unlogged(connection: AsyncConnection[Row], place: Place, names: Names) -> None:
    asked = await connection.execute(_UNLOGGED, (names.schema, [f"{names.prefix}{table}" for table in _LASTING]))
    unlogged = [str(name) for (name,) in await asked.fetchall()]
    if unlogged:
        cure = " ".join(f"ALTER TABLE {quoted(names.schema)}.{name} SET LOGGED;" for name in unlogged)
        raise ConfigurationError(
            f"{place}: the server empties unlogged tables after a crash, and these are: {', '.join(unlogged)}. Let "
            f"their owner run: {cure}",
            setting="url",
        )


async def _version(connection: AsyncConnection[Row], names: Names) -> int:
    known = await connection.execute(_KNOWN, (names.schema, f"{names.prefix}migrations"))
    if not (await known.fetchall())[0][0]:
        return 0
    newest = await connection.execute(_NEWEST.format_map(words(names)).encode())
    return int((await newest.fetchall())[0][0])


async def migrate(connection: AsyncConnection[Row], place: Place, names: Names) -> Versions:
    """Bring the tables up to this version, in one transaction; who comes meanwhile waits and finds it done.

    Raises SchemaError for tables of a newer version, ConfigurationError where the user may not change them.
    """
    newest = migrations(names)[-1][0]
    try:
        async with connection.transaction():
            await connection.execute(_TURN.format_map(words(names)).encode())
            found = await _version(connection, names)
            if found > newest:
                raise SchemaError(place=f"{place} ({names.tables}…)", found=found, known=newest)
            for text in script(names, above=found):
                await connection.execute(text.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        told = " ".join(str(error).split())
        raise ConfigurationError(
            f"{place}: this user may not create the tables: {told}. {faults.grants(place, names)}", setting="url"
        ) from error
    return Versions(found, newest)


def script(names: Names, *, above: int = 0) -> list[str]:
    """The statements that bring tables of version `above` up to this one, to be run in one transaction."""
    numbered = migrations(names)
    if numbered[-1][0] <= above:
        return []
    steps = [_TABLE.format_map(words(names))]
    for number, text in numbered:
        if number > above:
            steps += [text, _APPLIED.format_map({**words(names), "VERSION": number})]
    return [*steps, functions(names)]


# By hand --------------------------------------------------------------------------------------------------------------


async def migrate_now(place: Place) -> Versions:
    """`migrate`, on a connection of its own. Raises what TaskBackend.open raises."""
    async with _visit(place) as (connection, names):
        return await migrate(connection, place, names)


async def told(place: Place) -> str:
    """What `migrate_now` would run, as a script for psql; empty where the tables are of this version."""
    async with _visit(place) as (connection, names):
        newest, found = migrations(names)[-1][0], await _version(connection, names)
    if found > newest:
        raise SchemaError(place=f"{place} ({names.tables}…)", found=found, known=newest)
    steps = script(names, above=found)
    if not steps:
        return ""
    head = f"-- {names.tables}…: from version {found} to {newest}, for reinhardt-tasks. Run it with ON_ERROR_STOP=1.\n"
    turn = _TURN.format_map(words(names))
    return head + "BEGIN;\n" + "\n".join(f"{text.rstrip().rstrip(';')};\n" for text in (turn, *steps)) + "COMMIT;\n"


@contextlib.asynccontextmanager
async def _visit(place: Place) -> AsyncGenerator[tuple[AsyncConnection[Row], Names]]:
    """A connection for one look or step, and where the tables are."""
    try:
        connection = await connect(place.parameters())
    except Exception as error:
        raise faults.at_connect(error, place) from error
    try:
        yield connection, await look_up(connection, place)
    except psycopg.Error as error:
        raise faults.translated(error, place) from error
    finally:
        await connection.close()
