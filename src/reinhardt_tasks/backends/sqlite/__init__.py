"""Messages in one SQLite file, shared by the processes of one machine: the embedded default."""

from reinhardt_tasks.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
