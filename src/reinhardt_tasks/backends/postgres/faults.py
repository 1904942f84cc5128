"""What PostgreSQL's errors mean to a caller: each becomes one of the package's errors, with the place and a remedy."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Final

import psycopg

from reinhardt_tasks.backends.postgres.layout import STATUSES
from reinhardt_tasks.backends.postgres.place import Place
from reinhardt_tasks.backends.postgres.statements import Names, quoted
from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    ConfigurationError,
    DuplicateTaskError,
    InvalidTextError,
    PayloadTooLargeError,
    QueueError,
    SerializationError,
    TransitionError,
)
from reinhardt_tasks.status import TaskStatus

NAME: Final = "postgres"
AGAIN: Final = frozenset({"40001", "40P01"})
"""Two transactions were in each other's way; the one that failed left nothing, and may be repeated."""
_AWAY: Final = ("08", "57P", "XX")
_DATA_ERRORS: Final = (UnicodeError, struct.error, OverflowError, psycopg.DataError)


def is_data_error(error: BaseException) -> bool:
    """Whether a value cannot be stored; the next value may be fine."""
    return isinstance(error, _DATA_ERRORS) or getattr(error, "sqlstate", None) == "54000"


def is_known(error: BaseException | None) -> bool:
    """Whether something was to be stored as new that is known already."""
    return getattr(error, "sqlstate", None) == "23505"


def ends_connection(error: BaseException) -> bool:
    """Whether the connection is of no more use: it is broken, or leads to a server that does not write."""
    state = getattr(error, "sqlstate", None) or ""
    return state == "25006" or (isinstance(error, psycopg.OperationalError) and (not state or state.startswith(_AWAY)))


def translated(error: BaseException, place: Place, names: Names | None = None) -> BaseException:
    """What to raise instead of `error`; itself where it says enough. What replaces it has it as its cause."""
    fault = _ours(error, place, names)
    if fault is not None:
        fault.__cause__ = error
    return fault or error


def _ours(error: BaseException, place: Place, names: Names | None) -> Exception | None:
    if isinstance(error, UnicodeError):
        return InvalidTextError(f"a text to be stored is not valid Unicode: {error}")
    if isinstance(error, (OverflowError, struct.error)):
        return SerializationError(f"a number to be stored is too large: {error}")
    if isinstance(error, psycopg.Error):
        return _from_server(error, error.sqlstate or "", place, names)
    return None


def _from_server(error: psycopg.Error, state: str, place: Place, names: Names | None) -> Exception:
    if state.startswith("RT"):
        return _refusal(state, json.loads(error.diag.message_detail or "[]"))
    for states, make in _MEANINGS:
        if state.startswith(states):
            return make(error, place, names)
    if isinstance(error, psycopg.OperationalError):
        return unavailable(place, _in_a_line(error))
    return BackendError(f"PostgreSQL refused a step on {place}: {error}", backend=NAME, place=str(place))


def _in_a_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())


_Make = Callable[[psycopg.Error, Place, Names | None], Exception]
_MEANINGS: Final[tuple[tuple[tuple[str, ...], _Make], ...]] = (
    (
        ("53100", "53200", "53400"),
        lambda error, place, _: BackendFullError(
            f"{place} has no room: {error}. Make room on its disk; nothing stored is lost.",
            backend=NAME,
            place=str(place),
        ),
    ),
    (
        ("42501",),
        lambda error, place, names: BackendError(
            f"{place}: {error}. {grants(place, names)}", backend=NAME, place=str(place)
        ),
    ),
    (
        ("42P01", "42883", "3F000"),
        lambda error, place, _: BackendError(
            f"{place} lacks something that is needed: {error}. Were tables dropped? Open it once more to create them.",
            backend=NAME,
            place=str(place),
        ),
    ),
    (("22",), lambda error, _, __: InvalidTextError(f"the database refuses a value: {error}")),
    (("54000",), lambda error, _, __: PayloadTooLargeError(f"a value is larger than PostgreSQL stores: {error}")),
    (
        ("55P03",),
        lambda _, place, __: unavailable(
            place,
            "another session keeps a row locked for too long. Find the transaction that stays open, and end it",
        ),
    ),
    (
        ("25006",),
        lambda _, place, __: unavailable(
            place, "the server only reads: it is a standby, or its default is read-only. Is a failover under way?"
        ),
    ),
    (("57014", "40"), lambda error, place, _: unavailable(place, _in_a_line(error))),
)


def unavailable(place: Place, why: str) -> BackendUnavailableError:
    """The database at `place` cannot be reached, or did not answer."""
    return BackendUnavailableError(f"{place}: {why}", backend=NAME, place=str(place))


def _refusal(state: str, facts: list[object]) -> Exception:
    if state == "RT001":
        task_id, parent, queue = facts
        return QueueError(
            f"message {task_id} waits for {parent}, which is not stored here; put the parent first, or earlier in the "
            "same call",
            queue=str(queue),
        )
    if state == "RT004":
        return DuplicateTaskError(existing_id=str(facts[0]), unique_key=str(facts[1]))
    status = _status(facts[1])
    why = f"is {status}; only what failed or was cancelled can be requeued"
    if state == "RT003":
        why = f"waits for {facts[2]}, which is {_status(facts[3])}; requeue that one"
    return TransitionError(
        f"message {facts[0]} {why}",
        task_id=str(facts[0]),
        from_status=status.value,
        to_status=TaskStatus.PENDING.value,
    )


def _status(code: object) -> TaskStatus:
    return STATUSES[int(str(code))]


# At open --------------------------------------------------------------------------------------------------------------


def at_connect(error: Exception, place: Place) -> Exception:
    """What it means that no connection came about. The server's texts are known in English; any other is shown."""
    told = " ".join(str(error).split())
    fault: Exception
    if "authentication failed" in told or "no password supplied" in told or "pg_hba.conf" in told:
        fault = ConfigurationError(
            f"{place} does not let this user in: {told}. Check user and password.", setting="url"
        )
    elif "database" in told and "does not exist" in told:
        name = quoted(str(place.parameters().get("dbname", "")))
        fault = ConfigurationError(f"{place} is missing: {told}. Create it: CREATE DATABASE {name};", setting="url")
    elif "role" in told and "does not exist" in told:
        fault = ConfigurationError(f"{place} does not know this user: {told}. Correct the user name.", setting="url")
    else:
        fault = unavailable(place, told or "no connection could be made in time")
    return fault


def grants(place: Place, names: Names | None) -> str:
    """What an owner of the database runs so that the user of `place` may create and use the tables."""
    user = quoted(str(place.parameters().get("user", "…")))
    schema = quoted("public" if names is None else names.schema)
    return (
        f"Let an administrator run: GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}; GRANT SELECT, INSERT, UPDATE, "
        f"DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}; GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA "
        f"{schema} TO {user};"
    )
