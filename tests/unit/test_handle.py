"""A message seen from outside, over the memory backend, with a worker's hands doing what workers do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.codec import Seal, ValueCodec
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.errors import (
    BadPayloadError,
    ExecutionFailedError,
    MaxRetriesExceededError,
    QueueError,
    ResultExpiredError,
    ResultTimeoutError,
    SignatureError,
    TaskCancelledError,
    TaskNotFoundError,
)
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Claim, ErrorRecord, Message, Outcome, Progress, Reason
from reinhardt_tasks.results import TaskOutput
from reinhardt_tasks.status import TaskStatus
from tests.work import Hands

PATHS = ValueCodec(list[uuid.UUID], where="the result")
VALUE = [uuid.UUID(int=7)]


class Desk:
    """A place for handles: a backend, whose time is set by hand, and a seal."""

    def __init__(self, seal: Seal | None = None) -> None:
        self.now = 1_000.0
        self.open = MemoryBackend(clock=lambda: self.now)
        self.seal = seal or Seal()
        self.hands = Hands(self.open)

    async def backend(self) -> TaskBackend:
        """See Place."""
        return self.open

    async def put(self, **options: Any) -> TaskHandle[Any]:
        """A stored message's handle."""
        message: Message[Any] = Message(id=TaskId.new(), name="app.find", body=b"", **options)
        await self.open.put([message])
        return TaskHandle(self, message.id, PATHS, created=True)

    def success(self, claim: Claim) -> Outcome:
        """What a runner makes of VALUE."""
        return Outcome.success(claim, self.seal.close(PATHS.encode(VALUE), claim.id))


async def test_a_result_is_the_typed_value_the_task_returned() -> None:
    """Decoded as the task declares it, not as it travelled."""
    desk = Desk()
    handle = await desk.put()
    await desk.hands.settle(desk.success(await desk.hands.take()))
    assert await handle.result() == VALUE
    assert await handle.outcome(timeout=0) == TaskOutput(handle.id, VALUE)


async def test_a_result_is_pushed_to_those_who_wait() -> None:
    """`result` before the end returns at the end."""
    desk = Desk()
    handle = await desk.put()
    waiting = asyncio.create_task(handle.result())
    claim = await desk.hands.take()
    assert not waiting.done()
    await desk.hands.settle(desk.success(claim))
    assert await waiting == VALUE


async def test_waiting_too_long_is_not_the_tasks_failure() -> None:
    """ResultTimeoutError, which is a TimeoutError; the message goes on."""
    handle = await Desk().put()
    with pytest.raises(ResultTimeoutError, match=str(handle.id)) as caught:
        await handle.result(timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.timeout == 0.01
    assert await handle.status() is TaskStatus.PENDING


async def test_a_nonsensical_timeout_is_refused() -> None:
    """It is checked like every duration."""
    handle = await Desk().put()
    with pytest.raises(ValueError, match="timeout"):
        await handle.result(timeout=-1)


Ending = Callable[[Claim], Outcome]
FAILED = ErrorRecord("ValueError", "boom", "Traceback …")
SPENT = ErrorRecord("ValueError", "boom", "Traceback …", Reason.RETRIES_SPENT)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (lambda claim: Outcome.failure(claim, FAILED), ExecutionFailedError),
        (lambda claim: Outcome.failure(claim, SPENT), MaxRetriesExceededError),
        (lambda claim: Outcome.cancelled(claim, FAILED), TaskCancelledError),
    ],
)
async def test_result_raises_what_outcome_returns(ending: Ending, kind) -> None:
    """The same error, as an exception or as a value."""
    desk = Desk()
    handle = await desk.put()
    await desk.hands.settle(ending(await desk.hands.take()))
    with pytest.raises(kind) as caught:
        await handle.result()
    outcome = await handle.outcome()
    assert type(outcome) is kind
    assert vars(outcome) == vars(caught.value)


async def test_an_expired_result_is_told_apart_from_a_failure() -> None:
    """It succeeded; its result is gone."""
    desk = Desk()
    handle = await desk.put(result_ttl=5.0)
    await desk.hands.settle(desk.success(await desk.hands.take()))
    desk.now += 10
    await desk.open.sweep()
    assert await handle.status() is TaskStatus.SUCCESS
    with pytest.raises(ResultExpiredError):
        await handle.result()
    assert (await handle.info()).result is None


@pytest.mark.parametrize("verb", ["result", "outcome", "status", "info", "progress", "cancel"])
async def test_an_unknown_id_is_not_found_by_any_verb(verb) -> None:
    """Never an endless wait, never a made-up status."""
    handle: TaskHandle[Any] = TaskHandle(Desk(), TaskId.new(), PATHS)
    with pytest.raises(TaskNotFoundError, match=str(handle.id)):
        await getattr(handle, verb)()


async def test_watching_an_unknown_id_is_an_error_too() -> None:
    """At the first step."""
    handle: TaskHandle[Any] = TaskHandle(Desk(), TaskId.new(), PATHS)
    with pytest.raises(TaskNotFoundError):
        await anext(handle.watch())


