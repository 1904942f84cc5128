"""Messages, results and metadata on a Redis or Valkey server, shared by all machines that reach it."""

from reinhardt_tasks.backends.redis.backend import RedisTaskBackend
from reinhardt_tasks.backends.redis.metadata import RedisMetadataStore
from reinhardt_tasks.backends.redis.results import RedisResultBackend

__all__ = ["RedisMetadataStore", "RedisResultBackend", "RedisTaskBackend"]
