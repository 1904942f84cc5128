"""Chains, groups and graphs on each backend that can hold them, run by a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from reinhardt_tasks import (
    BadPayloadError,
    ChainStatus,
    DuplicateTaskError,
    ExecutionFailedError,
    QueueError,
    ResultTimeoutError,
    RetryStrategy,
    TaskCancelledError,
    TaskChain,
    TaskChainBuilder,
    TaskDAG,
    TaskError,
    TaskGroup,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
    TaskTimeoutError,
    current_task,
)
from reinhardt_tasks.workflow import Tree
from tests.servers import postgres, redis
from tests.workshop import at_work, awaited, work_off

LONG = 30.0
SLOW = 60.0
"""Seconds that a task would take that is to be stopped."""

queue = TaskQueue("memory://")
repaired: set[str] = set()
"""What `fragile` does not fail at any more."""
gates: set[str] = set()
"""What `gate` does not wait for."""


@dataclass
class Photo:
    """A result with a class of its own."""

    path: Path
    width: int = 0


@queue.task
async def one() -> int:
    """1."""
    return 1


@queue.task
async def add(number: int, other: int = 1) -> int:
    """Two numbers."""
    return number + other


@queue.task
async def total(numbers: list[int]) -> int:
    """Many numbers."""
    return sum(numbers)


@queue.task
async def fetch(path: Path) -> Photo:
    """A photo."""
    return Photo(path)


@queue.task
async def resize(photo: Photo, width: int) -> Photo:
    """The photo, of another width."""
    return Photo(photo.path, width)


@queue.task(retry=RetryStrategy.no_retry())
async def fragile(name: str) -> str:
    """Its name, unless it is broken."""
    if name not in repaired:
        raise ValueError(f"{name} is broken")
    return name


@queue.task
async def join(texts: list[str]) -> str:
    """Texts, one after the other."""
    return " ".join(texts)


@queue.task
async def kinds(ends: list[Photo | TaskError]) -> list[str]:
    """What each is."""
    return [type(end).__name__ for end in ends]


@queue.task
async def shout(text: str) -> str:
    """The text in capitals."""
    return text.upper()


@queue.task
async def idle(seconds: float) -> float:
    """As long as it takes."""
    await asyncio.sleep(seconds)
    return seconds


@queue.task
async def gate(name: str) -> str:
    """Its name, once its gate is open."""
    if name not in gates:
        await asyncio.sleep(SLOW)
    return name


@queue.task
async def second(lists: list[list[int]]) -> list[int]:
    """The second of them."""
    return lists[1]


@queue.task
async def late(text: str) -> float:
    """A number, after a while."""
    await asyncio.sleep(0.3)
    return 0.3


@queue.task(retry=RetryStrategy.no_retry())
async def fragile_after(text: str) -> str:
    """Nothing, ever."""
    raise ValueError(text)


@queue.task
async def kinds_of(ends: list) -> list[str]:
    """What each is."""
    return [type(end).__name__ for end in ends]


@queue.task(retry=RetryStrategy.fixed_delay(delay=0.01))
async def stubborn() -> int:
    """3, at the third attempt."""
    if current_task().attempt < 3:
        raise ValueError("not yet")
    return 3


@queue.task
async def anything(value):
    """What it was given."""
    return value


@queue.task(runs_in="thread")
def in_thread(number: int) -> int:
    """Twice as much."""
    return 2 * number


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The queue, on this backend; its URL."""
    url = {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path}/tasks.db",
        "redis": lambda: f"{redis.shared().url()}?prefix={redis.fresh_prefix()}",
        "postgres": _empty_postgres,
    }[request.param]()
    repaired.clear()
    with queue.override(url):
        yield url


def _empty_postgres() -> str:
    postgres.shared().empty()
    return postgres.shared().url()


def chain(*parts) -> TaskChain:
    """A chain of these."""
    return TaskChainBuilder("chain").add_all(parts).build()


