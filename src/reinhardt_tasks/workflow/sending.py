"""Workflows on their way to the backend: all or nothing, whatever their size."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import DuplicateTaskError, QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, ErrorRecord, Put, Reason
from reinhardt_tasks.sending import Sender
from reinhardt_tasks.workflow.plan import Plan


async def send(sender: Sender, plan: Plan, transaction: object = None) -> bool:
    """Store a workflow; False when it is stored already. Nothing of it runs before all of it is there.

    What one call can store goes in one. Else, and where a unique key may be taken, it is put held and then started; in
    the caller's `transaction` that is what its commit does. Raises DuplicateTaskError when another message holds the
    unique key of a step: then nothing stays stored, or must be rolled back.
    """
    held = transaction is None and (plan.has_keys or len(plan.messages) > MAX_BATCH)
    messages = [replace(message, held=True) for message in plan.messages] if held else plan.messages
    puts: list[Put] = []
    for start in range(0, len(messages), MAX_BATCH):
        puts += await _put(sender, plan, messages[start : start + MAX_BATCH], transaction)
    if held:
        await (await sender.connections.connection()).backend.start_workflow(plan.id)
    return any(put.created for put in puts)


async def _put(sender: Sender, plan: Plan, batch: Sequence[AnyMessage], transaction: object) -> list[Put]:
    """Store a batch; take everything back when the unique key of one of its messages is taken."""
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
    await _take_back(sender, plan)
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


async def _take_back(sender: Sender, plan: Plan) -> None:
    """Forget what is stored of a workflow that never began."""
    backend = (await sender.connections.connection()).backend
    ids = [message.id for message in plan.messages]
    for start in range(0, len(ids), MAX_BATCH):
        await _forget(backend, ids[start : start + MAX_BATCH])


async def _forget(backend: TaskBackend, ids: Sequence[TaskId]) -> None:
    """Have messages never been stored."""
    error = ErrorRecord("TaskCancelledError", "a unique key of its workflow was taken", reason=Reason.CANCELLED)
    await backend.cancel(ids, error=error.encode())
    await backend.delete(ids)
