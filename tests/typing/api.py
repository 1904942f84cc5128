"""What users write, as type checkers must see it: every type here is asserted, and checked by mypy and pyright."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID

from reinhardt_tasks import (
    AsyncTask,
    ChainStatus,
    CronSchedule,
    Depends,
    IntervalSchedule,
    Message,
    Middleware,
    Next,
    OnceSchedule,
    Progress,
    Provider,
    QueueConfig,
    RetryStrategy,
    Schedule,
    ScheduleInfo,
    Scheduler,
    Step,
    SyncTask,
    TaskBackend,
    TaskChain,
    TaskChainBuilder,
    TaskContext,
    TaskDAG,
    TaskError,
    TaskExecutor,
    TaskGroup,
    TaskHandle,
    TaskOutput,
    TaskQueue,
    TaskRegistry,
    TaskResult,
    TaskResultMetadata,
    TaskStatus,
    WorkflowHandle,
    current_task,
)


@dataclass
class Image:
    path: Path


class Pool:
    async def fetch(self) -> str:
        return "row"


queue = TaskQueue("memory://", QueueConfig(name="main", result_ttl=timedelta(hours=1)))
registry = TaskRegistry()
queue.include(registry)
queue.configure("memory://")


@queue.lifespan
async def pool() -> AsyncIterator[Pool]:
    yield Pool()


assert_type(pool, Provider[Pool])


@queue.task
async def resize(image: Image, width: int = 800) -> Path:
    return image.path


@queue.task(priority=7, retry=RetryStrategy.exponential_backoff(max_retries=5), timeout=30, unique=True)
async def shrink(image: Image, *, width: int) -> Path:
    return image.path


@registry.task
def count(texts: list[str]) -> int:
    return len(texts)


def key_of(text: str) -> str:
    return text.casefold()


@registry.task(runs_in="process", result_ttl=timedelta(days=2), unique=key_of)
def shout(text: str) -> str:
    return text.upper()


@queue.task
async def save(row: str, db: Pool = Depends(pool)) -> None:
    assert_type(db, Pool)
    run = current_task()
    assert_type(run, TaskContext)
    assert_type(run.scheduled_for, datetime | None)
    run.progress(1, 2, "half")


@queue.task(priority=3)
class SendEmail(TaskExecutor):
    to: str
    subject: str = "hi"

    async def execute(self) -> int:
        return len(self.to)


@queue.task
class Stop(TaskExecutor):
    async def execute(self) -> None: ...


@queue.schedule(CronSchedule("0 9 * * MON-FRI", timezone="Europe/Berlin"), missed="all", max_missed=5)
@queue.schedule(IntervalSchedule(timedelta(minutes=5), start=datetime.now(UTC)), name="often", kwargs={"number": 2})
@queue.task
async def report(number: int = 1) -> str:
    return str(number)


@registry.schedule(
    OnceSchedule(datetime.now(UTC)), overlap="skip", jitter=timedelta(seconds=5), queue="low", priority=1
)
@registry.task
class Remind(TaskExecutor):
    who: str = "ada"

    async def execute(self) -> bool:
        return True


class Mondays:
    """A schedule of one's own."""

    def next_after(self, moment: datetime) -> datetime | None:
        return None


@queue.schedule(Mondays(), start=datetime.now(UTC), end=None)
@queue.task
def weekly() -> None: ...


async def scheduled_tasks_keep_their_types(scheduler: Scheduler) -> None:
    assert_type(await report.enqueue(2), TaskHandle[str])
    assert_type(await queue.enqueue(Remind(who="bob")), TaskHandle[bool])
    assert_type(weekly.enqueue_sync(), TaskHandle[None])
    when: Schedule = Mondays()
    assert_type(when.next_after(datetime.now(UTC)), datetime | None)
    assert_type(CronSchedule("@daily").next_after(datetime.now(UTC)), datetime | None)
    assert_type(CronSchedule("@daily").describe(), str)
    await scheduler.add("s", when, report.message(3), missed="skip", jitter=1.5, end=datetime.now(UTC))
    await scheduler.change("s", when=IntervalSchedule(5), message=report.using(priority=2).message(), overlap="allow")
    await scheduler.pause("s")
    await scheduler.resume("s")
    assert_type(await scheduler.list(), list[ScheduleInfo])
    info = await scheduler.get("s")
    assert_type(info.next_at, datetime | None)
    assert_type(info.arguments, Mapping[str, Any])
    assert_type(info.last, TaskResultMetadata[Any] | None)
    assert_type(await scheduler.run_now("s"), TaskHandle[Any])
    assert_type(await scheduler.remove("s"), bool)
    await Scheduler(queue).run()
    scheduler.stop()


async def tasks_keep_their_functions_types() -> None:
    assert_type(await resize(Image(Path()), width=3), Path)
    assert_type(await shrink(Image(Path()), width=3), Path)
    assert_type(count(["a"]), int)
    assert_type(shout("a"), str)
    assert_type(await resize.using(priority=9)(Image(Path()), 3), Path)
    take_tasks(resize.using(queue="slow"), count)
    await save("row", db=Pool())


def take_tasks(one: AsyncTask[..., Path], two: SyncTask[[list[str]], int]) -> None:
    assert_type(one.name, str)
    assert_type(two(["a"]), int)


