"""Messages, results and metadata in tables of a PostgreSQL database, beside the application's own."""

from reinhardt_tasks.backends.postgres.backend import PostgresBackend
from reinhardt_tasks.backends.postgres.metadata import PostgresMetadataStore
from reinhardt_tasks.backends.postgres.results import PostgresResultBackend

__all__ = ["PostgresBackend", "PostgresMetadataStore", "PostgresResultBackend"]
