"""Cancelling a workflow as a whole, whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Record
from reinhardt_tasks.status import TaskStatus

_WAITING: Final = frozenset({TaskStatus.PENDING})
_UNFINISHED: Final = frozenset(status for status in TaskStatus if not status.finished)


async def stop(backend: TaskBackend, workflow: TaskId, error: ErrorRecord, *, but: TaskId | None = None) -> int:
    """Cancel what is not finished of a workflow, except the message `but`, with this error; how many messages.

    What waits for others is cancelled first, so that nothing begins because what it waited for is cancelled.
    """
    raw = error.encode()
    cancelled = await _stop(backend, workflow, raw, _WAITING, lambda record: record.waiting_on > 0)
    return cancelled + await _stop(backend, workflow, raw, _UNFINISHED, lambda record: record.id != but)


async def _stop(
    backend: TaskBackend,
    workflow: TaskId,
    error: bytes,
    statuses: Collection[TaskStatus],
    concerns: Callable[[Record], bool],
) -> int:
    """Cancel the messages in `statuses` that are concerned, a page at a time."""
    cancelled = 0
    before: TaskId | None = None
    while page := await backend.find(workflow=workflow, statuses=statuses, before=before, limit=MAX_PAGE):
        ids = [record.id for record in page if concerns(record)]
        if ids:
            await backend.cancel(ids, error=error)
        cancelled += len(ids)
        before = page[-1].id
    return cancelled