def statuses(tree: Tree) -> dict[str, list[TaskStatus]]:
    """How the messages of each task stand."""
    found: dict[str, list[TaskStatus]] = {}
    for node in tree.nodes.values():
        found.setdefault(node.task.rpartition(".")[2], []).append(node.status)
    return found


# Shapes ---------------------------------------------------------------------------------------------------------------


async def test_a_chain_gives_each_result_to_the_next_step(place: str) -> None:
    """As the object that the parameter declares; a message in between takes nothing, and what it returns goes on."""
    async with queue, at_work(queue):
        album = chain(one.message(), fetch.message(Path("a.png")), resize.step(width=90), resize.step(20))
        handle = await queue.enqueue(album)
        assert await handle.result(LONG) == Photo(Path("a.png"), 20)
        assert await handle.chain_status() is ChainStatus.COMPLETED
        assert (await handle.info()).result == Photo(Path("a.png"), 20)


async def test_a_group_gathers_results_in_order(place: str) -> None:
    """With a callback that is given them all, or without one, as the result itself."""
    async with queue, at_work(queue):
        numbers = [add.message(number, 0) for number in range(20)]
        assert await (await queue.enqueue(TaskGroup(numbers, total.step()))).result(LONG) == 190
        handle = await queue.enqueue(TaskGroup([add.message(number, 0) for number in range(20)]))
        assert await handle.result(LONG) == list(range(20))
        assert await queue.handle(handle.id).result(LONG) == list(range(20))


async def test_a_graph_gives_results_to_the_parameters_its_edges_name(place: str) -> None:
    """Its result is a dict of those of its sinks."""
    async with queue, at_work(queue):
        dag = TaskDAG("sums")
        dag.add("left", add, kwargs={"number": 1})
        dag.add("right", one.message(), after=["left"])
        dag.add("both", add, after={"number": "left", "other": "right"})
        dag.add("twice", in_thread, after={"number": "left"})
        dag.add("more", add.step(10), after=["both"])
        assert await (await queue.enqueue(dag)).result(LONG) == {"twice": 4, "more": 13}


async def test_workflows_stand_inside_workflows(place: str) -> None:
    """Groups in chains in groups in a graph, wide to wide, to any depth."""
    async with queue, at_work(queue):
        inner = chain(add.step(1), TaskGroup([add.step(0), add.step(1)], total.step()))
        wide = TaskGroup([inner, add.step(0), TaskGroup([add.step(0), add.step(0)], total.step())])
        whole = chain(one.message(), wide, TaskGroup([total.step(), total.step()]), total.step())
        dag = TaskDAG()
        dag.add("a", whole)
        dag.add("b", TaskGroup([one.message(), one.message()]), after=["a"])
        dag.add("c", total, after={"numbers": "b"})
        dag.add("d", total, after={"numbers": "b"})
        assert await (await queue.enqueue(dag)).result(LONG) == {"c": 2, "d": 2}
        assert await (await queue.enqueue(whole)).result(LONG) == 16


async def test_what_is_empty_is_complete_at_once(place: str) -> None:
    """Before any worker has seen it; a callback is called with nothing, and what follows is given nothing."""
    async with queue:
        group, dag = await queue.enqueue(TaskGroup([])), await queue.enqueue(TaskDAG())
        assert (await group.result(0), await dag.result(0)) == ([], {})
        assert await group.chain_status() is ChainStatus.COMPLETED
        called = await queue.enqueue(TaskGroup([], total.step()))
        follows = await queue.enqueue(chain(one.message(), TaskGroup([]), total.step()))
        await work_off(queue)
        assert (await called.result(LONG), await follows.result(LONG)) == (0, 0)
        assert await queue.handle(group.id).result(LONG) == []
        assert await queue.handle(dag.id).result(LONG) == {}


