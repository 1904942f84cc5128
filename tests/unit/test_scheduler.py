"""Schedules in a backend: what is stored and told, who fires what, and what stops nobody. Over the memory backend."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import current_task
from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.errors import (
    ArgumentError,
    BackendUnavailableError,
    ConfigurationError,
    QueueError,
    ScheduleError,
    ScheduleNotFoundError,
    UnsupportedError,
)
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.message import Record, ScheduleRecord
from reinhardt_tasks.middleware import Middleware, Next
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.schedule import IntervalSchedule, OnceSchedule
from reinhardt_tasks.scheduler import Scheduler
from reinhardt_tasks.scheduler.spec import DUE_HEADER, NAME_HEADER, firing_id
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.workshop import at_work, awaited


class Own:
    """A schedule of the application's own."""

    def next_after(self, moment: datetime) -> datetime | None:
        return None


OFTEN = IntervalSchedule(0.1)
NEVER_YET = OnceSchedule(datetime(2100, 1, 1, tzinfo=UTC))


def make_queue(backend: MemoryBackend | None = None, **settings) -> TaskQueue:
    """An application with one task, `say`, on a backend that may be shared."""
    queue = TaskQueue(backend or MemoryBackend(), QueueConfig(**settings))

    @queue.task(name="say", queue="voices", priority=7)
    async def say(word: str = "hello", times: int = 1) -> str:
        return word * times

    return queue


@pytest.fixture
def backend() -> MemoryBackend:
    """What everybody in a test shares."""
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    """The application."""
    return make_queue(backend)


@contextlib.asynccontextmanager
async def firing(*queues: TaskQueue) -> AsyncIterator[list[Scheduler]]:
    """A scheduler at work for each queue, stopped at the end. What one raises fails the test."""
    schedulers = [Scheduler(queue) for queue in queues]
    running = [asyncio.create_task(scheduler.run()) for scheduler in schedulers]
    try:
        yield schedulers
    finally:
        for scheduler in schedulers:
            scheduler.stop()
        await asyncio.wait_for(asyncio.gather(*running), 20)


async def messages(backend: MemoryBackend) -> list[Record]:
    """All messages, oldest first."""
    return (await backend.find(limit=200))[::-1]


async def fired(backend: MemoryBackend, count: int) -> list[Record]:
    """The messages once there are so many."""

    async def look() -> list[Record] | None:
        found = await messages(backend)
        return found if len(found) >= count else None

    return (await awaited(look))[:count]


async def set_back(backend: MemoryBackend, name: str, *, last_due: float) -> None:
    """As if the schedule had been last due then, and stored long before."""
    record = next(one for one in await backend.load_schedules() if one.name == name)
    fields = msgspec.msgpack.decode(record.spec) | {"since": 0.0}
    spec = msgspec.msgpack.encode(fields)
    await backend.save_schedule(msgspec.structs.replace(record, spec=spec, last_due=last_due))


# Adding and looking --------------------------------------------------------------------------------------------------


async def test_what_is_added_is_listed(queue):
    """With when and how it is due, and what it enqueues."""
    say, scheduler = queue.tasks["say"], Scheduler(queue)
    await scheduler.add("b", CronSchedule("0 9 * * *", "Asia/Tokyo"), say.message("hi"), missed="all", max_missed=5)
    await scheduler.add("a", IntervalSchedule(3600), say.using(priority=2, queue="low").message(), overlap="skip")
    first, second = await scheduler.list()
    assert (first.name, first.text, first.task, first.queue, first.priority) == ("a", "Every 1 h", "say", "low", 2)
    assert (second.name, second.when) == ("b", CronSchedule("0 9 * * *", "Asia/Tokyo"))
    assert (second.policy.missed, second.policy.max_missed, first.policy.overlap) == ("all", 5, "skip")
    assert second.arguments == {"word": "hi"}
    assert second.next_at == CronSchedule("0 9 * * *", "Asia/Tokyo").next_after(datetime.now(UTC))
    assert (first.origin, first.paused, first.last_at, first.last, first.problem) == ("stored", False, None, None, None)
    assert await scheduler.get("b") == second


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (("taken", OFTEN), ScheduleError, "there is a schedule taken already; change it, or remove it first"),
        (("bad name", OFTEN), ScheduleError, "no name for a schedule"),
        (("", OFTEN), ScheduleError, "no name for a schedule"),
        (("x" * 201, OFTEN), ScheduleError, "no name for a schedule"),
        (("a\n", OFTEN), ScheduleError, "no name for a schedule"),
        (("past", OnceSchedule(datetime(2020, 1, 1, tzinfo=UTC))), ScheduleError, "would never be due"),
        (("own", Own()), ScheduleError, "keep it in the code"),
        (("text", "0 9 * * *"), ScheduleError, "keep it in the code"),
    ],
    ids=["taken", "blank", "empty", "long", "newline", "past", "own", "text"],
)
async def test_what_cannot_be_added_is_refused(queue, arguments, error, reason):
    """Nothing is stored then."""
    scheduler, message = Scheduler(queue), queue.tasks["say"].message()
    await scheduler.add("taken", NEVER_YET, message)
    with pytest.raises(error, match=reason):
        await scheduler.add(*arguments, message)
    assert [info.name for info in await scheduler.list()] == ["taken"]


