"""The commands that change schedules: add, pause, resume, remove, run-now."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from reinhardt_tasks.cli.enqueue import find_task, keywords_in, parsed_json, seconds_in
from reinhardt_tasks.cli.failures import FAILED, InputError
from reinhardt_tasks.cli.options import Json, Target, Url
from reinhardt_tasks.cli.place import needed_target, refuse_inside
from reinhardt_tasks.cli.schedules_reading import Name, in_its_zone, schedules_at
from reinhardt_tasks.cli.screen import print_error, print_json, print_text
from reinhardt_tasks.cli.settings import read_project
from reinhardt_tasks.cli.target import find_queue
from reinhardt_tasks.cli.text import beginning
from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.options import EnqueueOptions
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.schedule import IntervalSchedule, OnceSchedule, Schedule
from reinhardt_tasks.scheduler import ScheduleInfo, Scheduler
from reinhardt_tasks.scheduler.scheduler import PolicyOptions


def add(
    *,
    name: Name,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or its end.", show_default=False)],
    rest: Annotated[
        list[str] | None, typer.Argument(metavar="ARG", help="Arguments, each as JSON.", show_default=False)
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Due by a cron expression, as '0 9 * * MON-FRI'.")
    ] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="Due every 30, 90s, 5m, 2h, 1d.")] = None,
    at: Annotated[str | None, typer.Option(metavar="MOMENT", help="Due once, as at 2026-03-01T09:00+01:00.")] = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Of the expression, and of moments without one.")
    ] = "UTC",
    keywords: Annotated[
        str, typer.Option("--kwargs", metavar="JSON", help="Arguments by name, as a JSON object.")
    ] = "{}",
    priority: Annotated[int | None, typer.Option("--priority", "-p", min=0, max=9, help="9 is served first.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Another queue than the task's own.")] = None,
    missed: Annotated[str, typer.Option(help="What nobody fired in time: skip, once, all.")] = "once",
    max_missed: Annotated[int, typer.Option(metavar="N", help="With --missed all: the latest N.")] = 100,
    overlap: Annotated[str, typer.Option(help="While the last one is unfinished: allow, skip.")] = "allow",
    jitter: Annotated[str | None, typer.Option(metavar="TIME", help="Start up to so much later, at random.")] = None,
    start: Annotated[str | None, typer.Option(metavar="MOMENT", help="Not due before.")] = None,
    end: Annotated[str | None, typer.Option(metavar="MOMENT", help="Not due after.")] = None,
    target: Target = None,
) -> None:
    """Store a schedule: TASK is enqueued with these arguments whenever it is due."""
    zone = _zone(timezone)
    when = _when(cron, every, at, zone)
    policy: dict[str, Any] = {"missed": missed, "max_missed": max_missed, "overlap": overlap}
    if jitter is not None:
        policy["jitter"] = seconds_in(jitter, "--jitter")
    policy |= {"start": _instant(start, "--start", zone), "end": _instant(end, "--end", zone)}
    call = [parsed_json(text, f"argument {number}") for number, text in enumerate(rest or [], 1)]
    named = keywords_in(keywords)
    project = read_project(Path.cwd())
    app = find_queue(needed_target(target, project), imports=project.imports).queue
    refuse_inside(app.url)
    message = find_task(app, task).using(**_options(priority, queue)).message(*call, **named)
    info = asyncio.run(_add(app, name, when, message, PolicyOptions(**policy)))  # type: ignore[typeddict-item]
    print_text(_said(info))


async def _add(app: TaskQueue, name: str, when: Schedule, message: Any, policy: PolicyOptions) -> ScheduleInfo:
    async with app:
        scheduler = Scheduler(app)
        await scheduler.add(name, when, message, **policy)
        return await scheduler.get(name)


def _said(info: ScheduleInfo) -> str:
    """`report: At 09:00 on Monday (UTC); next 2026-03-02 09:00:00 UTC`."""
    due = "paused" if info.paused else "over" if info.next_at is None else f"next {in_its_zone(info, info.next_at)}"
    return f"{info.name}: {info.text}; {due}"


def _options(priority: int | None, queue: str | None) -> EnqueueOptions:
    options = EnqueueOptions()
    if priority is not None:
        options["priority"] = priority
    if queue is not None:
        options["queue"] = queue
    return options


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(CronSchedule("@daily", name).timezone)  # which refuses what is no zone


def _when(cron: str | None, every: str | None, at: str | None, zone: ZoneInfo) -> Schedule:
    """The one schedule that was given. Raises InputError when it is not one, ScheduleError for what is none."""
    if sum(given is not None for given in (cron, every, at)) != 1:
        raise InputError("when is it due? Give one of --cron, --every and --at")
    if cron is not None:
        return CronSchedule(cron, zone.key)
    if every is not None:
        return IntervalSchedule(seconds_in(every, "--every"))
    moment = _instant(at, "--at", zone)
    assert moment is not None  # noqa: S101 - one of the three was given
    return OnceSchedule(moment)


def _instant(text: str | None, what: str, zone: ZoneInfo) -> datetime | None:
    """The moment in an ISO 8601 text, in `zone` where it names none. Raises InputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{what} takes a moment such as 2026-03-01T09:00+01:00, not {beginning(text)}") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def pause(*, name: Name, target: Target = None, url: Url = None) -> None:
    """Fire a schedule no more, until it is resumed."""

    async def work(scheduler: Scheduler) -> None:
        await scheduler.pause(name)

    schedules_at(target, url, work)
    print_text(f"schedule {name} is paused; resume it by: reinhardt-tasks schedules resume {name}")


def resume(*, name: Name, target: Target = None, url: Url = None) -> None:
    """Fire a paused schedule again; what was due meanwhile is left out."""

    async def work(scheduler: Scheduler) -> ScheduleInfo:
        await scheduler.resume(name)
        return await scheduler.get(name)

    print_text(_said(schedules_at(target, url, work)))


def remove(*, name: Name, target: Target = None, url: Url = None) -> None:
    """Forget a schedule; what it has enqueued stays."""

    async def work(scheduler: Scheduler) -> tuple[ScheduleInfo, bool]:
        return await scheduler.get(name), await scheduler.remove(name)

    info, removed = schedules_at(target, url, work)
    if not removed:
        print_error(f"schedule {name} was removed by somebody else in this moment")
        raise typer.Exit(FAILED)
    print_text(f"schedule {name} is removed")
    if info.origin == "code":
        print_error("it is defined in code, and workers and schedulers that have it store it again; pausing it lasts")


def run_now(*, name: Name, target: Target = None, url: Url = None, json: Json = False) -> None:
    """Enqueue a schedule's message once, now, and print its id; its times stay as they are."""
    handle = schedules_at(target, url, lambda scheduler: scheduler.run_now(name))
    if json:
        print_json({"id": str(handle.id), "created": handle.created})
        return
    print_text(str(handle.id))
    if not handle.created:
        print_error("nothing was stored: this message of the schedule is unfinished, and overlap is skip")
