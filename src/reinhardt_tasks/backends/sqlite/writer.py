"""The one writer of a process's instance: all that is asked for at one time is committed together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import apsw

from reinhardt_tasks.backends.sqlite import bell
from reinhardt_tasks.backends.sqlite.checkpoint import Checkpoints
from reinhardt_tasks.backends.sqlite.connection import Settings, busy_milliseconds, open_writer
from reinhardt_tasks.backends.sqlite.faults import translated
from reinhardt_tasks.backends.sqlite.lane import Answer, Job
from reinhardt_tasks.backends.sqlite.place import FileIdentity
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.errors import BackendFullError, BackendUnavailableError

R = TypeVar("R")
_USELESS: Final = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)
"""After these a connection is not used again."""
_QUICK: Final = 0.000_3
"""Seconds a commit may take on average to be made in an event loop's own thread: not much more than the way there."""


class Writer:
    """Does jobs that write: several in one transaction, each in a savepoint of its own.

    An error of one job undoes that job alone. Where the transaction as a whole fails (a full disk), each job is tried
    again in a transaction of its own, so that a put that finds no room does not keep an outcome from being stored.
    """

    def __init__(self, settings: Settings) -> None:
        self.connection: apsw.Connection | None = None
        self._settings = settings
        self._path = settings.path
        self._rung: Callable[[], None] = _nobody

    def work(self, jobs: Sequence[Job]) -> list[Answer]:
        """See Crew.work. Connects at the first job, and again after an error that leaves a connection useless."""
        try:
            self._be_connected()
            answers = self._together(jobs) if len(jobs) > 1 else None
            answers = answers or [self._alone(job) for job in jobs]
        except BaseException as error:  # noqa: BLE001 - the callers get it
            return [Answer(job.future, error=self._translated(error)) for job in jobs]
        self._checkpoints.after_commit()
        return answers

    def at_once(self, work: Callable[[Store], R]) -> tuple[R] | None:
        """The answer of one small job, done in the caller's thread; None, with nothing done, where that may take long.

        That is: not connected yet, another writer at work, the log to be copied, or commits that were slow lately.
        Raises what `do` would raise.
        """
        if self.connection is None or self._store.commit_seconds > _QUICK or self._checkpoints.due:
            return None
        self._look_at_file()
        try:
            if not self._store.begin_at_once():
                return None
            answer = work(self._store)
            self._store.commit()
        except apsw.Error:  # the thread meets it again, and knows what to do
            self._store.rollback()
            return None
        except BaseException as error:  # noqa: BLE001 - raised below, as ours
            self._store.rollback()
            raise self._translated(error)  # noqa: B904 - it carries its cause, or is this error itself
        self._ring()
        return (answer,)

    def close(self) -> None:
        """See Crew.close."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()

    def _be_connected(self) -> None:
        if self.connection is None:
            path, durability, clock, patience = self._settings
            self.connection = open_writer(path, durability, patience)
            self._store = Store(self.connection, clock, patience=patience)
            self._checkpoints = Checkpoints(self.connection, busy_timeout=busy_milliseconds(patience))
            self._file = FileIdentity(path)
        self._look_at_file()

    def _together(self, jobs: Sequence[Job]) -> list[Answer] | None:
        """All jobs in one transaction; None, with nothing done, when that failed. Raises when there can be none."""
        self._store.begin()
        try:
            answers = [self._guarded(job) for job in jobs]
            self._store.commit()
        except BaseException:  # noqa: BLE001 - each job meets its own error when it is tried alone
            self._store.rollback()
            return None
        self._ring()
        return answers

    def _guarded(self, job: Job) -> Answer:
        try:
            with self._store.savepoint():
                return Answer(job.future, job.work(self._store))
        except BaseException as error:
            if not self._store.connection.in_transaction:  # SQLite has undone everything
                raise
            return Answer(job.future, error=self._translated(error))

    def _alone(self, job: Job) -> Answer:
        try:
            try:
                value = self._in_transaction(job)
            except apsw.FullError:
                self._checkpoints.make_room()
                value = self._in_transaction(job)
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            return Answer(job.future, error=self._translated(error))
        self._ring()
        return Answer(job.future, value)

    def _in_transaction(self, job: Job) -> object:
        self._store.begin()
        try:
            value = job.work(self._store)
            self._store.commit()
        except BaseException:
            self._store.rollback()
            raise
        return value

    def tell(self, rung: Callable[[], None]) -> None:
        """Call `rung` after each commit that others wait for; for those in this process who hear no bell."""
        self._rung = rung

    def _ring(self) -> None:
        if self._store.rings:
            bell.ring(self._path)
        if self._store.ends:
            bell.ring(bell.log_of(self._path))
        if self._store.rings or self._store.ends:
            self._rung()

    def _look_at_file(self) -> None:
        """Raise when the file has been removed or replaced: what is written to the old one, nobody else will see."""
        if self._file.has_changed():
            self.close()
            raise BackendUnavailableError(
                f"{self._path} was removed or replaced while it was in use; what is there now is used from here on. "
                "What was stored before is in the old file, if that still exists.",
                backend="sqlite",
                place=self._path,
            )

    def _translated(self, error: BaseException) -> BaseException:
        system_errno = 0 if self.connection is None else self.connection.system_errno
        fault = translated(error, self._path, system_errno=system_errno)
        if isinstance(error, _USELESS) and not isinstance(fault, BackendFullError):
            self.close()
        return fault


def _nobody() -> None:
    """Nobody in this process has to be told."""