async def test_only_a_message_that_can_be_sent_again_and_again_is_scheduled(queue):
    """One that has a moment of its own cannot; one with a window of uniqueness cannot skip overlaps as well."""
    say, scheduler = queue.tasks["say"], Scheduler(queue)
    for message in (say.using(delay=5).message(), say.using(run_at=datetime(2100, 1, 1, tzinfo=UTC)).message(), "say"):
        with pytest.raises(ScheduleError):
            await scheduler.add("s", OFTEN, message)
    unique = say.using(unique_key="k", unique_for=60).message()
    with pytest.raises(ScheduleError, match="exclude each other"):
        await scheduler.add("s", OFTEN, unique, overlap="skip")
    with pytest.raises(ScheduleError, match="missed is one of"):
        await scheduler.add("s", OFTEN, say.message(), missed="never")
    await scheduler.add("s", NEVER_YET, unique)
    with pytest.raises(ScheduleError, match="exclude each other"):
        await scheduler.change("s", overlap="skip")


async def test_a_name_that_is_not_there_is_told(queue):
    """By all that work on one schedule; removing says so by its answer."""
    scheduler = Scheduler(queue)
    for work in (scheduler.get, scheduler.pause, scheduler.resume, scheduler.run_now, scheduler.change):
        with pytest.raises(ScheduleNotFoundError, match="There is no schedule nobody here"):
            await work("nobody")
    assert await scheduler.remove("nobody") is False


# Firing --------------------------------------------------------------------------------------------------------------


async def test_what_is_due_is_enqueued_with_its_moment(backend, queue):
    """Each firing is one message with the arguments, queue and priority of the schedule, due at the moment."""
    await Scheduler(queue).add("greet", OFTEN, queue.tasks["say"].using(headers={"a": "b"}).message("hi"), missed="all")
    async with firing(queue):
        found = await fired(backend, 5)
    assert {(record.name, record.queue, record.priority) for record in found} == {("say", "voices", 7)}
    dues = [record.run_at for record in found]
    assert [round(due - dues[0], 3) for due in dues] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [record.id for record in found] == [firing_id("greet", due) for due in dues]
    info = await Scheduler(queue).get("greet")
    assert info.last_at >= datetime.fromtimestamp(dues[-1], UTC)
    assert info.last is not None
    assert info.last.status is TaskStatus.PENDING


async def test_a_task_is_told_when_it_was_due_and_why(backend, queue):
    """By its schedule's name, and the moment, also where jitter lets it start later."""
    seen: list[tuple[dict[str, str], datetime | None]] = []

    @queue.task(name="look")
    async def look() -> None:
        seen.append((dict(current_task().headers), current_task().scheduled_for))

    await Scheduler(queue).add("late", IntervalSchedule(0.1), look.message(), jitter=0.2)
    async with at_work(queue):
        await eventually_async(lambda: len(seen) >= 8)
    late = []
    for headers, scheduled_for in seen:
        assert headers[NAME_HEADER] == "late"
        late.append((scheduled_for - datetime.fromisoformat(headers[DUE_HEADER])).total_seconds())
    assert all(0 <= one <= 0.2 for one in late)
    assert len(set(late)) > 1


