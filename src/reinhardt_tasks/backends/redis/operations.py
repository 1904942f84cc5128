"""What operators do: `cancel`, `requeue`, `move`, `purge`, `delete`; `pause`, `resume`, `drain`.

What concerns many messages is done in steps that keep the server for a few ms each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any, Final, NoReturn

from reinhardt_tasks.backends.redis import reading
from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.reading import CODES, STATUSES
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import BackendTaskNotFoundError, DuplicateTaskError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason
from reinhardt_tasks.status import TaskStatus, check_transition

_BACK: Final = b"back"
_STANDING: Final = b"standing"
_WAITING: Final = b"waiting"
_TAKEN: Final = b"taken"


async def cancel(link: Link, ids: Sequence[TaskId], error: bytes) -> list[TaskStatus | None]:
    """See TaskBackend.cancel. More than MAX_BATCH are cancelled in several steps."""
    codes: list[int | None] = []
    while len(codes) < len(ids):
        wanted = ids[len(codes) : len(codes) + MAX_BATCH]
        codes += await link.call("cancel", error, *wanted, replicate=True)
    return [None if code is None else STATUSES[code] for code in codes]


async def move(link: Link, task_id: TaskId, status: TaskStatus, payload: bytes) -> None:
    """See TaskBackend.move. Looks at the status, then moves the message if it is still in that; else once more."""
    while True:
        (record,) = await reading.get(link, (task_id,), body=False)
        if record is None:
            raise BackendTaskNotFoundError(task_id=str(task_id))
        if status is TaskStatus.RUNNING:
            raise _refusal(
                f"message {task_id} cannot be moved to running: a worker takes it by a claim",
                task_id,
                record.status,
                status,
            )
        check_transition(record.status, status, task_id=str(task_id))
        if record.status.finished:
            await requeue(link, (task_id,))
            return
        was = CODES[record.status]
        if await link.call("move", task_id, was, CODES[status], payload, replicate=True) == was:
            return


async def requeue(link: Link, ids: Sequence[TaskId]) -> list[bool]:
    """See TaskBackend.requeue.

    More than MAX_BATCH messages go in several steps, each done or refused by itself, the oldest first. Some hundred
    dependents come back at once, and more in further steps; they stay cancelled where another message holds their key.
    """
    back: set[bytes] = set()
    for wanted in _batches(sorted(set(ids))):
        left: list[TaskId] = [id for id in wanted if id not in back]
        again = False
        while left:
            answer = await link.call("requeue", *left, replicate=True)
            if answer[0] == _STANDING and again:
                back.add(answer[1])  # a sweep was quicker
            elif answer[0] != _BACK:
                _refuse(answer)
            elif answer[1]:
                back.update(answer[2:], await _revive_rest(link))
            else:
                back.update(answer[2:])
                break
            again = True
            left = [id for id in left if id not in back]
    return [id in back for id in ids]


async def _revive_rest(link: Link) -> set[bytes]:
    """Go on until no dependents are left to come back, as a sweep would later; the ids of those that came."""
    back: set[bytes] = set()
    while (came := await link.call("revive", replicate=True)) is not None:
        back.update(came)
    return back


def _refuse(answer: Sequence[Any]) -> NoReturn:
    """Raise the error that the script `requeue` tells."""
    if answer[0] == _TAKEN:
        raise DuplicateTaskError(existing_id=str(TaskId(answer[1])), unique_key=answer[2].decode())
    task_id, status = TaskId(answer[1]), STATUSES[int(answer[2])]
    why = f"is {status}; only what failed or was cancelled can be requeued"
    if answer[0] == _WAITING:
        why = f"waits for {TaskId(answer[3])}, which is {STATUSES[int(answer[4])]}; requeue that one"
    raise _refusal(f"message {task_id} {why}", task_id, status, TaskStatus.PENDING)


def _refusal(text: str, task_id: TaskId, old: TaskStatus, new: TaskStatus) -> TransitionError:
    return TransitionError(text, task_id=str(task_id), from_status=old.value, to_status=new.value)


async def purge(link: Link, queue: str, statuses: Collection[TaskStatus]) -> int:
    """See TaskBackend.purge. A long queue goes in steps, and half of the time is left to others."""
    bits = reading.bits_of(statuses)
    error = ErrorRecord("TaskCancelledError", f"queue {queue} was purged", reason=Reason.CANCELLED).encode()
    purged, source, place = 0, b"", b""
    while True:
        began = time.monotonic()
        source, place, deleted = await link.call("purge", queue, bits, source, place, error, replicate=True)
        purged += int(deleted)
        if not source:
            return purged
        await asyncio.sleep(time.monotonic() - began)


async def delete(link: Link, ids: Sequence[TaskId]) -> int:
    """See TaskBackend.delete. More than MAX_BATCH go in several steps."""
    deleted, left = 0, list(dict.fromkeys(ids))
    while left:
        gone, seen = await link.call("delete", *left[:MAX_BATCH], replicate=True)
        deleted += int(gone)
        del left[:seen]
    return deleted


async def pause(link: Link, queue: str) -> None:
    """See TaskBackend.pause."""
    await link.call("pause", queue, replicate=True)


async def resume(link: Link, queue: str) -> None:
    """See TaskBackend.resume."""
    await link.call("resume", queue, replicate=True)


async def drain(link: Link, worker: str) -> bool:
    """See TaskBackend.drain."""
    return bool(await link.call("drain", worker, replicate=True))


def _batches(ids: Sequence[TaskId]) -> list[Sequence[TaskId]]:
    return [ids[first : first + MAX_BATCH] for first in range(0, len(ids), MAX_BATCH)]
