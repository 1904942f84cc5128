"""How a worker works: `WorkerConfig`, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.names import check_queue_name
from reinhardt_tasks.retry import Seconds, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """A worker's settings; durations are seconds or timedeltas. Impossible values are a ConfigurationError.

    `concurrency`: messages run at the same time. `queues`: served in this order within a priority; empty serves all.
    What holds workflows together always is served.
    `poll_interval`: how often it looks without being woken. `prefetch`: messages held beyond the free slots; None
    follows the measured speed (what is finished in 50 ms, at most 300). `lease`: how long the messages of a worker
    that shows no sign of life stay its own. `shutdown_timeout`: how long running tasks may go on after a stop.
    `grace`: how long a task that was told to end (time limit, cancel) may take before the worker drains and ends.
    `max_tasks`, `max_memory`: after this many messages, or above this many MiB resident, the worker drains and ends,
    to be started anew. `max_tasks_per_child`: the same for a process of the process pool. `scheduler`: whether it fires
    schedules as well, together with all other schedulers.
    """

    name: str = "worker"
    concurrency: int = 4
    poll_interval: Seconds = 1.0
    queues: Sequence[str] = ()
    prefetch: int | None = None
    lease: Seconds = 30.0
    shutdown_timeout: Seconds = 25.0
    grace: Seconds = 5.0
    processes: int = 1
    max_tasks: int | None = None
    max_memory: int | None = None
    max_tasks_per_child: int | None = None
    scheduler: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.queues, str):
            raise ConfigurationError(f"queues is a list of names, such as [{self.queues!r}], not a text")
        object.__setattr__(self, "queues", tuple(check_queue_name(name) for name in self.queues))
        for name, minimum in (("poll_interval", 0.01), ("lease", 0.3), ("shutdown_timeout", 0.0), ("grace", 0.0)):
            try:
                object.__setattr__(self, name, seconds(getattr(self, name), what=name, minimum=minimum))
            except ValueError as error:
                raise ConfigurationError(str(error)) from None
        self._check_counts()
        if not isinstance(self.scheduler, bool):
            raise ConfigurationError(f"scheduler is True or False, not {self.scheduler!r}")

    def _check_counts(self) -> None:
        """Every count is a whole number, at least 1 (`prefetch`: 0)."""
        counts = ("concurrency", "processes", "max_tasks", "max_memory", "max_tasks_per_child", "prefetch")
        for name in counts:
            value = getattr(self, name)
            minimum = 0 if name == "prefetch" else 1
            optional = name not in ("concurrency", "processes")
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ConfigurationError(f"{name} is a whole number, at least {minimum}, not {value!r}")
