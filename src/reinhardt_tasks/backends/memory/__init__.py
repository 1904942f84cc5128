"""Messages in the memory of one process: the reference of the contract, to be read first."""

from reinhardt_tasks.backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
