"""The commands that look at schedules: list, show, next."""

from __future__ import annotations

import asyncio
import heapq
import json as jsonlib
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from reinhardt_tasks.cli.documents import Document
from reinhardt_tasks.cli.options import Json, Target, Url
from reinhardt_tasks.cli.place import find_place, queue_at
from reinhardt_tasks.cli.screen import print_error, print_json, print_wide
from reinhardt_tasks.cli.tables import facts_table, status_text, table
from reinhardt_tasks.cli.text import ago, cell, cut, duration, moment, shortened
from reinhardt_tasks.errors import TaskError
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.schedule import Policy, firings
from reinhardt_tasks.scheduler import ScheduleInfo, Scheduler

T = TypeVar("T")
_SHOWN = 2_000
"""The most characters of the arguments in the text form."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a schedule.", show_default=False)]


def schedules_at(target: str | None, url: str | None, work: Callable[[Scheduler], Awaitable[T]]) -> T:
    """What `work` answers, given a scheduler for the schedules of TARGET's queue or of a URL."""
    queue = queue_at(find_place(target, url))

    async def go() -> T:
        async with queue:
            return await work(Scheduler(queue))

    return asyncio.run(go())


# list -----------------------------------------------------------------------------------------------------------------


def list_schedules(*, target: Target = None, url: Url = None, json: Json = False) -> None:
    """List schedules: when they are due, how the last firing ended, when the next one comes."""
    infos = schedules_at(target, url, lambda scheduler: scheduler.list())
    if json:
        print_json({"schedules": [schedule_document(info) for info in infos]})
    elif infos:
        print_wide(_table(infos, time.time()))
        _remark_overdue(infos)
    else:
        print_error("there are no schedules")


def _table(infos: list[ScheduleInfo], now: float) -> Table:
    made = table("schedule", "due", "task", "last", "next", narrow=("due", "task"))
    for info in infos:
        made.add_row(cell(info.name), cut(info.text), cut(info.task or None), _last(info, now), _next(info, now))
    return made


def _last(info: ScheduleInfo, now: float) -> Text:
    when = cell(_ago(info.last_at, now))
    return when if info.last is None else when.append(" ").append(status_text(info.last.status))


def _next(info: ScheduleInfo, now: float) -> Text:
    if info.problem is not None:
        return Text("not here", "red")
    if info.paused:
        return Text("paused", "yellow")
    if info.overdue:
        return Text("overdue", "red")
    return cell("over" if info.next_at is None else _ago(info.next_at, now))


def _ago(at: datetime | None, now: float) -> str | None:
    return None if at is None else ago(at.timestamp(), now, exact=False)


def _remark_overdue(infos: list[ScheduleInfo]) -> None:
    late = [info.name for info in infos if info.overdue]
    if late:
        print_error(f"{', '.join(late[:5])}: overdue; it seems that no worker and no scheduler of this code runs")


def schedule_document(info: ScheduleInfo) -> Document:
    """One schedule as `list --json` and `show --json` print it."""
    last = info.last
    return {
        "name": info.name,
        "due": info.text,
        "task": info.task,
        "queue": info.queue,
        "priority": info.priority,
        "origin": info.origin,
        "paused": info.paused,
        "overdue": info.overdue,
        "last_at": _moment(info.last_at),
        "last_id": None if info.last_id is None else str(info.last_id),
        "last_status": None if last is None else last.status.value,
        "last_error": None if last is None or last.error is None else str(last.error),
        "next_at": _moment(info.next_at),
        "policy": None if info.policy is None else _policy_document(info.policy),
        "problem": info.problem,
    }


def _policy_document(policy: Policy) -> Document:
    return {
        "missed": policy.missed,
        "max_missed": policy.max_missed,
        "overlap": policy.overlap,
        "jitter": policy.jitter,
        "start": _moment(policy.start),
        "end": _moment(policy.end),
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at.timestamp())


# show -----------------------------------------------------------------------------------------------------------------


def show(*, name: Name, target: Target = None, url: Url = None, json: Json = False) -> None:
    """Show all about one schedule: its policy, its arguments, the last and the next firing."""
    info = schedules_at(target, url, lambda scheduler: scheduler.get(name))
    if json:
        print_json({**schedule_document(info), "arguments": _plain(info)})
    else:
        print_wide(facts_table({key: value for key, value in _facts(info).items() if value is not None}))


