"""Workflows put in several steps and started by one."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

from reinhardt_tasks.contract import HELD_TTL
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Outcome
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.testing.conformance.bench import Feature, Stage, ids, message, promise

_NEED = Feature.WORKFLOWS


class HeldWorkflows:
    """`workflow`, `held` and `start_workflow`."""

    @promise(_NEED)
    async def test_a_held_workflow_starts_as_a_whole(self, stage: Stage) -> None:
        """Nothing of it runs before `start_workflow`, everything that is ready runs after."""
        end = TaskId.new()
        first = await stage.put_new(3, workflow=end, held=True)
        last = message(workflow=end, held=True, waits_on=tuple(ids(first)))
        await stage.put(last)
        hand = await stage.hand()
        assert await hand.claim(9) == []
        assert await stage.backend.start_workflow(end) is True
        claims = await hand.claim(9)
        assert ids(claims) == ids(first)
        answer = await hand.exchange(*(Outcome.success(claim, b"r") for claim in claims), want=9)
        assert ids(answer.claims) == [last.id]

    @promise(_NEED)
    async def test_starting_a_workflow_may_be_repeated(self, stage: Stage) -> None:
        """The second time nothing is held, and nothing happens; nor for one that is unknown."""
        end = TaskId.new()
        await stage.put_new(2, workflow=end, held=True)
        assert [await stage.backend.start_workflow(end) for _ in range(2)] == [True, False]
        assert await stage.backend.start_workflow(TaskId.new()) is False
        assert len(await (await stage.hand()).claim(9)) == 2

    @promise(_NEED)
    async def test_starting_one_workflow_starts_no_other(self, stage: Stage) -> None:
        """Each is held by its own id."""
        mine, other = await stage.put_new(2, workflow=TaskId.new(), held=True), TaskId.new()
        await stage.put_new(2, workflow=other, held=True)
        assert mine[0].workflow is not None
        await stage.backend.start_workflow(mine[0].workflow)
        assert ids(await (await stage.hand()).claim(9)) == ids(mine)

    @promise(_NEED)
    async def test_a_held_message_keeps_its_other_reasons_to_wait(self, stage: Stage) -> None:
        """Starting the workflow does not make a delayed message due."""
        end = TaskId.new()
        put = await stage.put_one(workflow=end, held=True, delay=2 * stage.moment)
        await stage.backend.start_workflow(end)
        hand = await stage.hand()
        assert await hand.claim(1) == []
        await stage.advance(2 * stage.moment)
        assert ids(await hand.claim(1)) == [put.id]

    @promise(_NEED)
    async def test_a_workflow_that_was_started_is_not_dropped(self, stage: Stage) -> None:
        """However long its messages wait in line after that."""
        end = TaskId.new()
        put = await stage.put_new(2, workflow=end, held=True)
        await stage.backend.start_workflow(end)
        await stage.advance(2 * HELD_TTL)
        assert (await stage.sweep()).cancelled == 0
        assert await stage.statuses(*put) == [TaskStatus.PENDING] * 2

    @promise(_NEED)
    async def test_a_requeue_does_not_start_what_is_held(self, stage: Stage) -> None:
        """A message cancelled and requeued before its workflow starts still waits for that."""
        end = TaskId.new()
        put = await stage.put_one(workflow=end, held=True)
        await stage.backend.cancel((put.id,))
        await stage.backend.requeue((put.id,))
        hand = await stage.hand()
        assert await hand.claim(1) == []
        assert await stage.backend.start_workflow(end) is True
        assert ids(await hand.claim(1)) == [put.id]

    @promise(_NEED)
    async def test_a_workflow_never_started_is_dropped(self, stage: Stage) -> None:
        """When its producer died between the put and the start, the sweep cancels it after HELD_TTL."""
        put = await stage.put_new(3, workflow=TaskId.new(), held=True)
        await stage.advance(HELD_TTL / 2)
        assert (await stage.sweep()).cancelled == 0
        await stage.advance(HELD_TTL / 2)
        assert (await stage.sweep()).cancelled == 3
        assert await stage.statuses(*put) == [TaskStatus.CANCELLED] * 3
