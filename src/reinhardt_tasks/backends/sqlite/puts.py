"""Storing messages: many plain ones in few statements, those with keys or parents one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reinhardt_tasks.backends.sqlite import endings, timetable
from reinhardt_tasks.backends.sqlite.endings import Parent
from reinhardt_tasks.backends.sqlite.layout import CODES, FALLEN, HELD, SHORT, TOLERANT, WINDOWED, Stage, stage_for
from reinhardt_tasks.backends.sqlite.statements import statements
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Guard, Put
from reinhardt_tasks.status import TaskStatus

_SQL = statements("puts")
_INSERT: Final = _SQL["insert_message"]
_INSERT_BODY: Final = _SQL["insert_body"]
_SUCCESS: Final = CODES[TaskStatus.SUCCESS]


def put(store: Store, messages: Sequence[AnyMessage], guard: Guard | None) -> list[Put]:
    """See TaskBackend.put."""
    if guard is not None and not timetable.fire(store, guard):
        return [Put(message.id, created=False) for message in messages]
    if all(_is_plain(message) for message in messages):
        return _put_plain(store, messages)
    return [_put_one(store, message) for message in messages]


def _is_plain(message: AnyMessage) -> bool:
    """Whether it can be stored without a look at any other message."""
    return message.unique_key is None and not message.waits_on and not message.held


def _put_plain(store: Store, messages: Sequence[AnyMessage]) -> list[Put]:
    first = store.allot_rows(len(messages))
    rows = [_row(message, no, store.now) for no, message in enumerate(messages, first)]
    before = store.connection.total_changes()
    store.run_many(_INSERT, rows)
    if store.connection.total_changes() - before == len(rows):
        fresh = range(first, first + len(rows))
    else:
        store.keep_numbers()
        stored = store.rows(_SQL["stored_between"], first, first + len(rows) - 1)
        fresh = {no for (no,) in stored}  # type: ignore[assignment]
    long = [(no, one.body) for no, one in enumerate(messages, first) if len(one.body) > SHORT and no in fresh]
    if long:
        store.run_many(_INSERT_BODY, long)
    _announce(store, {row[5] for row in rows})
    return [Put(message.id, no in fresh) for no, message in enumerate(messages, first)]


def _row(message: AnyMessage, no: int, now: float) -> tuple[Any, ...]:
    """The values of `insert_message` for a message that waits for nobody."""
    run_at = now + message.delay if message.run_at is None and message.delay > 0 else message.run_at
    stage = stage_for(run_at, now)
    return (
        no,
        message.id,
        message.name,
        message.queue,
        message.priority,
        stage,
        0,
        no if stage is Stage.READY else 0,
        message.max_losses,
        run_at,
        now,
        message.result_ttl,
        message.workflow,
        message.unique_key,
        0,
        message.body if len(message.body) <= SHORT else None,
    )


def _announce(store: Store, stages: set[Stage]) -> None:
    """Ring where something can be claimed now, or falls due sooner than all else; the new row numbers say it too."""
    if Stage.READY in stages or Stage.LATER in stages:
        store.rings = True


# One by one -----------------------------------------------------------------------------------------------------------


def _put_one(store: Store, message: AnyMessage) -> Put:
    standing = _standing(store, message)
    if standing is not None:
        return Put(standing, created=False)
    parents = _parents(store, message)
    unfinished = [parent for parent in parents if parent.status < _SUCCESS]
    fallen = next((parent for parent in parents if parent.status in FALLEN and not message.tolerant), None)
    _insert(store, message, waiting_on=len(unfinished), parents=parents)
    if fallen is not None:
        endings.orphan_new(store, store.seq, fallen)
    return Put(message.id, created=True)


def _standing(store: Store, message: AnyMessage) -> TaskId | None:
    """The id that already stands for `message`."""
    if store.row(_SQL["known_id"], message.id) is not None:
        return message.id
    if message.unique_key is None:
        return None
    holder = key_holder(store, message.name, message.unique_key)
    return None if holder is None else holder[0]


def _parents(store: Store, message: AnyMessage) -> list[Parent]:
    """Those it has to wait for or to hear of: all but the successful. Raises QueueError for an unknown one."""
    parents = []
    for id in dict.fromkeys(message.waits_on):
        row = store.row(_SQL["known_id"], id)
        if row is None:
            raise QueueError(
                f"message {message.id} waits for {id}, which is not stored here; "
                "put the parent first, or earlier in the same call",
                queue=message.queue,
            )
        if row[3] != _SUCCESS:
            parents.append(Parent(*row))
    return parents


def _insert(store: Store, message: AnyMessage, *, waiting_on: int, parents: Sequence[Parent]) -> None:
    """Store a message that nothing stands for, with its key and its edges, under the number `store.seq`."""
    no = store.allot_rows(1)
    row = list(_row(message, no, store.now))
    blocked = message.held or waiting_on > 0
    stage = stage_for(row[9], store.now, blocked=blocked)
    row[5:8] = stage, _flags(message), no if stage is Stage.READY else 0
    row[14] = waiting_on
    store.run(_INSERT, *row)
    if len(message.body) > SHORT:
        store.run(_INSERT_BODY, no, message.body)
    if message.unique_key is not None:
        until = None if message.unique_for is None else store.now + message.unique_for
        store.run(_SQL["take_key"], message.name, message.unique_key, no, until)
    for parent in parents:
        store.run(_SQL["add_edge"], parent.no, no, parent.status < _SUCCESS)
        store.run(_SQL["mark_parent"], parent.no)
    _announce(store, {stage})


def _flags(message: AnyMessage) -> int:
    windowed = message.unique_for is not None
    return message.held * HELD | message.tolerant * TOLERANT | windowed * WINDOWED


def key_holder(store: Store, name: str, key: str) -> tuple[TaskId, int] | None:
    """Who keeps others from this task name and unique key: its id and row number."""
    row = store.row(_SQL["key_holder"], name, key, store.now)
    return None if row is None else (TaskId(row[0]), row[1])


def take_key(store: Store, name: str, key: str, no: int) -> None:
    """The message `no` holds the key again, until it finishes."""
    store.run(_SQL["take_key"], name, key, no, None)