async def test_a_wide_group_and_its_callback_go_in_batches(place: str) -> None:
    """More messages than one call stores; nothing begins before all are there, and a repeat stores nothing twice."""
    async with queue, at_work(queue, concurrency=50):
        group = TaskGroup([one.message() for _ in range(1_200)], total.step())
        handle = await queue.enqueue(group)
        again = await queue.enqueue(group)
        assert (handle.created, again.created, again.id) == (True, False, handle.id)
        assert await handle.result(LONG) == 1_200
        progress = await handle.progress()
        assert progress is not None
        assert (progress.done, progress.total) == (1_201, 1_201)


async def test_steps_keep_their_own_options(place: str) -> None:
    """Queue, priority, retries and delay, each of its own step."""
    async with queue:
        handle = await queue.enqueue(
            chain(
                one.using(queue="first", priority=2).message(),
                add.using(queue="second", priority=8, delay=0.05).step(),
                stubborn.message(),
            )
        )
        nodes = (await handle.tree()).nodes.values()
        assert [(node.queue, node.priority) for node in nodes] == [("first", 2), ("second", 8), ("default", 5)]
        async with at_work(queue):
            assert await handle.result(LONG) == 3


# What goes wrong ------------------------------------------------------------------------------------------------------


async def test_a_failed_step_cancels_what_depends_on_it(place: str) -> None:
    """The handle gives the step's own error and id; its requeue goes on from there, and nothing before runs again."""
    async with queue, at_work(queue):
        handle = await queue.enqueue(chain(one.message(), fragile.message("engine"), shout.step(), shout.step()))
        with pytest.raises(ExecutionFailedError, match="engine is broken") as failed:
            await handle.result(LONG)
        tree = await handle.tree()
        assert statuses(tree) == {
            "one": [TaskStatus.SUCCESS],
            "fragile": [TaskStatus.FAILURE],
            "shout": [TaskStatus.CANCELLED, TaskStatus.CANCELLED],
        }
        assert await handle.chain_status() is ChainStatus.FAILED
        repaired.add("engine")
        culprit = next(node for node in tree.nodes.values() if node.task == fragile.name)
        assert failed.value.task_id == str(culprit.id)
        await (await queue.backend()).requeue([culprit.id])
        assert await handle.result(LONG) == "ENGINE"


async def test_a_failing_member_fails_the_group(place: str) -> None:
    """The others run all the same; requeued, the group goes on with their results."""
    async with queue, at_work(queue):
        handle = await queue.enqueue(TaskGroup([fragile.message("a"), shout.message("b")], join.step()))
        with pytest.raises(ExecutionFailedError, match="a is broken") as failed:
            await handle.result(LONG)
        repaired.add("a")
        await (await queue.backend()).requeue([queue.handle(str(failed.value.task_id)).id])
        assert await handle.result(LONG) == "a B"


async def test_errors_may_be_values(place: str) -> None:
    """In their places among the results; of a member that is a workflow it is the error of the step that failed."""
    async with queue, at_work(queue):
        long = chain(fragile.message("x"), shout.step(), shout.step())
        wide = TaskGroup([fragile.message("z"), shout.message("b")], join.step())
        broken = TaskGroup([long, fetch.message(Path("b")), wide], return_errors=True)
        ends = await (await queue.enqueue(broken)).result(LONG)
        assert [type(end) for end in ends] == [ExecutionFailedError, Photo, ExecutionFailedError]
        assert ["x is broken" in str(ends[0]), "z is broken" in str(ends[2])] == [True, True]
        group = TaskGroup([fetch.message(Path("a")), fragile.message("x")], kinds.step(), return_errors=True)
        assert await (await queue.enqueue(group)).result(LONG) == ["Photo", "ExecutionFailedError"]
        after = chain(fragile.message("y"), TaskGroup([shout.step(), shout.step()], kinds.step(), return_errors=True))
        with pytest.raises(ExecutionFailedError, match="y is broken"):
            await (await queue.enqueue(after)).result(LONG)