async def test_many_schedulers_fire_each_moment_once(backend, queue):
    """Four, on one backend, of two applications; none is left out and none comes twice."""
    queues = [queue, *(make_queue(backend) for _ in range(3))]
    await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].message(), missed="all")
    async with firing(*queues):
        found = await fired(backend, 20)
    dues = [round(record.run_at * 10) for record in found]
    assert dues == list(range(dues[0], dues[0] + 20))


async def test_a_change_is_heard_at_once(backend, queue):
    """Added, changed, paused, resumed and removed while others fire: within a second each."""
    other, here = make_queue(backend), Scheduler(queue)
    say = queue.tasks["say"]
    async with firing(other):
        began = time.monotonic()
        await here.add("s", OFTEN, say.message("one"))
        await fired(backend, 1)
        await here.change("s", message=say.using(queue="elsewhere").message("two"))
        await awaited(lambda: _in_queue(backend, "elsewhere"))
        await here.pause("s")
        assert (await here.get("s")).next_at is None
        count = await _settled_count(backend)
        await here.resume("s")
        await fired(backend, count + 1)
        await here.remove("s")
        await _settled_count(backend)
        assert time.monotonic() - began < 6


async def _in_queue(backend: MemoryBackend, name: str) -> list[Record]:
    return await backend.find(queue=name)


async def _settled_count(backend: MemoryBackend) -> int:
    """How many messages there are once no more come for three firings' time, within two seconds."""
    count, deadline = -1, time.monotonic() + 2
    while (now := len(await messages(backend))) != count:
        assert time.monotonic() < deadline
        count = now
        await asyncio.sleep(0.3)
    return count


async def test_what_was_due_while_paused_is_not_made_up_for(backend, queue):
    """Also by a schedule that makes up for all it missed."""
    scheduler = Scheduler(queue)
    await scheduler.add("hourly", IntervalSchedule(3600), queue.tasks["say"].message(), missed="all")
    await set_back(backend, "hourly", last_due=time.time() - 10 * 3600)
    await scheduler.pause("hourly")
    await scheduler.resume("hourly")
    await scheduler.resume("hourly")  # once more changes nothing
    async with firing(queue):
        await scheduler.add("tick", OFTEN, queue.tasks["say"].message())
        await fired(backend, 3)
    assert (await scheduler.get("hourly")).last_id not in {record.id for record in await messages(backend)}


@pytest.mark.parametrize(("policy", "expected"), [("skip", 0), ("once", 1), ("all", 5)])
async def test_missed_firings_are_made_up_for_by_the_policy(backend, queue, policy, expected):
    """Nobody was there for five hours."""
    scheduler = Scheduler(queue)
    at = datetime.now(UTC) - timedelta(hours=5, minutes=30)
    when = IntervalSchedule(3600, start=at)
    await scheduler.add("hourly", when, queue.tasks["say"].message(), missed=policy, max_missed=5)
    await set_back(backend, "hourly", last_due=at.timestamp())
    async with firing(queue):
        await scheduler.add("tick", OFTEN, queue.tasks["say"].using(queue="ticks").message())
        await awaited(lambda: _in_queue(backend, "ticks"))
    dues = [record.run_at for record in await _in_queue(backend, "voices")][::-1]
    every = [at.timestamp() + hour * 3600 for hour in range(1, 6)]
    assert dues == pytest.approx(every[5 - expected :] if expected else [])


async def test_much_to_make_up_for_does_not_hold_up_others(backend, queue):
    """A hundred and more of one schedule, each in its turn; another one is fired meanwhile."""
    say, scheduler = queue.tasks["say"], Scheduler(queue)
    await scheduler.add("all", IntervalSchedule(1), say.message(), missed="all", max_missed=1000)
    await scheduler.add("one", IntervalSchedule(3600), say.using(queue="one").message())
    last = float(int(time.time()) - 150)
    await set_back(backend, "all", last_due=last)
    await set_back(backend, "one", last_due=time.time() - 3600)
    async with firing(queue):

        async def look() -> list[Record] | None:
            found = await backend.find(queue="voices", limit=200)
            return found if len(found) >= 150 else None

        found = (await awaited(look))[::-1][:150]
    assert [record.run_at for record in found] == [last + number for number in range(1, 151)]
    (one,) = await _in_queue(backend, "one")
    assert one.created_at < found[100].created_at


