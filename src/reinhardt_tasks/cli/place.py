"""Where a command works: at the backend of TARGET's queue, or at the one a URL names."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reinhardt_tasks.backends import connect
from reinhardt_tasks.backends.sqlite.place import parse_url
from reinhardt_tasks.cli.failures import InputError
from reinhardt_tasks.cli.settings import PREFIX, ProjectSettings, read_project
from reinhardt_tasks.cli.target import find_queue
from reinhardt_tasks.config import masked
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import BackendError
from reinhardt_tasks.queue import TaskQueue

T = TypeVar("T")
_INSIDE = frozenset({"memory", "dummy", "immediate"})


@dataclass(frozen=True, slots=True)
class Place:
    """A backend to open, its URL without password, and the application's queue where there is one."""

    connect: Callable[[], TaskBackend]
    url: str
    queue: TaskQueue | None = None


def chosen_target(argument: str | None, environment: Mapping[str, str], project: ProjectSettings) -> str | None:
    """TARGET from the argument, the environment or pyproject.toml, in this order."""
    return argument or environment.get(f"{PREFIX}TARGET", "").strip() or project.target


def needed_target(argument: str | None, project: ProjectSettings) -> str:
    """TARGET from where it is given first. Raises InputError when it is given nowhere."""
    target = chosen_target(argument, os.environ, project)
    if target is None:
        raise InputError(
            f"which queue? Give TARGET as module:queue, set {PREFIX}TARGET, "
            "or write it into pyproject.toml as target under [tool.reinhardt-tasks]"
        )
    return target


def find_place(target: str | None, url: str | None) -> Place:
    """Where to look: the options, then the environment (TARGET before URL), then pyproject.toml.

    Given both, the messages at the URL are shown as TARGET's tasks read them. Raises InputError without any of them.
    """
    environment = os.environ
    project = read_project(Path.cwd())
    if target is None and url is None:
        target = environment.get(f"{PREFIX}TARGET") or None
        url = None if target else environment.get(f"{PREFIX}URL") or None
        if url is None:
            target = target or project.target
    if target is not None:
        place = _of_target(target, url, project)
    elif url is not None:
        place = _of_url(url)
    else:
        raise InputError(f"where? Give --url or --target, or set {PREFIX}URL or {PREFIX}TARGET")
    refuse_inside(place.url)
    return place


def _of_target(target: str, url: str | None, project: ProjectSettings) -> Place:
    queue = find_queue(target, imports=project.imports).queue
    if url is not None:
        queue.configure(url)
    return Place(queue.connect, queue.url, queue)


def _of_url(url: str) -> Place:
    """The backend at `url`. A SQLite file has to exist: to look into a mistyped name would create it, empty."""
    if url.startswith("sqlite:"):
        path = Path(parse_url(url)[0])
        if path.parent.is_dir() and not path.exists():
            raise BackendError(
                f"there is no file {path}; an enqueue or a worker of the application creates it, looking does not",
                backend="sqlite",
                place=str(path),
            )
    return Place(functools.partial(connect, url), masked(url))


def is_inside(url: str) -> bool:
    """Whether messages at this URL stay within the process that put them there."""
    return url.partition(":")[0] in _INSIDE


def refuse_inside(url: str) -> None:
    """Raise InputError for a backend whose messages no other process sees."""
    if is_inside(url):
        raise InputError(
            f"messages at {url} live inside one program and end with it; "
            "for messages that others can see, use a URL such as sqlite:///tasks.db"
        )


def queue_at(place: Place) -> TaskQueue:
    """The application's queue, or one without tasks where only a URL is known."""
    return TaskQueue(place.connect()) if place.queue is None else place.queue


def work_at(place: Place, work: Callable[[TaskBackend], Awaitable[T]]) -> T:
    """What `work` answers, given the place's open backend."""

    async def go() -> T:
        async with place.connect() as backend:
            return await work(backend)

    return asyncio.run(go())
