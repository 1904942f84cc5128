"""What a metadata store promises, one test for each claim of `reinhardt_tasks.stores.MetadataStore`."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reinhardt_tasks.contract import MAX_BATCH
from reinhardt_tasks.errors import (
    ArgumentError,
    ConfigurationError,
    MetadataConflictError,
    MetadataNotFoundError,
    OptionError,
    TransitionError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TRANSITIONS, TaskStatus
from reinhardt_tasks.stores import MetadataChange, MetadataStore, TaskMetadata
from reinhardt_tasks.testing.conformance.bench import LONG
from reinhardt_tasks.testing.conformance.metadata_finding import AwaitedRecords, FindingRecords, ForgettingRecords
from reinhardt_tasks.testing.conformance.metadata_records import Stage, fresh, stored, stored_many
from reinhardt_tasks.testing.conformance.stores import MetadataBench, promise

_Ask = Callable[[], Awaitable[object]]
_S = TaskStatus
_WRONG_NAMES = ("", "a b", "a'; DROP TABLE metadata", "{a}", "x" * 201, "a\n", None, 7)


class StoringRecords:
    """`store`, `get`, `delete`."""

    @promise
    async def test_a_record_is_read_back(self, stage: Stage) -> None:
        """By any instance, with all it was given; data are bytes that nobody looks into."""
        reader = await stage.another()
        for data in (b"", b"\x00\xc1\xff" * 1000, b"text"):
            for status in TaskStatus:
                given = fresh("a.task", status=status, task_data=data)
                assert await stage.store.store(given) is True
                read = await reader.get(given.id)
                assert (read.id, read.name, read.status, read.task_data) == (given.id, "a.task", status, data)
                assert isinstance(read.id, TaskId)
                assert isinstance(read.status, TaskStatus)

    @promise
    async def test_times_are_the_stores_own(self, stage: Stage) -> None:
        """Set when it is stored, moved on by each change, whatever the record brought along."""
        long_ago = datetime(1999, 1, 1, tzinfo=UTC)
        given = fresh(created_at=long_ago, updated_at=long_ago, version=77)
        await stage.store.store(given)
        first = await stage.store.get(given.id)
        assert first.created_at == first.updated_at
        assert first.created_at.tzinfo is UTC
        assert first.created_at - long_ago > timedelta(days=20 * 365)
        assert first.version == 1
        await stage.advance(5)
        changed = await stage.store.update_status(given.id, _S.RUNNING)
        assert changed.created_at == first.created_at
        assert timedelta(seconds=5) <= changed.updated_at - first.updated_at < timedelta(seconds=LONG)
        assert changed.version == 2

    @promise
    async def test_a_record_is_stored_once(self, stage: Stage) -> None:
        """A repeat, after an answer that was lost, changes nothing and says so; also within one call."""
        given = await stored(stage.store, task_data=b"mine")
        await stage.store.update_status(given.id, _S.RUNNING)
        again = TaskMetadata(id=given.id, name="another", status=_S.SUCCESS, task_data=b"theirs")
        assert await (await stage.another()).store(again) is False
        read = await stage.store.get(given.id)
        assert (read.name, read.status, read.task_data, read.version) == (given.name, _S.RUNNING, b"mine", 2)
        new = fresh(task_data=b"first")
        twin = TaskMetadata(id=new.id, name=new.name, task_data=b"second")
        assert await stage.store.store_many([new, again, twin, other := fresh()]) == [True, False, False, True]
        assert (await stage.store.get(new.id)).task_data == b"first"
        assert (await stage.store.get(other.id)).version == 1

    @promise
    async def test_an_unknown_record_is_an_error_that_names_it(self, stage: Stage) -> None:
        """Of its own kind, saying what to do, for whatever is asked of it."""
        id = TaskId.new()
        asks: list[_Ask] = [
            lambda: stage.store.get(id),
            lambda: stage.store.update_status(id, _S.RUNNING),
            lambda: stage.store.update_data(id, b""),
            lambda: stage.store.wait(id, 0),
        ]
        for ask in asks:
            with pytest.raises(MetadataNotFoundError, match="Check the id") as caught:
                await ask()
            assert caught.value.task_id == str(id)

    @promise
    async def test_many_are_read_in_the_order_asked_for(self, stage: Stage) -> None:
        """One answer per id, None for an unknown one, repeats repeated."""
        one, two = await stored_many(stage.store, 2)
        stray = TaskId.new()
        read = await stage.store.get_many([two, stray, one, two])
        assert [record and record.id for record in read] == [two, None, one, two]
        assert await stage.store.get_many([]) == []

    @promise
    async def test_a_deleted_record_is_gone(self, stage: Stage) -> None:
        """Whatever its status; it is no longer found, and its id is free again."""
        kept = await stored(stage.store)
        records = [await stored(stage.store, status=status) for status in TaskStatus]
        other = await stage.another()
        for record in records:
            assert [await other.delete(record.id), await stage.store.delete(record.id)] == [True, False]
            with pytest.raises(MetadataNotFoundError):
                await stage.store.get(record.id)
        assert [record.id for record in await stage.store.find()] == [kept.id]
        assert await stage.store.delete_many([kept.id, records[0].id, kept.id]) == [True, False, False]
        assert await stage.store.find(name=kept.name) == []
        assert await stage.store.store(records[0]) is True
        assert (await stage.store.get(records[0].id)).version == 1

    @promise
    async def test_an_id_is_taken_in_any_form(self, stage: Stage) -> None:
        """As a TaskId, a UUID or text; what is none is a ValueError."""
        record = await stored(stage.store)
        assert await stage.store.get(str(record.id)) == record
        assert (await stage.store.update_status(record.id.uuid, _S.RUNNING)).version == 2
        await stage.store.update_status(str(record.id).upper(), _S.SUCCESS)
        assert await stage.store.wait(str(record.id)) == await stage.store.get(record.id)
        for wrong in ("", "7", "{a}b", "x' OR 1=1", f"{record.id}\0"):
            for ask in (stage.store.get, stage.store.delete, stage.store.wait):
                with pytest.raises(ValueError, match="no task id"):
                    await ask(wrong)
            with pytest.raises(ValueError, match="no task id"):
                await stage.store.update_status(wrong, _S.RUNNING)
            with pytest.raises(ValueError, match="no task id"):
                await stage.store.find(before=wrong)
        assert await stage.store.delete(str(record.id)) is True

    @promise
    async def test_what_is_wrong_is_refused(self, stage: Stage) -> None:
        """Ids, names, statuses and data; nothing is stored, not even what stands beside it."""
        store, good = stage.store, fresh()
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            *((ConfigurationError, "no name", {"name": name}) for name in _WRONG_NAMES),
            *((ArgumentError, "bytes", {"task_data": data}) for data in ("text", None, bytearray(b"x"), 7)),
            *((ValueError, "no status", {"status": status}) for status in ("done", "running", "", None, 7)),
            *((ValueError, "no task id", {"id": id}) for id in (str(good.id), bytes(good.id), TaskId(b"short"), None)),
        ]
        for error, text, fields in cases:
            wrong = TaskMetadata(**({"id": TaskId.new(), "name": "a"} | fields))
            with pytest.raises(error, match=text):
                await store.store_many([good, wrong])
        assert await store.find() == []
        with pytest.raises(ConfigurationError, match="no name"):
            await store.find(name="a b")

    @promise
    async def test_a_change_that_is_wrong_is_refused(self, stage: Stage) -> None:
        """Whether there is such a record or not; nothing is done, not even what stands beside it."""
        record = await stored(stage.store)
        good = MetadataChange(id=record.id, status=_S.RUNNING)
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (ArgumentError, "bytes", {"task_data": "text"}),
            (ValueError, "no status", {"status": "running"}),
            (ValueError, "neither", {}),
            (ValueError, "no task id", {"id": str(record.id), "status": _S.RUNNING}),
        ]
        for error, text, fields in cases:
            with pytest.raises(error, match=text):
                await stage.store.update_many([good, MetadataChange(**({"id": record.id} | fields))])
        unlikely: Any = "done"
        with pytest.raises(ValueError, match="TaskStatus"):
            await stage.store.update_status(record.id, unlikely)
        for ask in (stage.store.get_many, stage.store.delete_many):
            with pytest.raises(ValueError, match="no task id"):
                await ask([record.id, unlikely])
        for wrong in (0, -1, float("nan"), 1e12):
            with pytest.raises(OptionError, match="ttl"):
                stage.bench.connect(ttl=wrong)
        assert await stage.store.get(record.id) == record

    @promise
    async def test_a_call_for_too_many_is_refused(self, stage: Stage) -> None:
        """More than MAX_BATCH are a ValueError, and nothing is done; MAX_BATCH are not."""
        records = [fresh() for _ in range(MAX_BATCH + 1)]
        ids = [record.id for record in records]
        changes = [MetadataChange(id=id, status=_S.RUNNING) for id in ids]
        asks: list[_Ask] = [
            lambda: stage.store.store_many(records),
            lambda: stage.store.get_many(ids),
            lambda: stage.store.update_many(changes),
            lambda: stage.store.delete_many(ids),
        ]
        for ask in asks:
            with pytest.raises(ValueError, match=f"{MAX_BATCH + 1}.*{MAX_BATCH}"):
                await ask()
        assert await stage.store.find() == []
        assert await stage.store.store_many(records[1:]) == [True] * MAX_BATCH
        assert all(isinstance(answer, TaskMetadata) for answer in await stage.store.update_many(changes[1:]))
        assert [record and record.status for record in await stage.store.get_many(ids[1:])] == [_S.RUNNING] * MAX_BATCH
        assert await stage.store.delete_many(ids[1:]) == [True] * MAX_BATCH
        assert await stage.store.find() == []

    @promise
    async def test_what_is_kept_outlives_who_stored_it(self, stage: Stage) -> None:
        """Every instance may be closed meanwhile, and opened again; closing twice does nothing."""
        record = await stored(stage.store)
        await stage.store.close()
        await stage.store.close()
        await stage.store.open()
        await stage.store.open()
        assert await stage.store.get(record.id) == record

    @promise
    async def test_a_sibling_serves_another_loop(self, stage: Stage) -> None:
        """In a thread of its own, on the same records, which live as long."""
        store = await stage.another(ttl=10)
        record = await stored(store, status=_S.RUNNING)

        async def elsewhere() -> TaskMetadata:
            async with store.sibling() as sibling:
                assert await sibling.get(record.id) == record
                return await sibling.update_status(record.id, _S.SUCCESS)

        changed = await asyncio.to_thread(asyncio.run, elsewhere())
        assert await store.get(record.id) == changed
        await stage.advance(10)
        assert await store.get_many([record.id]) == [None]


class ChangingRecords:
    """`update_status`, `update_data`, `update_many`."""

    @promise
    async def test_every_legal_step_is_made_and_no_other(self, stage: Stage) -> None:
        """By the one table of all transitions; what is refused changes nothing and says from where to where."""
        for old, new in itertools.product(TaskStatus, TaskStatus):
            record = await stored(stage.store, status=old, task_data=b"old")
            if new in TRANSITIONS[old]:
                changed = await stage.store.update_status(record.id, new, task_data=b"new")
                assert (changed.status, changed.task_data, changed.version) == (new, b"new", 2)
                assert await stage.store.get(record.id) == changed
            else:
                with pytest.raises(TransitionError) as caught:
                    await stage.store.update_status(record.id, new, task_data=b"new")
                assert (caught.value.task_id, caught.value.from_status, caught.value.to_status) == (
                    str(record.id),
                    old.value,
                    new.value,
                )
                assert await stage.store.get(record.id) == record

    @promise
    async def test_data_stay_where_none_are_given(self, stage: Stage) -> None:
        """And may be changed alone, whatever the status; empty data are data."""
        record = await stored(stage.store, task_data=b"first")
        assert (await stage.store.update_status(record.id, _S.RUNNING)).task_data == b"first"
        changed = await stage.store.update_data(record.id, b"second")
        assert (changed.status, changed.task_data, changed.version) == (_S.RUNNING, b"second", 3)
        assert (await stage.store.update_status(record.id, _S.SUCCESS, task_data=b"")).task_data == b""
        assert (await stage.store.update_data(record.id, b"third")).status is _S.SUCCESS
        assert (await stage.store.get(record.id)).task_data == b"third"

    @promise
    async def test_a_change_may_ask_for_a_version(self, stage: Stage) -> None:
        """It is made to the record as it was read, or not at all: whoever held it before is told."""
        record = await stored(stage.store)
        claim = await stage.store.update_status(record.id, _S.RUNNING, version=record.version)
        await stage.store.update_status(record.id, _S.PENDING)
        again = await (await stage.another()).update_status(record.id, _S.RUNNING, task_data=b"taken over")
        asks: list[_Ask] = [
            lambda: stage.store.update_status(record.id, _S.SUCCESS, version=claim.version),
            lambda: stage.store.update_data(record.id, b"stale", version=claim.version),
            lambda: stage.store.update_status(record.id, _S.SUCCESS, version=99),
        ]
        for ask in asks:
            with pytest.raises(MetadataConflictError, match="Read it again") as caught:
                await ask()
            assert (caught.value.task_id, caught.value.found) == (str(record.id), again.version)
        assert await stage.store.get(record.id) == again
        assert (await stage.store.update_status(record.id, _S.SUCCESS, version=again.version)).status is _S.SUCCESS

    @promise
    async def test_each_of_many_changes_is_judged_alone(self, stage: Stage) -> None:
        """One that is refused holds up no other; the answers come in order, and so do changes of one record."""
        one, two = await stored(stage.store), await stored(stage.store, status=_S.SUCCESS)
        stray = TaskId.new()
        answers = await stage.store.update_many(
            [
                MetadataChange(id=one.id, status=_S.RUNNING),
                MetadataChange(id=two.id, status=_S.RUNNING),
                MetadataChange(id=stray, status=_S.RUNNING),
                MetadataChange(id=one.id, status=_S.RETRY, version=2),
                MetadataChange(id=one.id, task_data=b"x", version=2),
                MetadataChange(id=two.id, task_data=b"y"),
            ]
        )
        kinds = [type(answer) for answer in answers]
        refused = [TransitionError, MetadataNotFoundError]
        assert kinds == [TaskMetadata, *refused, TaskMetadata, MetadataConflictError, TaskMetadata]
        assert await stage.store.get_many([one.id, two.id]) == [answers[3], answers[5]]
        assert isinstance(answers[3], TaskMetadata)
        assert (answers[3].status, answers[3].version) == (_S.RETRY, 3)
        assert await stage.store.update_many([]) == []

    @promise
    async def test_a_race_for_a_record_has_one_winner(self, stage: Stage) -> None:
        """Of many that would run it at once, one may; the others are told."""
        stores = [stage.store, await stage.another(), await stage.another()]
        record = await stored(stage.store)
        asked = [stores[n % 3].update_status(record.id, _S.RUNNING, task_data=b"%d" % n) for n in range(12)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        (winner,) = [answer for answer in answers if isinstance(answer, TaskMetadata)]
        assert sum(isinstance(answer, TransitionError) for answer in answers) == 11
        assert await stage.store.get(record.id) == winner

    @promise
    async def test_no_change_is_lost_to_another(self, stage: Stage) -> None:
        """Many that read, add and write under the version they read count every addition."""
        record = await stored(stage.store, task_data=b"0")
        stores = [stage.store, await stage.another(), await stage.another()]

        async def add(store: MetadataStore) -> None:
            while True:
                read = await store.get(record.id)
                try:
                    await store.update_data(record.id, b"%d" % (int(read.task_data) + 1), version=read.version)
                except MetadataConflictError:
                    continue
                return

        await asyncio.gather(*(add(store) for store in stores * 5))
        read = await stage.store.get(record.id)
        assert (read.task_data, read.version) == (b"15", 16)


class MetadataConformance(StoringRecords, ChangingRecords, FindingRecords, ForgettingRecords, AwaitedRecords):
    """All of it. Subclass as `Test…` and define the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> MetadataBench:
        """A fresh bench; the subclass defines it."""
        raise NotImplementedError("define a fixture `bench` in your subclass of MetadataConformance")
