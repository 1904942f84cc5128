"""Messages inside the caller's own transaction: on whichever kind of connection it runs, in words any driver knows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from reinhardt_tasks.backends.postgres import puts
from reinhardt_tasks.backends.postgres.statements import Names
from reinhardt_tasks.errors import UnsupportedError
from reinhardt_tasks.message import AnyMessage, Guard

_KINDS: Final = (
    "a connection of psycopg, a Connection, Session, AsyncConnection or AsyncSession of SQLAlchemy, or Django's "
    "connection within transaction.atomic()"
)


class Step:
    """A `put` as one statement whose values are all texts, for drivers that know nothing of our types."""

    def __init__(self, names: Names, messages: Sequence[AnyMessage], guard: Guard | None, *, wake: bool) -> None:
        columns = puts.columns(messages)
        scalars = [None if value is None else str(value) for value in puts.scalars(guard, wake=wake)]
        self._types = [kind.sql for kind, _ in columns] + list(puts.SCALARS)
        self._names = names
        self.values = [*(kind.literal(values) for kind, values in columns), *scalars]

    def sql(self, places: Sequence[str]) -> str:
        """The statement with these places for its values. It answers a text for `known`."""
        values = ", ".join(
            f"CAST(CAST({place} AS text) AS {kind})" for place, kind in zip(places, self._types, strict=True)
        )
        return (
            "SELECT string_agg(coalesce(encode(k.id, 'hex'), ''), ',' ORDER BY k.at) "  # noqa: S608 - names of ours
            f"FROM unnest({self._names.tables}put({values})) WITH ORDINALITY AS k (id, at)"
        )

    def positional(self) -> str:
        """The statement for drivers that write a place as %s."""
        return self.sql(["%s"] * len(self.values))

    def named(self) -> tuple[str, dict[str, str | None]]:
        """The statement for SQLAlchemy, and its values by name."""
        names = [f"v{number}" for number in range(len(self.values))]
        return self.sql([f":{name}" for name in names]), dict(zip(names, self.values, strict=True))


def known(answer: str | None) -> list[bytes | None] | None:
    """The answer of the function `put`, from that of a `Step`."""
    return None if answer is None else [bytes.fromhex(id) if id else None for id in answer.split(",")]


async def run(connection: Any, step: Step) -> str | None:
    """The answer to `step` on the caller's connection. A connection that blocks does so in a thread.

    Raises UnsupportedError for what is no connection to PostgreSQL, and what the driver raises.
    """
    if _is_a(connection, "psycopg", "AsyncConnection"):
        async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
            await cursor.execute(step.positional().encode(), step.values)
            row = await cursor.fetchone()
            return None if row is None else row[0]
    if _is_a(connection, "psycopg", "Connection"):
        return await asyncio.to_thread(_on_psycopg, connection, step)
    if _is_a(connection, "sqlalchemy.ext.asyncio", "AsyncConnection", "AsyncSession"):
        return _scalar(await connection.execute(*_for_sqlalchemy(step)))
    if _is_a(connection, "sqlalchemy.engine", "Connection") or _is_a(connection, "sqlalchemy.orm", "Session"):
        return await asyncio.to_thread(lambda: _scalar(connection.execute(*_for_sqlalchemy(step))))
    if _is_a(connection, "django.db.backends.base.base", "BaseDatabaseWrapper"):
        return await asyncio.to_thread(_on_django, connection, step)
    raise UnsupportedError(option=f"connection={type(connection).__name__}", backend="postgres", instead=_KINDS)


def _is_a(connection: object, module: str, *names: str) -> bool:
    """Whether it is an instance of one of these classes; if their module was never imported, it is none."""
    known = sys.modules.get(module)
    return known is not None and isinstance(connection, tuple(getattr(known, name) for name in names))


def _on_psycopg(connection: psycopg.Connection[Any], step: Step) -> str | None:
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        row = cursor.execute(step.positional().encode(), step.values).fetchone()
        return None if row is None else row[0]


def _for_sqlalchemy(step: Step) -> tuple[Any, dict[str, str | None]]:
    sql, values = step.named()
    return sys.modules["sqlalchemy"].text(sql), values


def _scalar(result: Any) -> str | None:
    answer: str | None = result.scalar()
    return answer


def _on_django(wrapper: Any, step: Step) -> str | None:
    """On the driver's connection below Django's, which only the thread that made it may use; it is waiting for us."""
    raw = wrapper.connection
    if wrapper.vendor != "postgresql" or raw is None:
        raise UnsupportedError(
            option=f"connection= of Django to {wrapper.vendor}"
            if raw is not None
            else "connection= outside a transaction",
            backend="postgres",
            instead="it within transaction.atomic(), for a PostgreSQL database",
        )
    with raw.cursor() as cursor:
        cursor.execute(step.positional(), step.values)
        answer: str | None = cursor.fetchone()[0]
        return answer


def cause(error: BaseException) -> BaseException:
    """The driver's error below one of SQLAlchemy's."""
    return getattr(error, "orig", None) or error
