"""Messages on a Redis or Valkey server, shared by all machines that reach it."""

from reinhardt_tasks.backends.redis.backend import RedisTaskBackend

__all__ = ["RedisTaskBackend"]
