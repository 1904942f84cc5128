"""The reader of an instance: answers questions from a snapshot, while the writer goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import apsw

from reinhardt_tasks.backends.sqlite.connection import open_reader
from reinhardt_tasks.backends.sqlite.faults import translated
from reinhardt_tasks.backends.sqlite.lane import Answer, Job
from reinhardt_tasks.backends.sqlite.place import FileIdentity


class Reader:
    """Does jobs that only read, each with a snapshot of its own."""

    _file: FileIdentity

    def __init__(self, path: str) -> None:
        self.connection: apsw.Connection | None = None
        self._path = path

    def work(self, jobs: Sequence[Job]) -> list[Answer]:
        """See Crew.work. Connects at the first job, and again after an error."""
        return [self._answer(job) for job in jobs]

    def close(self) -> None:
        """See Crew.close."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()

    def _answer(self, job: Job) -> Answer:
        try:
            connection = self._connected()
            with snapshot(connection):
                return Answer(job.future, job.work(connection))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            if isinstance(error, apsw.Error):
                self.close()
            return Answer(job.future, error=translated(error, self._path))

    def _connected(self) -> apsw.Connection:
        """A connection to the file that is there now."""
        if self.connection is not None and self._file.has_changed():
            self.close()
        if self.connection is None:
            self.connection = open_reader(self._path)
            self._file = FileIdentity(self._path)
        return self.connection


@contextlib.contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """One state of the database for all that is read inside."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
