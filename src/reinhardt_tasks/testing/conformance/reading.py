"""What readers are told."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from reinhardt_tasks.contract import MAX_PAGE
from reinhardt_tasks.errors import BackendTaskNotFoundError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Outcome
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import ERROR, LONG, Feature, Stage, ids, message, promise

_NEED = Feature.LISTING


class Reading:
    """`get`, `find`, `counts`."""

    @promise()
    async def test_records_come_in_the_order_asked_for(self, stage: Stage) -> None:
        """One answer per id, None for an unknown one, repeats repeated."""
        one, two = await stage.put_new(2)
        stray = TaskId.new()
        records = await stage.backend.get((two.id, stray, one.id, two.id))
        assert [record and record.id for record in records] == [two.id, None, one.id, two.id]
        assert await stage.backend.get(()) == []

    @promise()
    async def test_bodies_come_only_where_asked_for(self, stage: Stage) -> None:
        """A list of records does not drag the envelopes along."""
        put = await stage.put_one()
        assert [record and record.body for record in await stage.backend.get((put.id,))] == [None]
        assert [record and record.body for record in await stage.backend.get((put.id,), body=True)] == [put.body]

    @promise()
    async def test_the_status_of_an_unknown_message_is_an_error(self, stage: Stage) -> None:
        """It names the id."""
        stray = TaskId.new()
        with pytest.raises(BackendTaskNotFoundError) as caught:
            await stage.backend.get_status(stray)
        assert caught.value.task_id == str(stray)

    @promise(_NEED)
    async def test_what_is_found_comes_newest_first(self, stage: Stage) -> None:
        """Ordered by id, falling, whatever the order of the puts."""
        messages = [message() for _ in range(5)]
        await stage.put(*messages[::2], *messages[1::2])
        assert ids(await stage.backend.find()) == sorted(ids(messages), reverse=True)

    @promise(_NEED)
    async def test_pages_continue_below_the_last_id(self, stage: Stage) -> None:
        """Page by page every record comes once."""
        put = await stage.put_new(7)
        seen: list[TaskId] = []
        while page := await stage.backend.find(limit=3, before=seen[-1] if seen else None):
            assert len(page) <= 3
            seen += ids(page)
        assert seen == sorted(ids(put), reverse=True)

    @promise(_NEED)
    async def test_a_page_has_an_end(self, stage: Stage) -> None:
        """No limit makes it longer than MAX_PAGE."""
        await stage.put_new(MAX_PAGE + 5)
        assert len(await stage.backend.find(limit=10 * MAX_PAGE)) == MAX_PAGE

    @promise(_NEED)
    async def test_filters_narrow_the_list(self, stage: Stage) -> None:
        """By queue, task, workflow and status, each alone and all together."""
        flow = TaskId.new()
        wanted = await stage.put_one(queue="q", name="t", workflow=flow)
        for options in ({"name": "t", "workflow": flow}, {"queue": "q", "workflow": flow}, {"queue": "q", "name": "t"}):
            await stage.put_one(**options)
        done = await stage.put_one(queue="done")
        hand = await stage.hand()
        await hand.settle(Outcome.success(await hand.claim_one(["done"]), b"r"))
        find = stage.backend.find
        assert [len(await find(queue="q")), len(await find(task="t")), len(await find(workflow=flow))] == [3, 3, 3]
        assert ids(await find(statuses=[TaskStatus.SUCCESS])) == [done.id]
        assert len(await find(statuses=[TaskStatus.SUCCESS, TaskStatus.PENDING])) == 5
        assert await find(statuses=[TaskStatus.FAILURE]) == []
        every = await find(queue="q", task="t", workflow=flow, statuses=[TaskStatus.PENDING], limit=5)
        assert ids(every) == [wanted.id]

    @promise(_NEED)
    async def test_a_found_record_is_the_whole_record(self, stage: Stage) -> None:
        """`find` tells of a message what `get` tells."""
        put = await stage.put_one(priority=2, queue="q", unique_key="k", workflow=TaskId.new())
        hand = await stage.hand()
        await hand.settle(Outcome.failure(await hand.claim_one(), ERROR))
        (found,) = await stage.backend.find()
        assert found == await stage.record(put)
        assert (found.unique_key, found.workflow) == ("k", put.workflow)

    @promise()
    async def test_counts_say_how_many_stand_where(self, stage: Stage) -> None:
        """Per queue, by status, ordered by the queues' names."""
        await stage.put_new(5, queue="b")
        await stage.put_new(1, queue="a")
        hand = await stage.hand()
        one, two, three, _ = await hand.claim(4, ["b"])
        await hand.settle(Outcome.success(one, b"r"), Outcome.failure(two, ERROR), Outcome.retry(three, LONG, ERROR))
        first, second = await stage.backend.counts()
        assert (first.queue, first.ready, first.paused) == ("a", 1, False)
        assert _counted(first.by_status) == {TaskStatus.PENDING: 1}
        assert (second.queue, second.ready) == ("b", 1)
        assert _counted(second.by_status) == dict.fromkeys(
            [TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.RETRY, TaskStatus.RUNNING, TaskStatus.PENDING], 1
        )

    @promise()
    async def test_an_empty_store_counts_nothing(self, stage: Stage) -> None:
        """No queues, no workers, no records."""
        assert await stage.backend.counts() == []
        assert await stage.backend.workers() == []

    @promise(Feature.WORKFLOWS)
    async def test_what_waits_for_others_is_not_ready(self, stage: Stage) -> None:
        """It counts as pending, but could not start now."""
        parent = await stage.put_one()
        await stage.put_new(2, waits_on=(parent.id,))
        (counts,) = await stage.backend.counts()
        assert (_counted(counts.by_status), counts.ready) == ({TaskStatus.PENDING: 3}, 1)


def _counted(by_status: object) -> dict[TaskStatus, int]:
    assert hasattr(by_status, "items")
    return {status: count for status, count in by_status.items() if count}
