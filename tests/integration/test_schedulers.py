"""Scheduler processes that are killed, stopped, changed from outside, or have a wrong clock: each firing comes once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.message import ScheduleRecord
from reinhardt_tasks.schedule import IntervalSchedule, Missed, OnceSchedule, Policy, Schedule
from reinhardt_tasks.scheduler import Scheduler
from reinhardt_tasks.scheduler.spec import encoded, firing_id, plan_of
from reinhardt_tasks.status import TaskStatus
from tests.integration.apps import clockwork
from tests.integration.load import patiently
from tests.integration.schedulers import (
    BACKENDS,
    LAG,
    TARGET,
    Tower,
    assert_each_second_once,
    lags,
    survive,
    tower,
)
from tests.integration.test_worker_surroundings import Clock
from tests.workshop import awaited

SLACK = 1.0
"""Seconds a shared machine may stall in the middle of a measurement."""
POLICIES: tuple[Missed, ...] = ("skip", "once", "all")
PERIOD = 200
"""Seconds: after half of it a firing is too late for "skip"."""
EARLY = 0.005
"""Seconds by which the clocks of two processes may drift apart between two comparisons."""
backends = pytest.mark.parametrize("kind", BACKENDS)


@backends
async def test_schedulers_that_are_killed_fire_each_second_once(kind, tmp_path):
    """Three of them, missed="all": none is lost, none comes twice, and none is late while one lives."""
    records, killed = await survive(kind, tmp_path, seconds=5.0, every=1.0)
    assert killed >= 2
    assert_each_second_once(records)
    assert lags(records[1:])[-1] <= LAG + SLACK


@backends
async def test_a_change_takes_effect_in_other_processes_within_a_second(kind, tmp_path):
    """Added, paused, resumed, changed, removed here; fired, or not any more, there."""
    async with tower(kind, tmp_path) as high:
        high.start()
        await high.all_working()
        await high.count("tick", 1)
        scheduler = Scheduler(clockwork.queue)
        began = time.monotonic()
        await scheduler.add("chime", IntervalSchedule(0.1), clockwork.chime.message(1))
        await high.count("chime", 1)
        assert time.monotonic() - began <= 1.0 + SLACK
        for end in (scheduler.pause, scheduler.remove):
            await end("chime")
            ended = (await scheduler.list())[-1], time.time()
            await asyncio.sleep(1.0)  # what it may take
            count = len(await high.fired("chime"))
            await high.count("tick", len(await high.fired("tick")) + 1)
            assert len(await high.fired("chime")) == count, ended
            if end is scheduler.pause:
                await scheduler.resume("chime")
                await high.count("chime", count + 1)


@backends
async def test_missed_firings_follow_the_policy_over_a_stop_and_a_start(kind, tmp_path):
    """Nobody is there for two and a half periods: "all" has both firings, "once" the later one, "skip" none.

    What is due less than a minute before the next start is fired by each of them.
    """
    async with tower(kind, tmp_path, clock=True) as high:
        begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
        for policy in POLICIES:
            periodic = IntervalSchedule(PERIOD, start=begin)
            await Scheduler(clockwork.queue).add(policy, periodic, clockwork.chime.message(), missed=policy)
        await one_shift(high, begin, {"skip": {0}, "once": {0}, "all": {0}})
        high.advance(2.5 * PERIOD)
        await one_shift(high, begin, {"skip": {0}, "once": {0, 2}, "all": {0, 1, 2}})
        high.advance(0.5 * PERIOD)
        await one_shift(high, begin, {"skip": {0, 3}, "once": {0, 2, 3}, "all": {0, 1, 2, 3}})
        assert_each_second_once(await high.fired("tick"))


async def one_shift(high: Tower, begin: datetime, expected: dict[Missed, set[int]]) -> None:
    """A scheduler from its start until so much has been fired in all, and nothing besides when it has stopped."""

    async def look() -> bool:
        found = await fired_periods(high, begin)
        return all(found[policy] >= expected[policy] for policy in POLICIES)

    crew = high.start()
    await awaited(look, timeout=30)
    crew.signal(signal.SIGTERM)
    assert crew.ended() == 0
    assert await fired_periods(high, begin) == expected


async def fired_periods(high: Tower, begin: datetime) -> dict[Missed, set[int]]:
    """Which of the first firings there are, by the policy that is the name of their schedule."""
    firings = {
        (policy, number): firing_id(policy, begin.timestamp() + number * PERIOD)
        for policy in POLICIES
        for number in range(5)
    }
    records = await high.backend.get(list(firings.values()))
    there = [firing for firing, record in zip(firings, records, strict=True) if record is not None]
    return {policy: {number for name, number in there if name == policy} for policy in POLICIES}


@backends
async def test_a_scheduler_with_a_wrong_clock_doubles_nothing(kind, tmp_path):
    """An hour ahead, an hour behind, beside one that is right. Where the broker has a clock, it is that one's hour.

    SQLite has none: it follows each process's own, so that the one ahead fires what is due in an hour.
    """
    async with tower(kind, tmp_path) as high:
        for seconds in (0, 3600, -3600):
            high.start(Clock(tmp_path / f"clock{seconds}", seconds).environment)
        await high.all_working()
        ticks = await high.count("tick", 5)
        assert len({record.run_at for record in ticks}) == len(ticks)
        if kind != "sqlite":
            assert_each_second_once(ticks)
            assert lags(ticks)[0] >= -EARLY
            assert lags(ticks[1:])[-1] <= LAG + SLACK


async def test_a_clock_that_jumps_while_it_runs_doubles_nothing(tmp_path):
    """An hour ahead, then back: the broker's clock is what counts."""
    async with tower("redis", tmp_path) as high:
        clock = Clock(tmp_path / "clock", 0)
        high.start(clock.environment)
        await high.all_working()
        for seconds in (3600, -3600, 0):
            await high.count("tick", len(await high.fired("tick")) + 2)
            clock.shift(seconds)
        ticks = await high.count("tick", len(await high.fired("tick")) + 2)
        assert_each_second_once(ticks)
        assert lags(ticks)[0] >= -EARLY


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_a_broker_that_crashes_while_something_is_due_loses_no_firing(kind, tmp_path):
    """The seconds of the outage come when it is back, each once, and the scheduler goes on by itself."""
    async with tower(kind, tmp_path, durable=True) as high:
        high.start()
        await high.all_working()
        await high.count("tick", 2)
        high.server.kill()
        await asyncio.sleep(2.0)  # as long as it is away
        high.server.start()
        ticks = await patiently(lambda: high.count("tick", 7))
        assert_each_second_once(ticks)
        assert high.working() == high.crews


