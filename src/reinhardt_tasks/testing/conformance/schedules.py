"""Stored schedules, and the guard that makes each firing happen once."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.message import AnyMessage, Guard, Put, ScheduleRecord
from reinhardt_tasks.testing.conformance.bench import LONG, Feature, Stage, message, promise, underway

_NEED = Feature.SCHEDULES


class Schedules:
    """`save_schedule`, `load_schedules`, `remove_schedule`, `watch_schedules`, and `put` with a guard."""

    @promise(_NEED)
    async def test_a_saved_schedule_is_loaded(self, stage: Stage) -> None:
        """With everything it was saved with, by every instance, ordered by name."""
        saved = [
            await stage.backend.save_schedule(ScheduleRecord(name=name, spec=spec, last_due=due, paused=paused))
            for name, spec, due, paused in (("b", b"\x00\xff", 12.5, True), ("a", b"spec", None, False))
        ]
        assert [(one.name, one.spec, one.last_due, one.paused) for one in saved] == [
            ("b", b"\x00\xff", 12.5, True),
            ("a", b"spec", None, False),
        ]
        assert await (await stage.another()).load_schedules() == saved[::-1]

    @promise(_NEED)
    async def test_saving_again_replaces_and_raises_the_version(self, stage: Stage) -> None:
        """One schedule per name; its version tells that it changed."""
        first = await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1"))
        second = await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"2", paused=True))
        assert second.version > first.version
        assert await stage.backend.load_schedules() == [second]

    @promise(_NEED)
    async def test_saving_without_a_last_due_keeps_the_stored_one(self, stage: Stage) -> None:
        """A deploy that saves its schedules anew does not make them forget what has fired."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=100.0))
        kept = await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"2"))
        assert (kept.last_due, kept.spec) == (100.0, b"2")
        changed = await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"2", last_due=200.0))
        assert changed.last_due == 200.0

    @promise(_NEED)
    async def test_a_removed_schedule_is_gone(self, stage: Stage) -> None:
        """False when there was none."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=5.0))
        assert [await stage.backend.remove_schedule("s") for _ in range(2)] == [True, False]
        assert await stage.backend.load_schedules() == []
        assert (await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1"))).last_due is None

    @promise(_NEED)
    async def test_a_firing_moves_the_schedule_on(self, stage: Stage) -> None:
        """The message is stored and the last due set in one step, from no last due and from an earlier one."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1"))
        for expected, due in ((None, 60.25), (60.25, 120.5)):
            put = message()
            assert await _fire(stage, put, expected, due) == [Put(put.id, created=True)]
            assert [one.last_due for one in await stage.backend.load_schedules()] == [due]

    @promise(_NEED)
    async def test_a_firing_happens_once(self, stage: Stage) -> None:
        """Of two schedulers that fire the same moment, one stores its message and the other nothing."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=60.0))
        first, second = message(), message()
        assert await _fire(stage, first, 60.0, 120.0) == [Put(first.id, created=True)]
        assert await _fire(stage, second, 60.0, 120.0) == [Put(second.id, created=False)]
        assert await stage.backend.get((second.id,)) == [None]

    @promise(_NEED)
    async def test_many_schedulers_fire_each_moment_once(self, stage: Stage) -> None:
        """Instances that race for the same firings store one message for each."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=0.0))
        instances = [await stage.another() for _ in range(4)]
        for due in range(1, 11):
            guard = Guard("s", float(due - 1), float(due))
            puts = await asyncio.gather(*(one.put((message(),), guard=guard) for one in instances))
            assert sum(answer[0].created for answer in puts) == 1
        assert len(await (await stage.hand()).claim(99)) == 10

    @promise(_NEED)
    async def test_a_firing_of_an_unknown_schedule_stores_nothing(self, stage: Stage) -> None:
        """A schedule removed meanwhile does not fire, whatever it was last due."""
        put = message()
        assert await _fire(stage, put, None, 60.0) == [Put(put.id, created=False)]
        assert await stage.backend.get((put.id,)) == [None]
        assert await stage.backend.load_schedules() == []

    @promise(_NEED, Feature.UNIQUE_KEYS)
    async def test_a_firing_whose_message_is_a_duplicate_counts(self, stage: Stage) -> None:
        """With a unique key a run that still goes on swallows the next firing; the schedule moves on all the same."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=60.0))
        running = await stage.put_one(unique_key="overlap")
        assert await _fire(stage, message(unique_key="overlap"), 60.0, 120.0) == [Put(running.id, created=False)]
        assert [one.last_due for one in await stage.backend.load_schedules()] == [120.0]

    @promise(_NEED)
    async def test_watching_tells_of_each_change(self, stage: Stage) -> None:
        """The counter differs after a save and after a removal, and is answered at once where it already does."""
        seen = await stage.backend.watch_schedules(-1, LONG)
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1"))
        saved = await stage.backend.watch_schedules(seen, LONG)
        await stage.backend.remove_schedule("s")
        removed = await stage.backend.watch_schedules(saved, LONG)
        assert len({seen, saved, removed}) == 3

    @promise(_NEED)
    async def test_a_change_is_pushed_to_those_who_watch(self, stage: Stage) -> None:
        """A watcher of another instance is woken, long before its timeout."""
        other = await stage.another()
        seen = await other.watch_schedules(-1, LONG)
        async with asyncio.timeout(LONG):
            watching = await underway(other.watch_schedules(seen, 10 * LONG))
            await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1"))
            assert await watching != seen

    @promise(_NEED)
    async def test_watching_without_a_change_ends_with_the_timeout(self, stage: Stage) -> None:
        """It answers the counter as it was."""
        seen = await stage.backend.watch_schedules(-1, LONG)
        started = time.monotonic()
        assert await stage.backend.watch_schedules(seen, 0.05) == seen
        assert time.monotonic() - started >= 0.04

    @promise(_NEED, Feature.WORKFLOWS)
    async def test_a_guard_that_fails_spoils_nothing(self, stage: Stage) -> None:
        """An error in the messages leaves the schedule where it was."""
        await stage.backend.save_schedule(ScheduleRecord(name="s", spec=b"1", last_due=60.0))
        bad = msgspec.structs.replace(message(), waits_on=(message().id,))
        with pytest.raises(QueueError):
            await _fire(stage, bad, 60.0, 120.0)
        assert [one.last_due for one in await stage.backend.load_schedules()] == [60.0]


async def _fire(stage: Stage, put: AnyMessage, expected: float | None, due: float) -> list[Put]:
    return await stage.backend.put((put,), guard=Guard("s", expected, due))
