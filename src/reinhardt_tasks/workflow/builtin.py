"""The tasks that every worker knows besides those of its queue: they hold workflows together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from reinhardt_tasks.context import current_task
from reinhardt_tasks.handle import Place
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.lifespan import Depends, Provider
from reinhardt_tasks.message import ErrorRecord, Reason, decode_envelope
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.expression import WHOLE
from reinhardt_tasks.workflow.fetching import check_ended
from reinhardt_tasks.workflow.laying import BUILT_IN_NAMES, GATHER
from reinhardt_tasks.workflow.stopping import stop

BUILT_IN: Final = TaskRegistry()
EXPIRE: Final = BUILT_IN_NAMES + "expire"
"""The task of messages that end a workflow whose time is up."""


async def _the_runners_own() -> AsyncIterator[Place]:
    """Never entered."""
    nowhere: tuple[Place, ...] = ()
    for place in nowhere:
        yield place


PLACE: Final = Provider(_the_runners_own)
"""Stands for where the messages live, in the parameters of built-in tasks; the runner gives it."""
_PATIENT: Final = RetryStrategy.exponential_backoff(max_retries=20)


@BUILT_IN.task(name=GATHER, retry=_PATIENT)
async def gather(timer: str | None = None, *, looks: bool = False, place: Place = Depends(PLACE)) -> None:
    """Stand for the results of the messages it waited for, which are read from them; let the timer be forgotten.

    Where it `looks`, it makes sure that all of them have ended: what is between them and this message has succeeded,
    and stays so when a requeue has them run again. Raises NotYetError where one has not.
    """
    if looks:
        await _check_inputs(place)
    if timer is not None:
        error = ErrorRecord("TaskCancelledError", "its workflow ended in time", reason=Reason.CANCELLED)
        await (await place.backend()).cancel([TaskId.parse(timer)], error=error.encode())


async def _check_inputs(place: Place) -> None:
    own = (await (await place.backend()).get([current_task().id], body=True))[0]
    if own is not None and own.body is not None:
        envelope = decode_envelope(place.seal.open(own.body))
        await check_ended(place, (envelope.w or {}).get(WHOLE, []))


@BUILT_IN.task(name=EXPIRE, retry=_PATIENT)
async def expire(workflow: str, limit: float, *, place: Place = Depends(PLACE)) -> None:
    """Cancel what is left of a workflow whose time is up.

    Also where its end is cancelled already: the worker before may have died half-way through, and what does not lead
    to a step that failed may still be going on.
    """
    backend = await place.backend()
    own, end = await backend.get([current_task().id, TaskId.parse(workflow)])
    early = own is not None and own.started_at is not None and (own.run_at or 0.0) > own.started_at
    if early or end is None or end.status is TaskStatus.SUCCESS:  # early: a backend that waits for no moment
        return
    text = f"its workflow took longer than its limit of {limit:g} s"
    await stop(backend, end.id, ErrorRecord("TaskTimeoutError", text, reason=Reason.TIMEOUT), but=current_task().id)
