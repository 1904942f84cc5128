"""Messages, results and metadata in the memory of one process: the reference of the contracts, to be read first."""

from reinhardt_tasks.backends.memory.backend import MemoryBackend
from reinhardt_tasks.backends.memory.metadata import InMemoryMetadataStore
from reinhardt_tasks.backends.memory.results import MemoryResultBackend

__all__ = ["InMemoryMetadataStore", "MemoryBackend", "MemoryResultBackend"]