async def test_an_unfinished_message_leaves_the_next_firings_out(backend, queue):
    """With overlap="skip"; once it has ended, the next one comes."""
    gate = asyncio.Event()
    runs: list[int] = []

    @queue.task(name="slow")
    async def slow() -> None:
        runs.append(1)
        await gate.wait()

    scheduler = Scheduler(queue)
    await scheduler.add("slow", OFTEN, slow.message(), overlap="skip", missed="all")
    await scheduler.add("tick", OFTEN, queue.tasks["say"].message(), missed="all")
    async with at_work(queue):
        await awaited(lambda: _at_least(backend, "say", 8))
        assert runs == [1]
        handle = await scheduler.run_now("slow")
        assert not handle.created
        gate.set()
        await eventually_async(lambda: len(runs) > 1)


async def _at_least(backend: MemoryBackend, task: str, count: int) -> bool:
    return len(await backend.find(task=task)) >= count


async def test_run_now_enqueues_one_more(backend, queue):
    """At once, with the schedule's arguments, also while it is paused; its own times stay."""
    scheduler = Scheduler(queue)
    await scheduler.add("s", NEVER_YET, queue.tasks["say"].message("hi", times=2))
    await scheduler.pause("s")
    async with at_work(queue):
        handle = await scheduler.run_now("s")
        assert await handle.result(timeout=20) == "hihi"
    info = await scheduler.get("s")
    assert (handle.created, info.paused, info.last_at) == (True, True, None)


async def test_a_schedule_that_is_over_stays_and_says_so(backend, queue):
    """Its last firing and how it ended can still be seen."""
    scheduler = Scheduler(queue)
    at = datetime.now(UTC) + timedelta(seconds=0.3)
    async with at_work(queue):
        await scheduler.add("once", OnceSchedule(at), queue.tasks["say"].message())

        async def ended() -> bool:
            last = (await scheduler.get("once")).last
            return last is not None and last.status is TaskStatus.SUCCESS

        await awaited(ended)
    info = await scheduler.get("once")
    assert (info.last_at, info.next_at, info.overdue) == (at, None, False)


async def test_what_nobody_fires_is_overdue(backend, queue):
    """A look at it tells that no scheduler runs."""
    scheduler = Scheduler(queue)
    await scheduler.add("hourly", IntervalSchedule(3600), queue.tasks["say"].message())
    assert not (await scheduler.get("hourly")).overdue
    await set_back(backend, "hourly", last_due=time.time() - 7200)
    assert (await scheduler.get("hourly")).overdue


async def test_the_record_of_a_firing_is_kept_past_the_next(backend, queue):
    """A monthly one can be looked at a month later, whatever the task's own time to live."""
    scheduler = Scheduler(queue)
    start = datetime.now(UTC) - timedelta(seconds=1)
    await scheduler.add("rare", IntervalSchedule(timedelta(days=30), start), queue.tasks["say"].message())
    await set_back(backend, "rare", last_due=(start - timedelta(days=30)).timestamp())
    async with firing(queue):
        record = (await fired(backend, 1))[0]
    kept = backend._store.messages.find(record.id).message.result_ttl  # noqa: SLF001 - nothing else tells
    assert kept == timedelta(days=31).total_seconds()


# Code ----------------------------------------------------------------------------------------------------------------


class Report(TaskExecutor):
    day: str

    async def execute(self) -> str:
        return self.day


async def test_a_schedule_above_a_task_is_kept_by_every_worker(backend):
    """A function or a class, of a registry that is included; it has the task's name."""
    registry, queue = TaskRegistry(), make_queue(backend)
    done: list[str] = []

    @registry.schedule(OFTEN, kwargs={"word": "hi"}, queue="q", priority=1)
    @registry.task(name="note")
    async def note(word: str) -> None:
        done.append(word)

    registry.schedule(NEVER_YET, name="report", kwargs={"day": "monday"})(registry.task(Report))
    queue.include(registry)
    async with at_work(queue):
        await eventually_async(lambda: len(done) >= 3)
    infos = {info.name: info for info in await Scheduler(queue).list()}
    assert set(done) == {"hi"}
    assert (infos["note"].queue, infos["note"].priority, infos["note"].origin) == ("q", 1, "code")
    assert infos["report"].arguments == {"day": "monday"}
    assert queue.schedules.keys() == {"note", "report"}


