"""Up from what was cancelled to what failed: the messages for whose sake others were cancelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.handle import Place
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import ErrorRecord, Reason, Record, decode_envelope
from reinhardt_tasks.status import FALLEN
from reinhardt_tasks.workflow.expression import parents_in


async def culprits(place: Place, cancelled: Collection[TaskId]) -> dict[TaskId, Record]:
    """For each message that was cancelled for another's sake, as far as that can be told, the one that fell first.

    Two calls of the backend for each step on the way up, however many messages take it. Raises SerializationError for
    an envelope that cannot be opened here.
    """
    backend = await place.backend()
    found: dict[TaskId, Record] = {}
    ways = {id: id for id in cancelled}
    """How far up from each message the search is."""
    while ways:
        parents = await _parents(place, backend, list(dict.fromkeys(ways.values())))
        known = await _records(backend, dict.fromkeys(parent for ids in parents.values() for parent in ids))
        fallen = {id: _fallen(ids, known) for id, ids in parents.items()}
        reached = {id: record for id, at in ways.items() if (record := fallen.get(at)) is not None}
        found |= reached
        ways = {id: one.id for id, one in reached.items() if reason_of(one) is Reason.PARENT_FAILED and one.id != id}
    return found


def reason_of(record: Record) -> Reason | None:
    """Why a message ended without a result; None where it has not."""
    return ErrorRecord.decode(record.error).reason if record.error else None


def _fallen(ids: Iterable[TaskId], known: Mapping[TaskId, Record]) -> Record | None:
    """One that did not end well; rather one that was not itself cancelled for another's sake."""
    fallen = [known[id] for id in ids if id in known and known[id].status in FALLEN]
    first = (record for record in fallen if reason_of(record) is not Reason.PARENT_FAILED)
    return next(first, fallen[0] if fallen else None)


async def _parents(place: Place, backend: TaskBackend, ids: Sequence[TaskId]) -> dict[TaskId, list[TaskId]]:
    """What messages waited for, by their envelopes."""
    found: dict[TaskId, list[TaskId]] = {}
    for start in range(0, len(ids), MAX_BATCH):
        for record in await backend.get(ids[start : start + MAX_BATCH], body=True):
            if record is not None and record.body is not None:
                found[record.id] = parents_in(decode_envelope(place.seal.open(record.body)))
    return found


async def _records(backend: TaskBackend, wanted: Iterable[TaskId]) -> dict[TaskId, Record]:
    ids = list(wanted)
    found: dict[TaskId, Record] = {}
    for start in range(0, len(ids), MAX_BATCH):
        found |= {one.id: one for one in await backend.get(ids[start : start + MAX_BATCH]) if one is not None}
    return found