async def test_a_requeue_goes_on_through_a_group_whose_errors_are_values(place: str) -> None:
    """What stands before it is requeued: the callback, and the end, wait for the members as at first."""
    async with queue, at_work(queue):
        group = TaskGroup([late.step(), shout.step(), fragile_after.step()], return_errors=True)
        for whole, result in (
            (chain(fragile.message("x"), group, kinds_of.step()), ["float", "str", "ExecutionFailedError"]),
            (chain(fragile.message("x"), group), None),
        ):
            repaired.clear()
            handle = await queue.enqueue(whole)
            with pytest.raises(ExecutionFailedError) as caught:
                await handle.result(LONG)
            await awaited(lambda handle=handle: _has_settled(handle))
            repaired.add("x")
            await (await queue.backend()).requeue([queue.handle(caught.value.task_id).id])
            value = await handle.result(LONG)
            assert value == result if result else (value[:2] == [0.3, "X"] and isinstance(value[2], TaskError))


async def _has_settled(handle) -> bool:
    return all(node.status.finished for node in (await handle.tree()).nodes.values())


async def test_a_result_is_asked_for_while_a_member_runs_again(place: str) -> None:
    """It is not there yet, which is no reason to call it lost."""
    async with queue, at_work(queue):
        handle = await queue.enqueue(TaskGroup([fragile.message("x"), one.message()], return_errors=True))
        failed, _ = await handle.result(LONG)
        backend = await queue.backend()
        await backend.pause("default")
        await backend.requeue([queue.handle(failed.task_id).id])
        repaired.add("x")
        with pytest.raises(ResultTimeoutError, match="requeued"):
            await handle.result(LONG)
        await backend.resume("default")
        assert await queue.handle(failed.task_id).result(LONG) == "x"
        assert await handle.result(LONG) == ["x", 1]


async def test_a_result_that_does_not_fit_fails_the_step(place: str) -> None:
    """As a bad payload, which names the parameter."""
    async with queue, at_work(queue):
        loose = chain(fetch.message(Path("a")), anything.step(), add.step())
        with pytest.raises(ExecutionFailedError, match="parameter 'number'") as failed:
            await (await queue.enqueue(loose)).result(LONG)
        assert failed.value.reason == "bad_payload"


async def test_a_workflow_is_read_by_the_type_that_is_declared(place: str) -> None:
    """Also where one message gathers it, and in a process that knows none of its tasks."""
    async with queue, at_work(queue):
        group = await queue.enqueue(TaskGroup([fetch.message(Path("a")), fetch.message(Path("b"))]))
        timed = await queue.enqueue(TaskChainBuilder(timeout=LONG).add(fetch.message(Path("c"))).build())
        assert await group.result(LONG) == [Photo(Path("a")), Photo(Path("b"))]
        await timed.result(LONG)
        web = TaskQueue(await queue.backend())
        assert await web.workflow(group.id, type=list[Photo]).result(LONG) == [Photo(Path("a")), Photo(Path("b"))]
        assert await web.workflow(timed.id, type=Photo).result(LONG) == Photo(Path("c"))
        assert await web.workflow(timed.id).result(LONG) == {"path": "c", "width": 0}
        with pytest.raises(BadPayloadError, match=r"the result\[0\] cannot be read"):
            await web.workflow(group.id, type=list[int]).result(LONG)


# Ending it ------------------------------------------------------------------------------------------------------------


async def test_cancelling_a_workflow_cancels_all_of_it(place: str) -> None:
    """What runs is told to end, what waits never begins; what was done stays done."""
    async with queue, at_work(queue):
        members = [idle.message(SLOW), idle.message(SLOW), one.message()]
        handle = await queue.enqueue(chain(one.message(), TaskGroup(members, kinds.step(), return_errors=True)))

        async def runs() -> bool:
            return statuses(await handle.tree())["idle"] == [TaskStatus.RUNNING] * 2

        await awaited(runs)
        assert await handle.chain_status() is ChainStatus.RUNNING
        assert await handle.cancel() is True
        with pytest.raises(TaskCancelledError):
            await handle.result(LONG)

        async def all_over() -> bool:
            return all(node.status.finished for node in (await handle.tree()).nodes.values())

        await awaited(all_over)
        over = statuses(await handle.tree())
        assert (over["idle"], over["kinds"]) == ([TaskStatus.CANCELLED] * 2, [TaskStatus.CANCELLED])
        assert await handle.cancel() is False