async def test_a_worker_may_leave_schedules_to_others(backend):
    """With scheduler=False, and with until_idle."""
    queue = make_queue(backend)
    queue.schedule(OFTEN)(queue.tasks["say"])
    async with at_work(queue, scheduler=False):
        assert await queue.tasks["say"].using(queue="x").enqueue("a")
        await awaited(lambda: _done(backend, 1))
    assert await backend.load_schedules() == []
    with pytest.raises(ConfigurationError, match="scheduler is True or False"):
        async with at_work(queue, scheduler="no"):
            pass


async def _done(backend: MemoryBackend, count: int) -> bool:
    return len(await backend.find(statuses={TaskStatus.SUCCESS})) >= count


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda queue: queue.schedule("0 9 * * *"), ScheduleError, "a schedule is a CronSchedule"),
        (lambda queue: queue.schedule(CronSchedule), ScheduleError, "a schedule is a CronSchedule"),
        (lambda queue: queue.schedule(OFTEN, missed="no"), ScheduleError, "missed is one of"),
        (lambda queue: queue.schedule(OFTEN)(lambda: None), ConfigurationError, "stands above @queue.task"),
        (lambda queue: queue.schedule(OFTEN)(Report), ConfigurationError, "stands above @queue.task"),
        (lambda queue: queue.schedule(OFTEN, kwargs={"no": 1})(queue.tasks["say"]), ArgumentError, "say"),
        (lambda queue: queue.schedule(OFTEN, kwargs={"times": "x"})(queue.tasks["say"]), ArgumentError, "times"),
        (lambda queue: queue.schedule(OFTEN, name="a b")(queue.tasks["say"]), ScheduleError, "no name for a schedule"),
        (lambda queue: queue.schedule(OFTEN, priority=12)(queue.tasks["say"]), ConfigurationError, "priority"),
        (
            lambda queue: [queue.schedule(OFTEN)(queue.tasks["say"]) for _ in range(2)],
            ConfigurationError,
            "two schedules are called say",
        ),
    ],
    ids=[str(number) for number in range(10)],
)
def test_a_wrong_schedule_in_code_is_refused_where_it_stands(make, error, reason):
    """When the module is imported, not when it would be due."""
    with pytest.raises(error, match=reason):
        make(make_queue())


def test_registries_with_schedules_of_one_name_are_not_mixed():
    """The second one is refused whole."""
    queue, registry = make_queue(), TaskRegistry()

    @registry.task(name="other")
    async def other() -> None: ...

    registry.schedule(OFTEN, name="same")(other)
    queue.schedule(OFTEN, name="same")(queue.tasks["say"])
    with pytest.raises(ConfigurationError, match="two schedules are called same"):
        queue.include(registry)
    assert queue.find("other") is None


async def test_a_deploy_that_changes_a_schedule_takes_over(backend):
    """What fired is known, other times count from the deploy on, a pause lasts."""
    old, new = make_queue(backend), make_queue(backend)
    old.schedule(IntervalSchedule(3600), name="s", missed="all")(old.tasks["say"])
    async with firing(old):
        await awaited(backend.load_schedules)
    await set_back(backend, "s", last_due=time.time() - 86_400)
    new.schedule(IntervalSchedule(60), name="s", missed="all")(new.tasks["say"])
    await Scheduler(new).pause("s")
    async with firing(new):
        await awaited(lambda: _text(new, "Every 1 min"))
    info = await Scheduler(new).get("s")
    assert info.paused
    await Scheduler(new).resume("s")
    async with firing(new):
        await Scheduler(new).add("tick", OFTEN, new.tasks["say"].using(queue="ticks").message())
        await awaited(lambda: _in_queue(backend, "ticks"))
    assert len(await _in_queue(backend, "voices")) <= 1  # a minute may have passed, a day has not


async def _text(queue: TaskQueue, text: str) -> bool:
    return text in {info.text for info in await Scheduler(queue).list()}


