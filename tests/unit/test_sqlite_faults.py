"""SQLite's errors as the package tells them."""

from __future__ import annotations

import errno

import apsw
import pytest

from reinhardt_tasks.backends.sqlite.faults import translated
from reinhardt_tasks.errors import (
    BackendError,
    BackendFullError,
    BackendUnavailableError,
    InvalidTextError,
    LeaseLostError,
    NotADatabaseError,
    PayloadTooLargeError,
    SerializationError,
)

PLACE = "/no/such/place/tasks.db"


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (apsw.BusyError("database is locked"), BackendUnavailableError, "another program"),
        (apsw.FullError("full"), BackendFullError, "Free space"),
        (apsw.NotADBError("not a database"), NotADatabaseError, "left as it is"),
        (apsw.CorruptError("malformed"), BackendError, "restore a backup"),
        (apsw.ReadOnlyError("attempt to write a readonly database"), BackendError, "writable by the user"),
        (apsw.CantOpenError("unable to open"), BackendError, "writable by the user"),
        (apsw.TooBigError("string or blob too big"), PayloadTooLargeError, "larger than SQLite stores"),
        (apsw.ConstraintError("cannot store TEXT in BLOB"), SerializationError, "refuses a value"),
        (apsw.IOError("disk I/O error"), BackendUnavailableError, "sound"),
        (apsw.SQLError("no such table: x"), BackendError, "no such table"),
    ],
)
def test_each_error_of_the_database_becomes_one_of_ours(error, kind, remedy):
    """The class says what to do with it, the text names the file or the value, and what helps."""
    fault = translated(error, PLACE)
    assert type(fault) is kind
    assert remedy in str(fault)
    assert fault.__cause__ is error
    if isinstance(fault, BackendError):
        assert PLACE in str(fault)
        assert (fault.backend, fault.place) == ("sqlite", PLACE)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_an_input_output_error_for_want_of_room_is_a_full_disk(number):
    """SQLite itself calls some of them I/O errors."""
    assert type(translated(apsw.IOError("disk I/O error"), PLACE, system_errno=number)) is BackendFullError


def test_values_that_fit_no_column_are_named():
    """A lone surrogate and a number of more than 64 bits."""
    surrogate = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
    assert type(translated(surrogate, PLACE)) is InvalidTextError
    assert type(translated(OverflowError("int too big"), PLACE)) is SerializationError


@pytest.mark.parametrize("error", [LeaseLostError(task_id="x"), ValueError("no"), KeyError("no")])
def test_other_errors_stay_what_they_are(error):
    """What is already ours, or a mistake of the caller, is not dressed up."""
    assert translated(error, PLACE) is error
    assert error.__cause__ is None