async def test_a_workflow_has_a_time_limit(place: str) -> None:
    """When it is over, all is cancelled, and the handle says why."""
    async with queue, at_work(queue):
        steps = [one.message(), idle.message(SLOW), anything.step()]
        handle = await queue.enqueue(TaskChainBuilder("late", timeout=0.2).add_all(steps).build())
        with pytest.raises(TaskTimeoutError, match=r"longer than its limit of 0\.2 s") as late:
            await handle.result(LONG)
        assert late.value.reason == "timeout"

        async def told() -> bool:
            return statuses(await handle.tree())["idle"] == [TaskStatus.CANCELLED]

        await awaited(told)


@pytest.mark.parametrize("by", ["cancel", "timeout"])
async def test_a_workflow_that_was_ended_goes_on_when_it_is_requeued(place: str, by: str) -> None:
    """With all that had not succeeded, in one call, and without the time limit it had."""
    gates.clear()
    async with queue, at_work(queue):
        limit = {"cancel": LONG, "timeout": 1.0}[by]
        steps = [one.message(), gate.message("a"), TaskGroup([gate.message("b"), shout.step()]), join.step()]
        handle = await queue.enqueue(TaskChainBuilder("ended", timeout=limit).add_all(steps).build())

        async def runs() -> bool:
            return statuses(await handle.tree())["gate"][0] is TaskStatus.RUNNING

        async def all_over() -> bool:
            return all(node.status.finished for node in (await handle.tree()).nodes.values())

        await awaited(runs)
        if by == "cancel":
            assert [node.task.rpartition(".")[2] for node in await handle.current()] == ["gate"]
            await handle.cancel()
        expected = {"cancel": TaskCancelledError, "timeout": TaskTimeoutError}[by]
        with pytest.raises(expected, match=r"handle\.requeue\(\)"):
            await handle.result(LONG)
        await awaited(all_over)
        gates.update("ab")
        assert await handle.requeue() >= 5
        assert await handle.result(LONG) == "b A"
        assert await handle.requeue() == 0
        assert statuses(await handle.tree())["one"] == [TaskStatus.SUCCESS]


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_time_limit_is_kept_though_every_slot_hangs(place: str, slots: int) -> None:
    """In the very workflow that it is for, with tasks in line behind, and in a worker that serves one queue alone."""
    async with queue, at_work(queue, concurrency=slots, queues=["default"]):
        handle = await queue.enqueue(TaskGroup([idle.message(SLOW) for _ in range(5)], timeout=0.7))
        with pytest.raises(TaskTimeoutError):
            await handle.result(LONG)
        after = await queue.enqueue(chain(one.message(), add.step()))
        assert await after.result(LONG) == 2


async def test_a_time_limit_is_kept_behind_messages_fetched_ahead(place: str) -> None:
    """However many a worker may hold beyond its slots."""
    async with queue, at_work(queue, concurrency=1, prefetch=3):
        handle = await queue.enqueue(TaskGroup([idle.message(SLOW), idle.message(SLOW)], timeout=0.7))
        with pytest.raises(TaskTimeoutError):
            await handle.result(LONG)


async def test_a_workflow_in_time_leaves_no_timer(place: str) -> None:
    """The message that would have ended it is cancelled."""
    async with queue, at_work(queue):
        handle = await queue.enqueue(TaskGroup([one.message()], timeout=SLOW))
        assert await handle.result(LONG) == [1]
        assert statuses(await handle.tree())["expire"] == [TaskStatus.CANCELLED]