async def test_other_arguments_change_nothing_about_the_times(backend):
    """What was missed before the deploy is made up for, with the new arguments."""
    old, new = make_queue(backend), make_queue(backend)
    old.schedule(IntervalSchedule(3600), name="s")(old.tasks["say"])
    async with firing(old):
        await awaited(backend.load_schedules)
    await set_back(backend, "s", last_due=time.time() - 86_400)
    new.schedule(IntervalSchedule(3600), name="s", queue="new")(new.tasks["say"])
    async with firing(new):
        await awaited(lambda: _in_queue(backend, "new"))


async def test_a_schedule_that_left_the_code_is_fired_no_more(backend):
    """It stays on the list, as another program may have it, until it is removed; its code brings it back."""
    old, new = make_queue(backend), make_queue(backend)
    old.schedule(OFTEN, name="s")(old.tasks["say"])
    async with firing(old):
        await fired(backend, 1)
    count = len(await messages(backend))
    async with firing(new):
        await Scheduler(new).add("tick", OFTEN, new.tasks["say"].using(queue="ticks").message(), missed="all")
        await awaited(lambda: _ticks(backend, 4))
    assert len(await _in_queue(backend, "voices")) == count
    assert [info.name for info in await Scheduler(new).list()] == ["s", "tick"]
    assert await Scheduler(new).remove("s")
    async with firing(old):
        await awaited(lambda: _listed(old, "s"))


async def _ticks(backend: MemoryBackend, count: int) -> bool:
    return len(await _in_queue(backend, "ticks")) >= count


async def _listed(queue: TaskQueue, name: str) -> bool:
    return name in {info.name for info in await Scheduler(queue).list()}


async def test_what_is_in_code_is_changed_in_code(backend):
    """The next deploy would undo it; and a name that was added at run time is not taken over."""
    queue = make_queue(backend)
    scheduler = Scheduler(queue)
    await scheduler.add("mine", NEVER_YET, queue.tasks["say"].message())
    queue.schedule(OFTEN, name="mine")(queue.tasks["say"])
    queue.schedule(NEVER_YET, name="code")(queue.tasks["say"])
    async with firing(queue):
        await awaited(lambda: _listed(queue, "code"))
        with pytest.raises(ScheduleError, match="is defined in code; change it there"):
            await scheduler.change("code", when=OFTEN)
        assert (await scheduler.get("mine")).when == NEVER_YET
    assert await messages(backend) == []


class Sometimes:
    """A schedule of the application's own: every tenth of a second, until it breaks."""

    def __init__(self, breaks_at: float = 1e12) -> None:
        self.breaks_at = breaks_at

    def __repr__(self) -> str:
        return "Sometimes()"

    def next_after(self, moment: datetime) -> datetime:
        if moment.timestamp() > self.breaks_at:
            raise ZeroDivisionError("broken")
        return moment + timedelta(seconds=0.1)


async def test_a_schedule_of_the_applications_own_is_fired_by_its_code(backend):
    """Others see that it is there, and leave it alone."""
    queue, other = make_queue(backend), make_queue(backend)
    queue.schedule(Sometimes(), name="own")(queue.tasks["say"])
    async with firing(queue, other):
        await fired(backend, 3)
    assert (await Scheduler(queue).get("own")).text == "Sometimes()"
    info = await Scheduler(other).get("own")
    assert (info.text, info.problem) == ("Sometimes()", "only the application's code knows when it is due")


async def test_a_schedule_that_raises_stops_no_other(backend, caplog):
    """It is logged, and fired no more."""
    queue = make_queue(backend)
    queue.schedule(Sometimes(time.time() + 0.3), name="own")(queue.tasks["say"])
    queue.schedule(Sometimes(0), name="never")(queue.tasks["say"])
    with caplog.at_level(logging.WARNING, "reinhardt_tasks.scheduler"):
        async with firing(queue):
            await eventually_async(lambda: "schedule_failed schedule=own error=broken" in caplog.text)
            await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].using(queue="ticks").message(), missed="all")
            await awaited(lambda: _ticks(backend, 3))
    assert "schedule_unusable schedule=never error=broken" in caplog.text


# What others have written --------------------------------------------------------------------------------------------


HOSTILE = [
    b"",
    b"\xc1",
    b"not msgpack at all",
    msgspec.msgpack.encode({"v": 1}),
    msgspec.msgpack.encode({"v": 1, "since": float("inf"), "origin": "stored", "plan": b"\x80"}),
    msgspec.msgpack.encode({"v": "1"}),
    msgspec.msgpack.encode([1, 2, 3]),
    b"\x91" * 5000,
]


