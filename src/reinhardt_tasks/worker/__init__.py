"""Running tasks: `Worker` and its settings, `WorkerConfig`."""

from reinhardt_tasks.worker.config import WorkerConfig
from reinhardt_tasks.worker.shift import ExitCode
from reinhardt_tasks.worker.worker import Worker

__all__ = ["ExitCode", "Worker", "WorkerConfig"]
