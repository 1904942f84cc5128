"""An application with a task that is due every second, for tests with real scheduler processes."""

from __future__ import annotations

from reinhardt_tasks import CronSchedule, TaskQueue

queue = TaskQueue()


@queue.schedule(CronSchedule("* * * * * *"), missed="all", max_missed=1000)
@queue.task(name="tick")
async def tick() -> None:
    """Nothing to do: its messages are what is looked at."""


@queue.task(name="chime")
async def chime(number: int = 0) -> int:
    """For schedules that are added at run time."""
    return number
