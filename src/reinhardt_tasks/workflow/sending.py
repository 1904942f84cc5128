"""Workflows on their way to the backend: all or nothing, whatever their size."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import DuplicateTaskError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, ErrorRecord, Put, Reason
from reinhardt_tasks.sending import Sender
from reinhardt_tasks.status import FALLEN
from reinhardt_tasks.workflow.plan import Plan


async def send(sender: Sender, plan: Plan, transaction: object = None) -> bool:
    """Store a workflow; False when it is stored already. Nothing of it runs before all of it is there.

    What one call can store goes in one. Else, and where a unique key may be taken, it is put held and then started; in
    the caller's `transaction` that is what its commit does. Raises DuplicateTaskError when another message holds the
    unique key of a step: then nothing stays stored, or must be rolled back. Raises QueueError when it was stored before
    and has failed, or was cancelled, meanwhile.
    """
    held = transaction is None and (plan.has_keys or len(plan.messages) > MAX_BATCH)
    messages = [replace(message, held=True) for message in plan.messages] if held else plan.messages
    puts: list[Put] = []
    for start in range(0, len(messages), MAX_BATCH):
        puts += await _put(sender, plan, puts, messages[start : start + MAX_BATCH], transaction)
    if not all(put.created for put in puts):
        await _check_alive(sender, plan, puts)
    if held:
        await (await sender.connections.connection()).backend.start_workflow(plan.id)
    return any(put.created for put in puts)


async def _put(
    sender: Sender, plan: Plan, before: Sequence[Put], batch: Sequence[AnyMessage], transaction: object
) -> list[Put]:
    """Store a batch; when the unique key of one of its messages is taken, take it back with those put `before`."""
    puts: list[Put] = []
    try:
        puts = await sender.many(batch, transaction)
    except QueueError:  # a message waits for one that was not stored: was that for its key?
        taken = await _taken(sender, batch) if plan.has_keys else None
        if taken is None:
            raise
    else:
        taken = next(((one, put.id) for one, put in zip(batch, puts, strict=True) if put.id != one.id), None)
        if taken is None:
            return puts
    await _take_back(sender, [*before, *puts])
    message, holder = taken
    raise DuplicateTaskError(
        f"nothing of the workflow is enqueued: message {holder} holds the unique key {message.unique_key!r} of its "
        f"step {message.name}. Wait for that one, or cancel it first; in a transaction of your own, roll it back",
        existing_id=str(holder),
        unique_key=message.unique_key,
    )


async def _taken(sender: Sender, batch: Sequence[AnyMessage]) -> tuple[AnyMessage, TaskId] | None:
    """A message of the batch whose key another one holds, and that one: asked by storing those with keys alone.

    Outside the caller's transaction, which a database may have broken off. They are held, and forgotten at once.
    """
    backend = (await sender.connections.connection()).backend
    keyed = [replace(one, waits_on=(), held=True) for one in batch if one.unique_key is not None]
    puts = await backend.put(keyed)
    await _forget(backend, [put.id for put in puts if put.created])
    return next(((one, put.id) for one, put in zip(keyed, puts, strict=True) if put.id != one.id), None)


async def _check_alive(sender: Sender, plan: Plan, puts: Sequence[Put]) -> None:
    """Raise QueueError where what was stored of a workflow before has come to no good end, and takes the rest along.

    All of it was there: it is as its last message is. Only a part, which nobody started: it was dropped in time.
    """
    backend = (await sender.connections.connection()).backend
    known = [put.id for put in puts if not put.created]
    decisive = [plan.id] if len(known) == len(puts) else known
    for start in range(0, len(decisive), MAX_BATCH):
        for record in await backend.get(decisive[start : start + MAX_BATCH]):
            if record is not None and record.status in FALLEN:
                await _take_back(sender, puts)
                raise QueueError(
                    f"workflow {plan.id} was enqueued before, and is over: its message {record.id} of task "
                    f"{record.name} is {record.status}. Requeue that one to go on, or build the workflow anew",
                    queue=record.queue,
                )


async def _take_back(sender: Sender, puts: Sequence[Put]) -> None:
    """Forget what was just stored of a workflow that cannot begin; not what was there before."""
    backend = (await sender.connections.connection()).backend
    ids = [put.id for put in puts if put.created]
    for start in range(0, len(ids), MAX_BATCH):
        await _forget(backend, ids[start : start + MAX_BATCH])


async def _forget(backend: TaskBackend, ids: Sequence[TaskId]) -> None:
    """Have messages never been stored."""
    error = ErrorRecord("TaskCancelledError", "its workflow was not enqueued as a whole", reason=Reason.CANCELLED)
    await backend.cancel(ids, error=error.encode())
    await backend.delete(ids)
