"""Where a queue's messages go: one backend and the way to it, and the running of tasks by a backend without workers."""

from __future__ import annotations

import asyncio
from typing import Any

from reinhardt_tasks.backends import connect
from reinhardt_tasks.backends.immediate import ImmediateBackend
from reinhardt_tasks.config import masked
from reinhardt_tasks.connections import Connections
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import ConfigurationError, SerializationError
from reinhardt_tasks.lifespan import Lifespans
from reinhardt_tasks.message import Claim, Outcome, decode_envelope
from reinhardt_tasks.runner import Runner, Tasks
from reinhardt_tasks.sending import Sender
from reinhardt_tasks.task import Task


class Route:
    """`origin`, the unopened backend that all others are siblings of, its `url` for people, and the `sender` to it.

    Raises ConfigurationError for a URL that leads nowhere.
    """

    __slots__ = ("origin", "sender", "url")

    def __init__(self, place: str | TaskBackend, tasks: Tasks) -> None:
        self.origin = _backend(place)
        self.url = masked(place) if isinstance(place, str) else f"{place.name}://"
        immediate = isinstance(self.origin, ImmediateBackend)
        if isinstance(self.origin, ImmediateBackend):
            self.origin.bind(InPlace(tasks).run)
        # A task that runs inside an enqueue may enqueue others and wait for them: none of them may wait for the first.
        self.sender = Sender(Connections(self.origin.sibling), tasks.middleware, alone=immediate)


def _backend(place: object) -> TaskBackend:
    if isinstance(place, TaskBackend):
        return place
    if isinstance(place, str):
        return connect(place)
    raise ConfigurationError(
        f"a queue is given a URL, such as 'sqlite:///tasks.db', or a TaskBackend, not {place!r}", setting="url"
    )


class InPlace:
    """Runs claimed messages where they were enqueued."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def run(self, claim: Claim) -> Outcome:
        """The outcome of a claim. The providers its task needs are opened for it alone."""
        task = self._task_in(claim)
        async with Lifespans(() if task is None else dict.fromkeys(task.providers.values())) as values:
            # In an asyncio task and a context of its own: the caller may be a running task itself.
            return await asyncio.create_task(Runner(self._tasks, values=values).run(claim))

    def _task_in(self, claim: Claim) -> Task[Any, Any] | None:
        """The task a claim is for, None where it cannot be read or is not known; the runner says what then."""
        try:
            return self._tasks.find(decode_envelope(self._tasks.seal.open(claim.body)).n)
        except SerializationError:
            return None
