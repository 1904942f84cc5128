"""The commands that only look: status, list, show, counts, workers."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from reinhardt_tasks.cli.contents import contents_document, contents_facts, contents_of
from reinhardt_tasks.cli.documents import (
    error_document,
    error_of,
    message_document,
    queue_document,
    worker_document,
)
from reinhardt_tasks.cli.failures import FAILED, InputError
from reinhardt_tasks.cli.options import Json, QueueFilter, Target, TaskFilter, Url
from reinhardt_tasks.cli.place import Place, find_place, work_at
from reinhardt_tasks.cli.screen import console, print_error, print_json, print_text, print_wide
from reinhardt_tasks.cli.tables import facts_table, message_facts, message_table, queue_table, status_text, worker_table
from reinhardt_tasks.cli.text import count
from reinhardt_tasks.contract import MAX_PAGE, TaskBackend
from reinhardt_tasks.errors import BackendTaskNotFoundError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Record
from reinhardt_tasks.status import TaskStatus

Statuses = Annotated[list[TaskStatus] | None, typer.Option("--status", "-s", help="Only these; may be repeated.")]


def parsed_id(text: str) -> TaskId:
    """The id written as `text`. Raises InputError."""
    try:
        return TaskId.parse(text)
    except ValueError as error:
        raise InputError(str(error)) from error


async def one_record(backend: TaskBackend, text: str, *, body: bool = False) -> Record:
    """The message whose id is written `text`. Raises InputError, or BackendTaskNotFoundError when there is none."""
    record = (await backend.get((parsed_id(text),), body=body))[0]
    if record is None:
        raise BackendTaskNotFoundError(task_id=text)
    return record


def status(
    *,
    message: Annotated[str, typer.Argument(metavar="ID", help="Id of a message.", show_default=False)],
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Print where one message stands, in one word."""
    record = work_at(find_place(target, url), lambda backend: one_record(backend, message))
    if json:
        print_json({"id": str(record.id), "status": record.status.value})
    else:
        print_text(status_text(record.status))


def list_messages(
    *,
    statuses: Statuses = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters: messages that failed for good.")] = False,
    queue: QueueFilter = None,
    task: TaskFilter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only messages older than this one.")] = None,
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List messages, newest first."""
    wanted = set(statuses or ()) | ({TaskStatus.FAILURE} if dead else set())
    below = None if before is None else parsed_id(before)
    place = find_place(target, url)

    async def read(backend: TaskBackend) -> list[Record]:
        return await find_many(backend, wanted, queue=queue, task=task, before=below, limit=limit + 1)

    found = work_at(place, read)
    shown, more = found[:limit], len(found) > limit
    if json:
        after = str(shown[-1].id) if more else None
        print_json({"messages": [message_document(record) for record in shown], "next_before": after})
    else:
        _print_list(shown, more=more)


def _print_list(records: list[Record], *, more: bool) -> None:
    if not records:
        print_error("no messages match")
        return
    print_wide(message_table(records, time.time(), width=console().width))
    if more:
        print_error(f"there are older ones; see them by: --before {records[-1].id}")


async def find_many(
    backend: TaskBackend,
    statuses: set[TaskStatus],
    *,
    queue: str | None,
    task: str | None,
    before: TaskId | None = None,
    limit: int,
) -> list[Record]:
    """Up to `limit` records, newest first, read a page at a time."""
    found: list[Record] = []
    while len(found) < limit:
        size = min(MAX_PAGE, limit - len(found))
        page = await backend.find(statuses=statuses, queue=queue, task=task, before=before, limit=size)
        found += page
        if len(page) < size:
            break
        before = page[-1].id
    return found


def show(
    *,
    message: Annotated[str, typer.Argument(metavar="ID", help="Id of a message.", show_default=False)],
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show all about one message: arguments, result, error with its traceback, progress."""
    place = find_place(target, url)
    record = work_at(place, lambda backend: one_record(backend, message, body=True))
    if json:
        print_json(_whole_document(place, record))
    else:
        _print_message(place, record)


def _whole_document(place: Place, record: Record) -> dict[str, object]:
    error = error_of(record)
    told = error_document(error)
    if told is not None and error is not None:
        told["traceback"] = error.traceback
    return {**message_document(record), "error": told, **contents_document(contents_of(record, place.queue))}


def _print_message(place: Place, record: Record) -> None:
    contents = contents_of(record, place.queue)
    print_wide(facts_table({**message_facts(record, time.time()), **contents_facts(contents)}))
    for obstacle in contents.obstacles:
        print_text(f"note: {obstacle}")
    error = error_of(record)
    if error is not None and error.traceback:
        print_text("\n" + error.traceback.rstrip())


def counts(*, target: Target = None, url: Url = None, json: Json = False) -> None:
    """Count the messages of each queue by status."""
    queues = work_at(find_place(target, url), lambda backend: backend.counts())
    if json:
        print_json({"queues": [queue_document(queue) for queue in queues]})
    elif queues:
        print_wide(queue_table(queues))
    else:
        print_error("there are no messages")


def workers(*, target: Target = None, url: Url = None, json: Json = False) -> None:
    """List the workers and what they hold; exit 1 when there is none."""
    found = work_at(find_place(target, url), lambda backend: backend.workers())
    if json:
        print_json({"workers": [worker_document(worker) for worker in found]})
    elif found:
        print_wide(worker_table(found, time.time()))
        print_error(f"{count(len(found), 'worker')}; {count(sum(worker.claims for worker in found), 'message')} held")
    else:
        print_error("no worker is registered")
    if not found:
        raise typer.Exit(FAILED)
