"""The commands that change something: cancel, requeue, purge, pause, resume, drain."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from reinhardt_tasks.cli.failures import FAILED, InputError, sentence
from reinhardt_tasks.cli.options import Ids, QueueFilter, QueueName, Target, TaskFilter, Url
from reinhardt_tasks.cli.place import find_place, work_at
from reinhardt_tasks.cli.reading import parsed_id
from reinhardt_tasks.cli.screen import print_error, print_text
from reinhardt_tasks.cli.text import beginning, count, visible
from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.errors import DuplicateTaskError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason, WorkerRecord
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.requeueing import put_back
from reinhardt_tasks.workflow.stopping import stop

_CANCELLED = ErrorRecord("TaskCancelledError", "cancelled from the command line", reason=Reason.CANCELLED)


def cancel(*, ids: Ids, target: Target = None, url: Url = None) -> None:
    """Cancel messages, or whole workflows by their id: at once what waits, through its worker what runs."""
    wanted = [parsed_id(text) for text in ids]
    answers = work_at(find_place(target, url), lambda backend: _cancel_all(backend, wanted))
    for task_id, status in zip(wanted, answers, strict=True):
        print_text(f"{task_id} {_cancelled(status)}")
    if any(status not in {TaskStatus.CANCELLED, TaskStatus.RUNNING} for status in answers):
        raise typer.Exit(FAILED)


async def _cancel_all(backend: TaskBackend, ids: Sequence[TaskId]) -> list[TaskStatus | None]:
    """The statuses after it; of a workflow all is cancelled."""
    for record in await backend.get(ids):
        if record is not None and record.workflow == record.id:
            await stop(backend, record.id, _CANCELLED)
    return await backend.cancel(ids, error=_CANCELLED.encode())


def _cancelled(status: TaskStatus | None) -> str:
    match status:
        case None:
            return "is not known here"
        case TaskStatus.CANCELLED:
            return "is cancelled"
        case TaskStatus.RUNNING:
            return "is running; its worker is told to end it"
        case _:
            return f"has ended already: {status.value}"


def requeue(
    *,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of messages.", show_default=False)
    ] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every dead letter instead of single ids.")] = False,
    task: TaskFilter = None,
    queue: QueueFilter = None,
    target: Target = None,
    url: Url = None,
) -> None:
    """Put failed or cancelled messages, or all those of a workflow by its id, back in line, with all their retries."""
    if bool(ids) == all_failed:
        raise InputError("give either the ids of messages or --all-failed")
    if not all_failed and (task or queue):
        raise InputError("--task and --queue choose among dead letters; they go with --all-failed")
    place = find_place(target, url)
    if all_failed:
        _report_all(*work_at(place, lambda backend: _requeue_failed(backend, task, queue)))
    else:
        wanted = [parsed_id(text) for text in ids or []]
        _report_ids(ids or [], work_at(place, lambda backend: _requeue_all(backend, wanted)))


async def _requeue_all(backend: TaskBackend, ids: Sequence[TaskId]) -> list[bool]:
    """Whether each is known; of a workflow all comes back, the others in one step."""
    workflows = {one.id for one in await backend.get(ids) if one is not None and one.workflow == one.id}
    for workflow in workflows:
        await put_back(backend, workflow)
    known = iter(await backend.requeue([id for id in ids if id not in workflows]))
    return [id in workflows or next(known) for id in ids]


def _report_ids(ids: Sequence[str], answers: Sequence[bool]) -> None:
    for text, known in zip(ids, answers, strict=True):
        print_text(f"{text} {'is back in line' if known else 'is not known here'}")
    if not all(answers):
        raise typer.Exit(FAILED)


def _report_all(back: int, refused: Sequence[str]) -> None:
    for complaint in refused:
        print_error(complaint)
    print_text(f"{count(back, 'message')} put back in line")
    if refused:
        raise typer.Exit(FAILED)


async def _requeue_failed(backend: TaskBackend, task: str | None, queue: str | None) -> tuple[int, list[str]]:
    """Requeue the dead letters there are now, a page at a time: how many, and why some were refused."""
    back, refused, below = 0, list[str](), None
    while True:
        found = await backend.find(statuses={TaskStatus.FAILURE}, task=task, queue=queue, before=below, limit=MAX_PAGE)
        done, complaints = await _requeue_page(backend, [record.id for record in found])
        back, refused = back + done, refused + complaints
        if len(found) < MAX_PAGE:
            return back, refused
        below = found[-1].id


async def _requeue_page(backend: TaskBackend, ids: Sequence[TaskId]) -> tuple[int, list[str]]:
    """Requeue `ids` in one step, or, where one of them is refused, one by one."""
    try:
        return sum(await backend.requeue(ids)), []
    except (TransitionError, DuplicateTaskError) as error:
        if len(ids) == 1:
            return 0, [f"{ids[0]} is left as it is: {sentence(error)}"]
    back, refused = 0, list[str]()
    for task_id in ids:
        done, complaints = await _requeue_page(backend, (task_id,))
        back, refused = back + done, refused + complaints
    return back, refused


def purge(
    *,
    queue: QueueName,
    statuses: Annotated[
        list[TaskStatus] | None,
        typer.Option("--status", "-s", help="What to delete; may be repeated. [default: pending, retry]"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: Target = None,
    url: Url = None,
) -> None:
    """Delete the messages of a queue that wait to run."""
    chosen = tuple(statuses or (TaskStatus.PENDING, TaskStatus.RETRY))
    if TaskStatus.RUNNING in chosen:
        raise InputError("running messages cannot be deleted; cancel them first")
    place = find_place(target, url)
    if not yes:
        _confirm(queue, work_at(place, lambda backend: _waiting(backend, queue, chosen)), chosen)
    deleted = work_at(place, lambda backend: backend.purge(queue, statuses=chosen))
    print_text(f"{count(deleted, 'message')} deleted from {queue}")


async def _waiting(backend: TaskBackend, queue: str, statuses: Sequence[TaskStatus]) -> int:
    found = [counts for counts in await backend.counts() if counts.queue == queue]
    return sum(counts.by_status.get(status, 0) for counts in found for status in statuses)


def _confirm(queue: str, number: int, statuses: Sequence[TaskStatus]) -> None:
    """Ask at a terminal; elsewhere nobody can answer, so --yes is needed."""
    what = f"{count(number, 'message')} ({', '.join(status.value for status in statuses)}) of queue {visible(queue)}"
    if not sys.stdin.isatty():
        raise InputError(f"this would delete {what}; nobody can be asked here, so say --yes if it is meant")
    if not typer.confirm(f"Delete {what}?"):
        print_error("nothing was deleted")
        raise typer.Exit(FAILED)


def pause(*, queue: QueueName, target: Target = None, url: Url = None) -> None:
    """Give out no more messages of a queue; what runs goes on."""
    known = work_at(find_place(target, url), lambda backend: _changed(backend, queue, backend.pause))
    print_text(f"queue {queue} is paused; resume it by: reinhardt-tasks resume {queue}")
    _remark_unknown(queue, known)


def resume(*, queue: QueueName, target: Target = None, url: Url = None) -> None:
    """Give out the messages of a paused queue again."""
    known = work_at(find_place(target, url), lambda backend: _changed(backend, queue, backend.resume))
    print_text(f"queue {queue} is open")
    _remark_unknown(queue, known)


async def _changed(backend: TaskBackend, queue: str, change: Callable[[str], Awaitable[None]]) -> list[str]:
    """Make the change to the queue; the names of the queues there were before."""
    known = [counts.queue for counts in await backend.counts()]
    await change(queue)
    return known


def _remark_unknown(queue: str, known: Sequence[str]) -> None:
    """Any name will do, as a queue is there once a message is put into it; but it may be mistyped."""
    if queue not in known:
        print_error(f"there is no message in a queue of this name yet; there are: {', '.join(known) or 'no queues'}")


def drain(
    *,
    worker: Annotated[
        str, typer.Argument(metavar="WORKER", help="A worker's id, or its first part as host:pid.", show_default=False)
    ],
    target: Target = None,
    url: Url = None,
) -> None:
    """Tell a worker to finish what it holds and stop."""

    async def order(backend: TaskBackend) -> str | None:
        chosen = chosen_worker(worker, await backend.workers())
        return chosen if await backend.drain(chosen) else None

    told = work_at(find_place(target, url), order)
    if told is None:
        print_error(f"worker {worker} left in this moment")
        raise typer.Exit(FAILED)
    print_text(f"worker {told} is told to finish what it holds and stop")


def chosen_worker(text: str, workers: Sequence[WorkerRecord]) -> str:
    """The id that is `text` or begins with `text:`. Raises InputError naming the workers there are."""
    ids = [record.beat.worker for record in workers]
    found = [worker for worker in ids if worker == text] or [worker for worker in ids if worker.startswith(f"{text}:")]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{text} stands for several workers: {', '.join(found)}")
    there = f"there are: {', '.join(ids)}" if ids else "no other is either"
    raise InputError(f"no worker {beginning(text)} is registered; {there}")
