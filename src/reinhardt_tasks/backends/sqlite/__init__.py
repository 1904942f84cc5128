"""Messages, results and metadata in SQLite files, shared by the processes of one machine: the embedded default."""

from reinhardt_tasks.backends.sqlite.backend import SqliteBackend
from reinhardt_tasks.backends.sqlite.metadata import SqliteMetadataStore
from reinhardt_tasks.backends.sqlite.results import SqliteResultBackend

__all__ = ["SqliteBackend", "SqliteMetadataStore", "SqliteResultBackend"]
