"""What a metadata store promises of reading: finding, waiting for an end, and what is forgotten when."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reinhardt_tasks.contract import MAX_PAGE
from reinhardt_tasks.errors import (
    MetadataNotFoundError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import DEAD_LETTER_TTL
from reinhardt_tasks.status import FINISHED, UNFINISHED, TaskStatus
from reinhardt_tasks.testing.conformance.bench import LONG, underway
from reinhardt_tasks.testing.conformance.metadata_records import Stage, fresh, stored, stored_many
from reinhardt_tasks.testing.conformance.stores import promise

_Ask = Callable[[], Awaitable[object]]
_S = TaskStatus


class FindingRecords:
    """`find`."""

    @promise
    async def test_what_is_found_comes_newest_first(self, stage: Stage) -> None:
        """Ordered by id, falling, whatever the order in which it was stored."""
        records = [fresh() for _ in range(6)]
        await stage.store.store_many([*records[::2], *records[1::2]])
        found = await stage.store.find()
        assert [record.id for record in found] == sorted((record.id for record in records), reverse=True)
        assert found == await stage.store.get_many([record.id for record in found])

    @promise
    async def test_pages_continue_below_the_last_id(self, stage: Stage) -> None:
        """Page by page every record comes once, with filters and without."""
        ids = await stored_many(stage.store, 7)
        others = await stored_many(stage.store, 4, name="another", status=_S.RUNNING)
        cases: list[tuple[dict[str, Any], list[TaskId]]] = [
            ({}, ids + others),
            ({"name": "conformance.task"}, ids),
            ({"statuses": [_S.RUNNING]}, others),
            ({"statuses": list(TaskStatus)}, ids + others),
        ]
        for filters, wanted in cases:
            seen: list[TaskId] = []
            while page := await stage.store.find(**filters, limit=3, before=seen[-1] if seen else None):
                assert len(page) <= 3
                seen += [record.id for record in page]
            assert seen == sorted(wanted, reverse=True)

    @promise
    async def test_filters_narrow_the_list(self, stage: Stage) -> None:
        """By status and name, alone and together, as the records stand now."""
        moved = await stored(stage.store, "a")
        for name, status in itertools.product(("a", "b"), TaskStatus):
            await stored(stage.store, name, status=status)
        await stage.store.update_status(moved.id, _S.RUNNING)

        async def found(**filters: Any) -> list[tuple[str, TaskStatus]]:
            return [(record.name, record.status) for record in await stage.store.find(**filters)]

        assert await found(name="b", statuses=[_S.FAILURE]) == [("b", _S.FAILURE)]
        assert sorted(await found(statuses=[_S.RUNNING])) == [("a", _S.RUNNING)] * 2 + [("b", _S.RUNNING)]
        assert sorted(await found(statuses={_S.RETRY, _S.SUCCESS}, name="a")) == [("a", _S.RETRY), ("a", _S.SUCCESS)]
        assert len(await found(name="a")) == 7
        assert await found(name="A") == []
        assert len(await found(statuses=list(TaskStatus))) == 13

    @promise
    async def test_a_page_has_an_end(self, stage: Stage) -> None:
        """No limit makes it longer than MAX_PAGE; one below 1 is a ValueError."""
        await stored_many(stage.store, MAX_PAGE + 5)
        assert len(await stage.store.find()) == 50
        assert len(await stage.store.find(limit=10 * MAX_PAGE)) == MAX_PAGE
        assert len(await stage.store.find(statuses=[_S.PENDING], name="conformance.task", limit=1000)) == MAX_PAGE
        for wrong in (0, -1, True, 2.5):
            with pytest.raises(ValueError, match="limit"):
                await stage.store.find(limit=wrong)  # type: ignore[arg-type]

    @promise
    async def test_a_few_are_found_among_many(self, stage: Stage) -> None:
        """The oldest of thousands, by name, by status and by both."""
        rare = await stored_many(stage.store, 3, name="rare", status=_S.RETRY)
        await stored_many(stage.store, 3000)
        await stored_many(stage.store, 1000, name="rare", status=_S.FAILURE)
        newest = sorted(rare, reverse=True)
        cases: list[dict[str, Any]] = [{"statuses": [_S.RETRY]}, {"name": "rare", "statuses": set(UNFINISHED)}]
        for filters in cases:
            assert [record.id for record in await stage.store.find(**filters)] == newest
        below = max(rare)
        assert [record.id for record in await stage.store.find(name="rare", before=below)] == newest[1:]


class ForgettingRecords:
    """`ttl`."""

    @promise
    async def test_a_finished_record_is_forgotten_after_its_time(self, stage: Stage) -> None:
        """`ttl` seconds after it finished, for every verb; its id is free again."""
        store = await stage.another(ttl=100)
        ended = [await stored(store, status=status) for status in sorted(FINISHED)]
        running = await stored(store, status=_S.RUNNING)
        await stage.advance(50)
        await store.update_status(running.id, _S.SUCCESS)
        await stage.advance(40)
        assert len(await stage.store.find()) == 4
        await stage.advance(10)
        assert [record.id for record in await stage.store.find()] == [running.id]
        for record in ended:
            for ask in (store.get, store.wait):
                with pytest.raises(MetadataNotFoundError):
                    await ask(record.id)
            with pytest.raises(MetadataNotFoundError):
                await store.update_data(record.id, b"")
            assert await store.delete(record.id) is False
            assert await store.store(record) is True
        await stage.advance(50)
        assert {record.id for record in await stage.store.find()} == {record.id for record in ended}

    @promise
    async def test_a_record_that_is_not_finished_is_never_forgotten(self, stage: Stage) -> None:
        """However long it waits; one that was finished and is requeued is not finished."""
        store = await stage.another(ttl=10)
        ids = [(await stored(store, status=status)).id for status in sorted(UNFINISHED)]
        requeued = await stored(store, status=_S.FAILURE)
        await store.update_status(requeued.id, _S.PENDING)
        await stage.advance(30 * 86_400)
        assert None not in await store.get_many([*ids, requeued.id])

    @promise
    async def test_the_time_begins_when_the_task_finishes(self, stage: Stage) -> None:
        """Not when the record was stored; a change of data alone does not put it off."""
        store = await stage.another(ttl=100)
        record = await stored(store)
        await stage.advance(1000)
        await store.update_status(record.id, _S.CANCELLED)
        await stage.advance(60)
        await store.update_data(record.id, b"looked at")
        await stage.advance(30)
        assert (await store.get(record.id)).task_data == b"looked at"
        await stage.advance(10)
        assert await store.get_many([record.id]) == [None]

    @promise
    async def test_a_week_is_what_is_kept_if_nothing_is_said(self, stage: Stage) -> None:
        """As long as dead letters are kept in a queue."""
        record = await stored(stage.store, status=_S.FAILURE)
        await stage.advance(DEAD_LETTER_TTL - 10)
        assert await stage.store.get_many([record.id]) == [record]
        await stage.advance(10)
        assert await stage.store.get_many([record.id]) == [None]


class AwaitedRecords:
    """`wait`."""

    @promise
    async def test_a_finished_record_is_not_waited_for(self, stage: Stage) -> None:
        """Not even with no time at all."""
        for status in FINISHED:
            record = await stored(stage.store, status=status)
            assert await stage.store.wait(record.id, 0) == record

    @promise
    async def test_waiting_ends_when_the_task_is_finished(self, stage: Stage) -> None:
        """By this instance or another, for everybody who waits for it; other changes and other tasks end no wait."""
        reader, writer = await stage.another(), await stage.another()
        record, other = await stored(stage.store), await stored(stage.store)
        waiting = [await underway(store.wait(record.id, LONG)) for store in (stage.store, stage.store, reader)]
        stranger = await underway(reader.wait(other.id, LONG))
        await writer.update_status(record.id, _S.RUNNING)
        await writer.update_data(record.id, b"half-way")
        await writer.update_status(record.id, _S.SUCCESS, task_data=b"done")
        seen = await asyncio.gather(*waiting)
        assert [record and (record.status, record.task_data) for record in seen] == [(_S.SUCCESS, b"done")] * 3
        assert not stranger.done()
        await writer.update_status(other.id, _S.CANCELLED)
        ended = await stranger
        assert ended is not None
        assert ended.status is _S.CANCELLED

    @promise
    async def test_waiting_has_an_end(self, stage: Stage) -> None:
        """After `timeout` seconds there is no answer; the task may still finish."""
        record = await stored(stage.store, status=_S.RUNNING)
        assert await stage.store.wait(record.id, 0) is None
        assert await stage.store.wait(record.id, 0.05) is None
        with pytest.raises(ValueError, match="timeout"):
            await stage.store.wait(record.id, -1)
        waiting = await underway(stage.store.wait(record.id))
        await stage.store.update_status(record.id, _S.FAILURE)
        assert (await waiting) == await stage.store.get(record.id)

    @promise
    async def test_nobody_waits_for_what_was_deleted(self, stage: Stage) -> None:
        """Whoever does is told at once."""
        record = await stored(stage.store)
        waiting = await underway(stage.store.wait(record.id, LONG))
        await (await stage.another()).delete(record.id)
        with pytest.raises(MetadataNotFoundError):
            await waiting

    @promise
    async def test_nobody_is_kept_waiting_by_a_race(self, stage: Stage) -> None:
        """Whether the task finishes before the wait begins, while it begins, or after."""
        writer = await stage.another()
        for _ in range(100):
            record = await stored(stage.store, status=_S.RUNNING)
            changed, ended = await asyncio.gather(
                writer.update_status(record.id, _S.SUCCESS), stage.store.wait(record.id, LONG)
            )
            assert changed == ended
