"""The sweep: the dead are rescued, what is due is promoted, results and records expire. Each in small batches."""

from __future__ import annotations

from typing import Any, Final

from reinhardt_tasks.backends.sqlite import claims, endings, members, operations, timetable
from reinhardt_tasks.backends.sqlite.forget import forget
from reinhardt_tasks.backends.sqlite.layout import CODES, EXPIRED
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store, as_list
from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.message import Swept
from reinhardt_tasks.status import FINISHED, TaskStatus

_SQL = statements("sweep")
_ENDS: Final = sorted(CODES[status] for status in FINISHED)
_SUCCESS: Final = CODES[TaskStatus.SUCCESS]


def sweep(store: Store) -> Swept:
    """See TaskBackend.sweep."""
    suspected, rescued, poisoned = members.rescue(store)
    timetable.forget_locks(store)
    promoted = claims.promote(store)
    cancelled = endings.cancel_rest(store) + operations.drop_unopened(store)
    expired, deleted = expire(store)
    return Swept(
        suspected=suspected,
        rescued=rescued,
        poisoned=poisoned,
        promoted=promoted,
        cancelled=cancelled,
        expired=expired,
        deleted=deleted,
    )


def expire(store: Store) -> tuple[int, int]:
    """Drop results, and forget records, whose time is over; how many of each."""
    room, expired, deleted = MAX_BATCH, 0, 0
    for (queue,) in store.rows(_SQL["ended_queues"]):
        for status in _ENDS:
            over = store.rows(_SQL["over"], queue, status, store.now)
            results, records = _let_go(store, status, over)
            room -= len(over)
            expired += results
            deleted += records
            if room <= 0:
                return expired, deleted
    return expired, deleted


def _let_go(store: Store, status: int, over: list[tuple[Any, ...]]) -> tuple[int, int]:
    """Deal with finished messages of one status; how many results were dropped, and how many records."""
    kept = [(no, end) for no, _, _, end in over if end is not None]
    store.run_many(_SQL["keep"], [(no,) for no, _ in kept])
    store.run_many(_SQL["mark_keeper"], {(end,) for _, end in kept})
    free = [(no, flags, until) for no, flags, until, end in over if end is None]
    fading = {no for no, flags, _ in free if status == _SUCCESS and not flags & EXPIRED}
    later = [(no, until) for no, _, until in free if until > store.now]
    store.run_many(_SQL["drop_result"], [(no, until) for no, until in later if no in fading])
    store.run(_SQL["drop_bodies"], as_list([no for no, _ in later if no in fading]))
    store.run_many(_SQL["look_again"], [(no, until) for no, until in later if no not in fading])
    doomed = [no for no, _, until in free if until <= store.now]
    forget(store, doomed)
    return len(fading), len(doomed)
