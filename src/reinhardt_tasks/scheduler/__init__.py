"""Firing what is due: `Scheduler`, alone or inside each worker; any number of them, and each firing happens once."""

from reinhardt_tasks.scheduler.scheduler import Scheduler
from reinhardt_tasks.scheduler.view import ScheduleInfo

__all__ = ["ScheduleInfo", "Scheduler"]