# Many ----------------------------------------------------------------------------------------------------------------


def stored(name: str, when: Schedule) -> ScheduleRecord:
    """A schedule as `Scheduler.add` stores it."""
    plan = plan_of(when, Policy(), clockwork.chime.message(1), clockwork.queue.seal)
    since = datetime.now(UTC).timestamp()
    return ScheduleRecord(name=name, spec=encoded(name, plan, since=since, origin="stored", seal=clockwork.queue.seal))


def processor_seconds(pid: int) -> float:
    """What a process has used of processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def calm(pid: int) -> float:
    """The share of a processor that a process uses, once that is little, over a second; at worst what it is then."""
    share = 1.0
    for _ in range(30):
        before, began = processor_seconds(pid), time.monotonic()
        await asyncio.sleep(1.0)  # the time over which it is measured
        share = (processor_seconds(pid) - before) / (time.monotonic() - began)
        if share < 0.03:
            break
    return share


async def many_schedules(kind: str, directory: Path, number: int, *, slack: float) -> None:
    """So many, almost all of them quiet: what they cost, and how late those are that are due."""
    async with tower(kind, directory) as high:
        quiet = [
            stored(f"quiet{one}", CronSchedule(f"{one % 60} {one % 24} 1 1 *", "Europe/Riga")) for one in range(number)
        ]
        for start in range(0, len(quiet), 500):
            await asyncio.gather(*(high.backend.save_schedule(record) for record in quiet[start : start + 500]))
        crew = high.start()
        await high.all_working()
        await high.count("tick", 1)
        idle = await calm(crew.pid)
        soon = datetime.now(UTC) + timedelta(seconds=3)
        busy = [stored(f"busy{n}", OnceSchedule(soon + n * timedelta(seconds=0.02))) for n in range(200)]
        await asyncio.gather(*(high.backend.save_schedule(record) for record in busy))
        records = await high.count("chime", 200)
        late = lags(records)
        print(f"{kind}: idle={idle:.3f} p50={late[100]:.4f} p99={late[197]:.4f} max={late[-1]:.4f}")  # noqa: T201
        assert len({record.run_at for record in records}) == 200
        assert idle < 0.03 + slack / 10
        assert late[0] >= -EARLY
        assert late[197] <= 0.2 + slack


async def test_thousands_of_schedules_cost_next_to_nothing(tmp_path):
    """While nothing is due, and they do not delay what is."""
    await many_schedules("sqlite", tmp_path, 2_000, slack=SLACK)


# Inside workers ------------------------------------------------------------------------------------------------------


async def test_workers_fire_and_run_what_is_due(tmp_path):
    """Two of them, without a scheduler beside them; one that is told not to fires nothing."""
    async with tower("sqlite", tmp_path) as high:
        high.place.start("--no-scheduler", target=TARGET)
        idle = await awaited(high.backend.workers, timeout=30)
        assert len(idle) == 1
        assert await high.backend.load_schedules() == []
        for _ in range(2):
            high.place.start(target=TARGET)
        records = await high.count("tick", 4)
        assert_each_second_once(records)

        async def done() -> bool:
            return (await high.fired("tick"))[0].status is TaskStatus.SUCCESS

        await awaited(done)