async def enqueueing_gives_typed_handles() -> None:
    assert_type(await resize.enqueue(Image(Path()), width=300), TaskHandle[Path])
    assert_type(await resize.using(priority=9, delay=60, unique_key="k").enqueue(Image(Path())), TaskHandle[Path])
    assert_type(await resize.using(run_at=datetime.now(UTC), timeout=None).enqueue(Image(Path())), TaskHandle[Path])
    assert_type(await save.enqueue("row"), TaskHandle[None])
    assert_type(count.enqueue_sync(["a"]), TaskHandle[int])
    assert_type(shout.message("a"), Message[str])
    assert_type(await queue.enqueue(shout.message("a"), headers={"a": "b"}), TaskHandle[str])
    assert_type(await queue.enqueue(SendEmail(to="a@b.c")), TaskHandle[int])
    assert_type(await queue.enqueue(Stop(), on_duplicate="raise"), TaskHandle[None])
    assert_type(queue.enqueue_sync(SendEmail(to="a@b.c", subject="s")), TaskHandle[int])
    assert_type(await queue.enqueue_many(resize.message(Image(Path())) for _ in range(3)), list[TaskHandle[Path]])
    assert_type(await queue.enqueue_many([SendEmail(to="a")], connection=object()), list[TaskHandle[int]])
    assert_type(queue.enqueue_many_sync([shout.message("a")]), list[TaskHandle[str]])


async def workflows_give_typed_results(queue: TaskQueue) -> None:
    assert_type(thumbnail.step(width=90), Step[Image, Image])
    chain = TaskChainBuilder("album").add(load.message("a")).add(thumbnail.step(width=90)).build()
    assert_type(chain, TaskChain[Image])
    assert_type(await queue.enqueue(chain), WorkflowHandle[Image])
    assert_type(queue.enqueue_sync(chain, connection=object()), WorkflowHandle[Image])
    assert_type(chain.status, ChainStatus)
    assert_type(chain.advance().fail(), TaskChain[Image])
    assert_type(TaskChainBuilder().add_all([load.message("a"), thumbnail.step()]).build(), TaskChain[Any])
    words = [shout.message(word) for word in "abc"]
    assert_type(TaskGroup(words), TaskGroup[list[str]])
    assert_type(TaskGroup(words, count.step()), TaskGroup[int])
    assert_type(TaskGroup(words, return_errors=True), TaskGroup[list[str | TaskError]])
    assert_type(TaskGroup(words, judge.step(), return_errors=True), TaskGroup[bool])
    assert_type(TaskGroup([chain, chain]), TaskGroup[list[Image]])
    assert_type(await (await queue.enqueue(TaskGroup(words))).result(), list[str])
    nested = TaskChainBuilder().add(load.message("a")).add(TaskGroup([thumbnail.step(1), thumbnail.step(2)]))
    assert_type(nested.build(), TaskChain[list[Image]])
    dag = TaskDAG("sums", timeout=timedelta(minutes=5))
    dag.add("a", load, kwargs={"name": "a"})
    dag.add("b", thumbnail, kwargs={"width": 3}, after={"image": "a"})
    dag.add("c", shout.message("done"), after=["a", "b"])
    dag.add("d", chain, after=["c"])
    handle = await queue.enqueue(dag)
    assert_type(handle, WorkflowHandle[dict[str, Any]])
    assert_type(await handle.chain_status(), ChainStatus)
    assert_type(queue.workflow(handle.id, type=list[Image]), WorkflowHandle[list[Image]])


@queue.task
async def load(name: str) -> Image:
    return Image(Path(name))


@queue.task
async def thumbnail(image: Image, width: int = 90) -> Image:
    return image


@queue.task
async def judge(ends: list[str | TaskError]) -> bool:
    return True


async def handles_give_typed_results(text_id: str, uuid: UUID) -> None:
    handle = resize.handle(text_id)
    assert_type(handle, TaskHandle[Path])
    assert_type(await handle.result(timeout=10), Path)
    assert_type(handle.result_sync(timedelta(seconds=1)), Path)
    assert_type(await handle.status(), TaskStatus)
    assert_type(await handle.progress(), Progress | None)
    assert_type(await handle.cancel(), bool)
    info = await handle.info()
    assert_type(info, TaskResultMetadata[Path])
    assert_type(info.result, Path | None)
    assert_type(info.error, TaskError | None)
    async for step in handle.watch():
        assert_type(step, TaskResultMetadata[Path])
    for step in handle.watch_sync():
        assert_type(step.status, TaskStatus)
    assert_type(queue.handle(uuid, type=int), TaskHandle[int])
    assert_type(queue.handle(handle.id, type=list[Image]), TaskHandle[list[Image]])
    assert_type(queue.handle(handle.id), TaskHandle[Any])


async def outcomes_are_matched(handle: TaskHandle[int]) -> str:
    outcome: TaskResult[int] = await handle.outcome()
    match outcome:
        case TaskOutput(value=value):
            assert_type(value, int)
            return outcome.text
        case TaskError():
            return str(outcome)


def a_handle_is_covariant(handle: TaskHandle[bool]) -> TaskHandle[int]:
    return handle


class Timed(Middleware):
    async def on_enqueue(self, message: Message[Any], call_next: Next) -> None:
        await call_next()

    async def on_run(self, task: TaskContext, call_next: Next) -> Any:
        return await call_next()


async def queues_open_close_and_are_overridden(backend: TaskBackend) -> None:
    layers: Sequence[Middleware] = [Timed()]
    async with TaskQueue(backend, middleware=layers) as opened:
        assert_type(opened, TaskQueue)
    overriding: AbstractContextManager[TaskBackend] = queue.override("memory://")
    with overriding as other:
        assert_type(other, TaskBackend)
    async with queue.lifespans() as values:
        assert_type(values[pool], object)