@pytest.mark.parametrize("spec", HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
async def test_what_cannot_be_read_stops_nobody(backend, queue, spec):
    """It is told, listed as what it is, may be removed, and all others go on."""
    await backend.save_schedule(ScheduleRecord(name="bad", spec=spec))
    async with firing(queue):
        await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].message(), missed="all")
        await fired(backend, 2)
    info = await Scheduler(queue).get("bad")
    assert info.problem
    with pytest.raises(Exception, match=r"cannot be read|is no moment|signed"):
        await Scheduler(queue).run_now("bad")
    await Scheduler(queue).pause("bad")
    assert await Scheduler(queue).remove("bad")


async def test_what_a_newer_release_stored_is_left_to_it(backend, queue):
    """It is neither fired nor overwritten by code of the same name; what it says besides survives a pause."""
    spec = msgspec.msgpack.encode({"v": 2, "since": 0.0, "origin": "code", "plan": b"", "more": [1]})
    await backend.save_schedule(ScheduleRecord(name="s", spec=spec))
    queue.schedule(OFTEN, name="s")(queue.tasks["say"])
    async with firing(queue):
        await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].using(queue="ticks").message(), missed="all")
        await awaited(lambda: _ticks(backend, 3))
    assert await _in_queue(backend, "voices") == []
    assert "newer release (version 2" in (await Scheduler(queue).get("s")).problem
    await Scheduler(queue).pause("s")
    assert (await backend.load_schedules())[0].spec == spec


async def test_a_head_with_unknown_fields_keeps_them(backend, queue):
    """A newer release may write more into it without a new version."""
    scheduler = Scheduler(queue)
    await scheduler.add("s", NEVER_YET, queue.tasks["say"].message())
    record = (await backend.load_schedules())[0]
    spec = msgspec.msgpack.encode(msgspec.msgpack.decode(record.spec) | {"more": [1]})
    await backend.save_schedule(msgspec.structs.replace(record, spec=spec))
    await scheduler.pause("s")
    await scheduler.resume("s")
    assert msgspec.msgpack.decode((await backend.load_schedules())[0].spec)["more"] == [1]


async def test_a_plan_is_signed_and_bound_to_its_name(backend):
    """Without the keys nobody can add one, change one, or move one to another name; anybody may look and pause."""
    key, other = "k" * 16, "o" * 16
    signed, unsigned = make_queue(backend, secret_keys=[key]), make_queue(backend)
    await Scheduler(unsigned).add("forged", OFTEN, unsigned.tasks["say"].message(), missed="all")
    await Scheduler(signed).add("good", OFTEN, signed.tasks["say"].message(), missed="all")
    good = next(record for record in await backend.load_schedules() if record.name == "good")
    await backend.save_schedule(msgspec.structs.replace(good, name="moved"))
    async with firing(signed):
        found = await fired(backend, 5)
    assert {record.id for record in found} == {firing_id("good", record.run_at) for record in found}
    infos = {info.name: info for info in await Scheduler(signed).list()}
    assert "not signed" in infos["forged"].problem
    assert "signature is wrong" in infos["moved"].problem
    assert infos["good"].problem is None
    await Scheduler(make_queue(backend, secret_keys=[other])).pause("good")
    async with at_work(signed):
        await awaited(lambda: _done(backend, 5))


async def test_a_schedule_of_an_unknown_task_is_fired_for_those_who_know_it(backend, queue):
    """A scheduler needs no code for it; workers that do not know it leave it to others."""
    await Scheduler(queue).add("s", OFTEN, queue.tasks["say"].message("hi"))
    bare = TaskQueue(backend)
    async with firing(bare):
        record = (await fired(backend, 1))[0]
    async with at_work(queue):
        assert await queue.handle(record.id).result(timeout=20) == "hi"


# Trouble -------------------------------------------------------------------------------------------------------------