def _facts(info: ScheduleInfo) -> dict[str, object]:
    now, last = time.time(), info.last
    return {
        "schedule": info.name,
        "due": info.text,
        "from": "code" if info.origin == "code" else None,
        "state": "paused" if info.paused else "overdue: it seems that nobody fires it" if info.overdue else None,
        "problem": info.problem,
        "task": info.task or None,
        "arguments": shortened(jsonlib.dumps(_plain(info)), _SHOWN) if info.arguments else None,
        "queue": info.queue or None,
        "priority": info.priority,
        **({} if info.policy is None else _policy_facts(info.policy)),
        "last": _both(info, info.last_at, now),
        "last message": info.last_id,
        "it ended": None if last is None else status_text(last.status),
        "error": None if last is None or last.error is None else shortened(str(last.error), _SHOWN),
        "next": _both(info, info.next_at, now),
    }


def _policy_facts(policy: Policy) -> dict[str, object]:
    missed = {"skip": "left out", "once": "made up for by one", "all": f"made up for, the latest {policy.max_missed}"}
    return {
        "missed firings": missed[policy.missed],
        "while one runs": "left out" if policy.overlap == "skip" else "enqueued",
        "jitter": duration(seconds(policy.jitter, what="jitter")) if policy.jitter else None,
        "not before": policy.start,
        "not after": policy.end,
    }


def _plain(info: ScheduleInfo) -> Any:
    """The arguments by parameter, as JSON takes them."""
    return msgspec.to_builtins(dict(info.arguments), enc_hook=str, str_keys=True)


def _both(info: ScheduleInfo, at: datetime | None, now: float) -> str | None:
    """A moment in the schedule's zone, in the local one, and from now."""
    if at is None:
        return None
    return f"{in_its_zone(info, at)}; here {_local(at)} ({ago(at.timestamp(), now)})"


def in_its_zone(info: ScheduleInfo, at: datetime) -> str:
    """A moment as the clock shows it in the schedule's zone."""
    return f"{at.astimezone(ZoneInfo(getattr(info.when, 'timezone', 'UTC'))):%Y-%m-%d %H:%M:%S %Z}"


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"


# next -----------------------------------------------------------------------------------------------------------------


def next_firings(
    *,
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=10_000, help="So many.")] = 10,
    only: Annotated[str | None, typer.Option("--only", metavar="NAME", help="Of this schedule alone.")] = None,
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the next firings of all schedules, in their zones and in the local one."""
    infos = schedules_at(target, url, lambda scheduler: _chosen(scheduler, only))
    ahead = heapq.merge(*(_ahead(info) for info in infos), key=lambda firing: firing[0])
    found = list(islice(ahead, count))
    if json:
        print_json({"firings": [{"at": _moment(at), "schedule": info.name, "task": info.task} for at, info in found]})
    elif found:
        print_wide(_firing_table(found))
    else:
        print_error("nothing is due any more")


async def _chosen(scheduler: Scheduler, only: str | None) -> list[ScheduleInfo]:
    return await scheduler.list() if only is None else [await scheduler.get(only)]


def _ahead(info: ScheduleInfo) -> Iterator[tuple[datetime, ScheduleInfo]]:
    """The firings to come of one schedule; none of a paused one."""
    if info.next_at is None or info.when is None or info.policy is None:
        return
    yield info.next_at, info
    try:
        for at in firings(info.when, info.policy, info.next_at):
            yield at, info
    except TaskError as error:
        print_error(f"{info.name}: {error}")


def _firing_table(found: list[tuple[datetime, ScheduleInfo]]) -> Table:
    made = table("schedule", "task", "in its zone", "here", "from now", right=("from now",), narrow=("task",))
    now = datetime.now(UTC)
    for at, info in found:
        wait = ago(at.timestamp(), now.timestamp(), exact=False)
        made.add_row(cell(info.name), cut(info.task), cell(in_its_zone(info, at)), cell(_local(at)), cell(wait))
    return made