async def test_a_taken_key_refuses_the_whole_workflow(place: str) -> None:
    """Whether something waits for that step or not: nothing is stored, and the holder is named."""
    async with queue:
        holder = await one.using(unique_key="k").enqueue()
        keyed = one.using(unique_key="k")
        for refused in (chain(keyed.message(), add.step()), TaskGroup([add.message(1), keyed.message()])):
            with pytest.raises(DuplicateTaskError, match=str(holder.id)):
                await queue.enqueue(refused)
        assert [record.id for record in await (await queue.backend()).find()] == [holder.id]
        await work_off(queue)
        allowed = await queue.enqueue(chain(keyed.message(), add.step()))
        await work_off(queue)
        assert await allowed.result(LONG) == 2


async def test_a_message_may_run_by_itself_and_in_workflows(place: str) -> None:
    """None of them concerns the others, nor what is taken back when a key is taken."""
    async with queue:
        message, slow = add.message(1), idle.message(0.2)
        alone = [await queue.enqueue(message), await queue.enqueue(slow)]
        holder = await one.using(unique_key="k").enqueue()
        with pytest.raises(DuplicateTaskError, match=str(holder.id)):
            await queue.enqueue(TaskGroup([slow, one.using(unique_key="k").message()]))
        builder = TaskChainBuilder().add(message).add(add.step())
        handles = [await queue.enqueue(builder.build()), await queue.enqueue(builder.build())]
        wide = TaskGroup([message, message])
        handles += [await queue.enqueue(wide), await queue.enqueue(TaskGroup([wide, wide], second.step()))]
        assert all(handle.created for handle in handles)
        await work_off(queue)
        assert [await handle.result(LONG) for handle in [*alone, *handles]] == [2, 0.2, 3, 3, [2, 2], [2, 2]]


async def test_a_workflow_that_failed_is_not_enqueued_again(place: str) -> None:
    """It is told to be over, which is no success; once it was requeued and succeeded it is there as before."""
    whole = chain(fragile.message("x"), shout.step())
    async with queue:
        await queue.enqueue(whole)
        await work_off(queue)
        with pytest.raises(QueueError, match="was enqueued before, and is over"):
            await queue.enqueue(whole)


async def test_waiting_too_long_leaves_the_workflow_alone(place: str) -> None:
    """It goes on, and any handle of its id tells how far it is."""
    async with queue:
        handle = await queue.enqueue(chain(one.message(), add.step()))
        with pytest.raises(ResultTimeoutError):
            await handle.result(0.01)
        assert await queue.workflow(handle.id).chain_status() is ChainStatus.PENDING
        await work_off(queue)
        assert await queue.workflow(handle.id, type=int).result(LONG) == 2


# In the user's own transaction ----------------------------------------------------------------------------------------


@pytest.fixture
def database() -> Iterator[str]:
    """The queue, on PostgreSQL; its URL."""
    url = _empty_postgres()
    with queue.override(url):
        yield url


@pytest.mark.parametrize("width", [2, 700])
async def test_a_workflow_is_there_if_its_transaction_commits(database: str, width: int) -> None:
    """Whole or not at all, be it one call of the database or several; it is the same one when it is sent again."""
    async with queue, await psycopg.AsyncConnection.connect(database) as connection:
        group = TaskGroup([one.message() for _ in range(width)], total.step())
        handle = await queue.enqueue(group, connection=connection)
        await connection.rollback()
        with pytest.raises(TaskNotFoundError):
            await handle.status()
        handle = await queue.enqueue(group, connection=connection)
        assert handle.created
        await connection.commit()
        async with at_work(queue, concurrency=50):
            assert await handle.result(LONG) == width


async def test_a_taken_key_is_told_inside_a_transaction(database: str) -> None:
    """Whoever rolls it back has nothing stored."""
    async with queue, await psycopg.AsyncConnection.connect(database) as connection:
        holder = await one.using(unique_key="k").enqueue()
        keyed = one.using(unique_key="k")
        for refused in (chain(keyed.message(), add.step()), TaskGroup([add.message(1), keyed.message()])):
            with pytest.raises(DuplicateTaskError, match=str(holder.id)):
                await queue.enqueue(refused, connection=connection)
            await connection.rollback()
        assert [record.id for record in await (await queue.backend()).find()] == [holder.id]