class Unsteady(MemoryBackend):
    """The memory backend; while `down` is set nothing answers, and of `lost` more puts the answer is lost."""

    def __init__(self, *, lost: int = 0) -> None:
        super().__init__()
        self.trouble = {"down": False, "lost": lost}

    async def put(self, *args, **kwargs):
        self._check()
        puts = await super().put(*args, **kwargs)
        if self.trouble["lost"]:
            self.trouble["lost"] -= 1
            raise BackendUnavailableError(backend="unsteady", place="here")
        return puts

    async def load_schedules(self):
        self._check()
        return await super().load_schedules()

    async def watch_schedules(self, seen, timeout):
        self._check()
        return await super().watch_schedules(seen, timeout)

    def _check(self) -> None:
        if self.trouble["down"]:
            raise BackendUnavailableError(backend="unsteady", place="here")


async def test_an_outage_is_waited_for_and_made_up_for():
    """By the schedule's policy: here each slot comes once, those of the outage too."""
    backend = Unsteady()
    queue = make_queue(backend)
    await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].message(), missed="all")
    async with firing(queue):
        before = len(await fired(backend, 3))
        backend.trouble["down"] = True
        await asyncio.sleep(0.6)  # as long as the outage is
        backend.trouble["down"] = False
        found = await fired(backend, before + 10)
    dues = [round(record.run_at * 10) for record in found]
    assert dues == list(range(dues[0], dues[0] + len(dues)))


async def test_a_lost_answer_doubles_nothing():
    """Whether the firing was stored is seen by its id."""
    backend = Unsteady(lost=3)
    queue = make_queue(backend)
    await Scheduler(queue).add("tick", OFTEN, queue.tasks["say"].message(), missed="all")
    async with firing(queue):
        found = await fired(backend, 8)
    dues = [round(record.run_at * 10) for record in found]
    assert dues == list(range(dues[0], dues[0] + 8))


async def test_a_middleware_sees_what_is_fired(backend):
    """As everything that is enqueued; one that keeps it back spoils that firing and no other."""
    seen: list[str] = []

    class Counting(Middleware):
        async def on_enqueue(self, message, call_next: Next) -> None:
            seen.append(message.name)
            if len(seen) > 1:
                await call_next()

    queue = TaskQueue(backend, middleware=[Counting()])

    @queue.task(name="say")
    async def say() -> None: ...

    await Scheduler(queue).add("tick", OFTEN, say.message())
    async with firing(queue):
        await fired(backend, 2)
    assert set(seen) == {"say"}


class Without(MemoryBackend):
    """A backend that keeps no schedules."""

    async def load_schedules(self):
        raise UnsupportedError("no schedules here")

    async def watch_schedules(self, seen, timeout):
        raise UnsupportedError("no schedules here")


async def test_a_backend_without_schedules_is_told_where_some_are_wanted():
    """A worker whose code has none works; one whose code has some says what is wrong."""
    queue = make_queue(Without())
    async with at_work(queue):
        assert await (await queue.tasks["say"].enqueue()).result(timeout=20) == "hello"
    queue.schedule(OFTEN)(queue.tasks["say"])
    with pytest.raises(UnsupportedError):
        async with at_work(queue):
            await asyncio.sleep(20)


async def test_a_scheduler_runs_once_at_a_time_and_stops_when_told(queue):
    """Before it begins, while it runs, and from another thread."""
    scheduler = Scheduler(queue)
    scheduler.stop()
    await asyncio.wait_for(scheduler.run(), 5)
    running = asyncio.create_task(scheduler.run())
    await asyncio.sleep(0)
    with pytest.raises(QueueError, match="runs already"):
        await scheduler.run()
    await asyncio.to_thread(scheduler.stop)
    await asyncio.wait_for(running, 5)


async def test_changes_at_the_same_time_lose_nothing(backend, queue):
    """Ten processes pause and change one schedule and add others: all of it is there in the end."""
    scheduler = Scheduler(queue)
    await scheduler.add("s", NEVER_YET, queue.tasks["say"].message())
    others = [Scheduler(make_queue(backend)) for _ in range(5)]
    await asyncio.gather(
        scheduler.pause("s"),
        scheduler.change("s", missed="all"),
        scheduler.change("s", jitter=5),
        *(other.add(f"n{number}", NEVER_YET, queue.tasks["say"].message()) for number, other in enumerate(others)),
        *(other.add("same", NEVER_YET, queue.tasks["say"].message()) for other in others[:1]),
    )
    info = await scheduler.get("s")
    assert (info.paused, info.policy.missed, info.policy.jitter) == (True, "all", 5.0)
    assert len(await scheduler.list()) == 7
