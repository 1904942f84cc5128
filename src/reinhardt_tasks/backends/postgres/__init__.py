"""Messages in tables of a PostgreSQL database, beside the application's own."""

from reinhardt_tasks.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