async def test_a_result_of_another_message_does_not_open() -> None:
    """Results are bound to their id: one moved to another message is refused."""
    desk = Desk(Seal(["k" * 32]))
    first, second = await desk.put(), await desk.put()
    stolen = Outcome.success(await desk.hands.take(), desk.seal.close(PATHS.encode(VALUE), second.id))
    await desk.hands.settle(stolen)
    with pytest.raises(SignatureError):
        await first.result()


async def test_a_result_read_as_another_type_is_refused() -> None:
    """A wrong `type` never gives a half-read value."""
    desk = Desk()
    handle = await desk.put()
    await desk.hands.settle(desk.success(await desk.hands.take()))
    wrong: TaskHandle[int] = TaskHandle(desk, handle.id, ValueCodec(int, where="the result"))
    with pytest.raises(BadPayloadError, match="the result"):
        await wrong.result()


async def test_info_holds_what_is_known_at_each_moment() -> None:
    """Progress while it runs, the value at the end."""
    desk = Desk()
    handle = await desk.put(priority=7)
    assert await handle.progress() is None
    claim = await desk.hands.take()
    await desk.hands.tell(claim, Progress(1, 4, "pages"))
    running = await handle.info()
    assert (running.status, running.priority, running.progress) == (TaskStatus.RUNNING, 7, Progress(1, 4, "pages"))
    assert await handle.progress() == Progress(1, 4, "pages")
    await desk.hands.settle(desk.success(claim))
    assert (await handle.info()).result == VALUE


async def test_watch_shows_each_change_and_ends_with_the_last() -> None:
    """Status and progress as they change; the end is pushed."""
    desk = Desk()
    handle = await desk.put()
    steps = handle.watch()
    assert (await anext(steps)).status is TaskStatus.PENDING
    claim = await desk.hands.take()
    assert (await anext(steps)).status is TaskStatus.RUNNING
    await desk.hands.tell(claim, Progress(3))
    assert (await anext(steps)).progress == Progress(3)
    await desk.hands.settle(desk.success(claim))
    assert [step.result async for step in steps] == [VALUE]


async def test_watch_of_a_finished_message_shows_it_once() -> None:
    """And ends."""
    desk = Desk()
    handle = await desk.put()
    await handle.cancel()
    assert [step.status async for step in handle.watch()] == [TaskStatus.CANCELLED]


async def test_cancel_says_whether_it_came_in_time() -> None:
    """A pending message is cancelled at once, a running one told, a finished one left."""
    desk = Desk()
    pending, running, ended = await desk.put(priority=1), await desk.put(priority=2), await desk.put(priority=3)
    await desk.hands.settle(desk.success(await desk.hands.take()))
    await desk.hands.take()
    assert [await one.cancel() for one in (pending, running, ended)] == [True, True, False]
    assert await pending.status() is TaskStatus.CANCELLED
    assert await running.status() is TaskStatus.RUNNING
    assert await ended.status() is TaskStatus.SUCCESS
    error = (await pending.info()).error
    assert isinstance(error, TaskCancelledError)
    assert error.reason == "requested"


def test_handles_are_equal_by_their_id() -> None:
    """They may be kept in sets and compared with what another call gave."""
    one = TaskId.new()
    same: list[TaskHandle[Any]] = [TaskHandle(Desk(), one, PATHS) for _ in range(2)]
    assert len(set(same)) == 1
    assert same[0] != TaskHandle(Desk(), TaskId.new(), PATHS)
    assert same[0] != one
    assert repr(same[0]) == f"<TaskHandle {one}>"


def test_every_awaiting_method_has_a_blocking_twin() -> None:
    """With the same parameters."""
    import inspect

    public = {
        name: member for name, member in vars(TaskHandle).items() if inspect.isfunction(member) and name[0] != "_"
    }
    twins = {name for name in public if name.endswith("_sync")}
    assert {f"{name}_sync" for name in public} - {f"{twin}_sync" for twin in twins} == twins
    for twin in twins:
        ours, theirs = (inspect.signature(public[name]).parameters for name in (twin, twin.removesuffix("_sync")))
        assert list(ours.values()) == list(theirs.values())


def test_the_blocking_twins_give_the_same_answers() -> None:
    """For code without an event loop."""
    desk = Desk()
    handle = asyncio.run(desk.put())

    async def work() -> None:
        await desk.hands.settle(desk.success(await desk.hands.take()))

    assert handle.status_sync() is TaskStatus.PENDING
    assert handle.progress_sync() is None
    steps = handle.watch_sync()
    assert next(steps).status is TaskStatus.PENDING
    asyncio.run(work())
    assert [step.status for step in steps] == [TaskStatus.SUCCESS]
    assert handle.result_sync() == VALUE
    assert handle.outcome_sync(1) == TaskOutput(handle.id, VALUE)
    assert handle.info_sync().result == VALUE
    assert handle.cancel_sync() is False


@pytest.mark.parametrize("verb", ["result", "outcome", "status", "info", "progress", "cancel"])
async def test_inside_a_loop_a_twin_names_the_form_to_await(verb) -> None:
    """It would block the loop it is called from."""
    handle: TaskHandle[Any] = TaskHandle(Desk(), TaskId.new(), PATHS)
    with pytest.raises(QueueError, match=rf"await handle\.{verb}"):
        getattr(handle, f"{verb}_sync")()
    with pytest.raises(QueueError, match=r"async for … in handle\.watch"):
        next(handle.watch_sync())
