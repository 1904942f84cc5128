"""Requeueing a workflow as a whole, after a step failed, a cancel or its timeout."""

from __future__ import annotations

from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import FALLEN
from reinhardt_tasks.workflow.builtin import EXPIRE


async def put_back(backend: TaskBackend, workflow: TaskId) -> int:
    """Put all that failed or was cancelled of a workflow back in line; how many messages. What succeeded stays so.

    It has no time limit any more. Raises what `TaskBackend.requeue` raises.
    """
    ids: list[TaskId] = []
    before: TaskId | None = None
    while page := await backend.find(workflow=workflow, statuses=FALLEN, before=before, limit=MAX_PAGE):
        # Its timer stays cancelled: due now, it would end what is put back.
        ids += [record.id for record in page if record.name != EXPIRE]
        before = page[-1].id
    if ids:
        await backend.requeue(ids)
    return len(ids)
