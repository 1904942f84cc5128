"""What a worker tells of its running tasks: by each exchange once, by each beat as well."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from reinhardt_tasks.context import TaskContext
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, Envelope, Progress
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.run import Run
from reinhardt_tasks.runner import Runner
from reinhardt_tasks.worker import WorkerConfig
from reinhardt_tasks.worker.care import Care
from reinhardt_tasks.worker.slots import Slots


def no_outcome(_: object) -> None:
    """Nothing ends in these tests."""


def done(reports: Any) -> list[float]:
    """How far each report says its task is."""
    return [Progress.decode(report.progress).done for report in reports]


def started() -> Run:
    """A task that runs, and has told nothing yet."""
    claim = Claim(TaskId.new(), 1, b"")
    context = TaskContext(claim, Envelope(claim.id, "app.task", "default", b""))
    slot: Any = asyncio.current_task()
    return Run(claim, context, slot, mode="thread", strategy=RetryStrategy.no_retry())


def care_of(run: Run) -> Care:
    """That of a worker which runs this one task."""
    runner = Runner(TaskQueue("memory://"), values={})
    runner.running.add(run)
    care = Care(runner, Slots(1, runner, no_outcome), WorkerConfig(), worker="one", stop=asyncio.Event())
    exchanger: Any = SimpleNamespace(ended=0)
    heartbeat: Any = None
    care.meet(exchanger, heartbeat)
    return care


async def test_a_beat_tells_what_the_next_exchange_tells_all_the_same():
    """A beat may get lost, or arrive after the end of the task: what it tells does not count as told."""
    run = started()
    care = care_of(run)
    assert care.make_beat(1, False).reports == ()
    run.context.progress(3)
    assert done(care.make_beat(2, False).reports) == [3.0]
    assert done(care.reports()) == [3.0]
    assert care.reports() == []
    assert care.make_beat(3, False).reports == ()


async def test_the_last_word_of_a_task_goes_by_an_exchange():
    """Together with its outcome, as it would be worth nothing after that."""
    run = started()
    care = care_of(run)
    run.context.progress(9)
    care._runner.running.clear()  # noqa: SLF001
    care._runner.last_reports.append(run.report())  # noqa: SLF001
    assert care.make_beat(1, False).reports == ()
    assert done(care.reports()) == [9.0]
