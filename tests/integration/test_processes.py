"""The process pool: real children that run typed tasks and can be killed; a dead one costs one message."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import msgspec
import pytest

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Progress, Reason
from reinhardt_tasks.run import RemoteFailureError
from reinhardt_tasks.worker import spawned
from reinhardt_tasks.worker.processes import ChildDiedError, ProcessCall, ProcessPool
from tests.eventually import eventually_async
from tests.integration import process_tasks as tasks
from tests.integration.pools import call_of, failure_of, linux, pid_in, pool_of, run
from tests.procfs import exists

# Running -------------------------------------------------------------------------------------------------------------


async def test_typed_values_go_in_and_come_back():
    """The child calls the function with real objects, and what it returns is of the declared type again."""
    async with pool_of(1) as pool:
        assert await run(pool, tasks.mirrored, tasks.Point(1, y=2)) == tasks.Point(2, 1)
        assert await run(pool, tasks.awaited, text="text") == "TEXT"


async def test_a_large_value_crosses_the_pipe_whole():
    """Far more than a socket takes at once, in both directions."""
    text = "äöü" * 150_000
    async with pool_of(1) as pool:
        assert await run(pool, tasks.echoed, text) == text


async def test_a_class_task_runs_in_a_child():
    """It is found by its class, though the class is no Task."""
    task = tasks.registry.find("tests.integration.process_tasks.Shout")
    async with pool_of(1) as pool:
        assert await run(pool, task, text="hey") == "hey!"


async def test_the_current_task_is_the_message_at_hand():
    """Id, attempt, losses, due moment and headers are those of the claim."""
    id = TaskId.new()
    call = ProcessCall(id, tasks.described.name, attempts=2, losses=1, run_at=1_700_000_000.0, headers={"tenant": "a"})
    async with pool_of(1) as pool:
        said = await run(pool, tasks.described, call=call)
    assert said == {
        "id": str(id),
        "name": tasks.described.name,
        "attempt": 3,
        "losses": 1,
        "scheduled_for": "2023-11-14T22:13:20+00:00",
        "headers": ["tenant=a"],
    }


async def test_a_child_is_kept_for_the_next_message():
    """One message after the other is run by one process, which is not this one."""
    async with pool_of(4) as pool:
        pids = {await run(pool, tasks.pid) for _ in range(10)}
        assert pids == set(pool.pids)
        assert len(pids) == 1
        assert os.getpid() not in pids


async def test_as_many_children_work_as_there_are_places():
    """And not one more; further messages wait for a place."""
    async with pool_of(2) as pool:
        pids = await asyncio.gather(*(run(pool, tasks.pid) for _ in range(12)))
        assert set(pids) <= set(pool.pids)
        assert len(pool.pids) == 2


async def test_a_child_is_replaced_after_its_share_of_messages():
    """Three messages a child, and the process of a child that has had them ends by itself."""
    async with pool_of(1, max_tasks_per_child=3) as pool:
        pids = [await run(pool, tasks.pid) for _ in range(7)]
        assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]
        await eventually_async(lambda: not exists(pids[0]) and not exists(pids[3]))
        assert pool.pids == [pids[6]]


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_has_a_process_at_least(size):
    """A pool that could run nothing is refused when it is made."""
    with pytest.raises(ValueError, match="at least one process"):
        ProcessPool(size)


# Failing -------------------------------------------------------------------------------------------------------------


async def test_an_exception_arrives_as_text_and_verdict():
    """Type, message, traceback from the task's own line on, and whether it is worth a retry; the child goes on."""
    async with pool_of(1) as pool:
        before = await run(pool, tasks.pid)
        failure = await failure_of(pool, tasks.missing, "k")
        assert failure.record.type == "LookupError"
        assert failure.record.message == "no row k"
        assert 'raise LookupError(f"no row {key}")' in failure.record.traceback
        assert "worker/child.py" not in failure.record.traceback
        assert (failure.retryable, failure.after) == (True, None)
        assert await run(pool, tasks.pid) == before


async def test_the_task_s_own_strategy_judges_its_exception():
    """`give_up_on` and `Retry(after=…)` are understood where the exception is an object."""
    async with pool_of(1) as pool:
        assert not (await failure_of(pool, tasks.missing_for_good, "k")).retryable
        asked = await failure_of(pool, tasks.later)
        assert (asked.retryable, asked.after) == (True, 5.0)


async def test_sys_exit_ends_the_message_only():
    """Also in a coroutine, where it passes through the loop."""
    async with pool_of(1) as pool:
        before = await run(pool, tasks.pid)
        failure = await failure_of(pool, tasks.leaving)
        assert (failure.record.type, failure.retryable) == ("SystemExit", False)
        assert await run(pool, tasks.awaited, "still") == "STILL"
        assert await run(pool, tasks.pid) == before


async def test_a_result_of_another_type_than_declared_is_not_retried():
    """The task has run; running it again would not help."""
    async with pool_of(1) as pool:
        failure = await failure_of(pool, tasks.misdeclared)
        assert (failure.record.reason, failure.retryable) == (Reason.BAD_RESULT, False)


async def test_arguments_that_do_not_decode_are_a_bad_payload():
    """The function is not called with what it does not take."""
    async with pool_of(1) as pool:
        with pytest.raises(RemoteFailureError) as caught:
            await pool.run(tasks.mirrored, msgspec.msgpack.encode({"point": "here"}), call_of(tasks.mirrored))
        failure = caught.value.failure
        assert (failure.record.reason, failure.retryable) == (Reason.BAD_PAYLOAD, False)


async def test_a_task_that_no_other_process_can_find_is_a_clear_error():
    """It names the task, the place and the remedy."""
    async with pool_of(1) as pool:
        with pytest.raises(ConfigurationError, match=r"hidden.*top of a module.*TARGET"):
            await run(pool, tasks.made_in_a_function())


async def test_a_module_that_fails_in_the_child_says_why():
    """The traceback is part of the error: nobody else sees the child's."""
    async with pool_of(1, target="tests.integration.no_such_module:queue") as pool:
        with pytest.raises(ConfigurationError, match=r"(?s)no_such_module.*Traceback.*ModuleNotFoundError"):
            await run(pool, tasks.pid)


async def test_the_queue_at_target_is_asked_first():
    """By the task's name, so that it does not matter where and how it is defined."""
    async with pool_of(1, target="tests.integration.process_tasks:registry") as pool:
        assert await run(pool, tasks.awaited, "text") == "TEXT"
    async with pool_of(1, target="tests.integration.process_tasks:tasks") as pool:
        with pytest.raises(ConfigurationError, match="is no queue"):
            await run(pool, tasks.awaited, "text")


# Dying ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "args", "code", "said"),
    [
        (tasks.exiting, (9,), 9, "exited with code 9"),
        (tasks.exiting, (0,), 0, "exited with code 0"),
        (tasks.crashing, (), -signal.SIGSEGV, "was killed by SIGSEGV"),
    ],
)
async def test_a_child_that_dies_fails_its_one_message(task, args, code, said):
    """The error tells how it ended; a message that runs beside it, and the next one, do not notice."""
    async with pool_of(2) as pool:
        beside, died = await asyncio.gather(
            run(pool, tasks.echoed, "beside"), run(pool, task, *args), return_exceptions=True
        )
        assert beside == "beside"
        assert isinstance(died, ChildDiedError)
        assert (died.code, died.name) == (code, task.name)
        assert said in str(died)
        assert not exists(died.pid)
        assert await run(pool, tasks.echoed, "next") == "next"


async def test_a_child_that_is_killed_from_outside_fails_its_one_message(tmp_path):
    """As the system does when memory runs out."""
    async with pool_of(1) as pool:
        started = tmp_path / "started"
        running = asyncio.ensure_future(run(pool, tasks.hanging, started))
        os.kill(await eventually_async(lambda: pid_in(started)), signal.SIGKILL)
        with pytest.raises(ChildDiedError, match="was killed by SIGKILL"):
            await running
        assert await run(pool, tasks.echoed, "next") == "next"


async def test_an_idle_child_that_died_is_not_given_a_message():
    """The next message gets a fresh one, even before the loop has heard of the death."""
    async with pool_of(1) as pool:
        before = await run(pool, tasks.pid)
        os.kill(before, signal.SIGKILL)
        os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it is dead, and the loop did not run
        assert await run(pool, tasks.pid) != before


async def test_death_is_noticed_where_the_system_has_no_pidfd(monkeypatch):
    """Other systems than Linux, or a sandbox that refuses it."""

    def refused(pid):
        raise PermissionError

    monkeypatch.setattr(spawned.os, "pidfd_open", refused)
    async with pool_of(1) as pool:
        with pytest.raises(ChildDiedError, match="exited with code 9"):
            await run(pool, tasks.exiting, 9)
        assert await run(pool, tasks.echoed, "next") == "next"


async def test_a_child_that_can_say_nothing_more_ends():
    """A task that closes every file fails its message, rather than being waited for for ever."""
    async with pool_of(1) as pool:
        with pytest.raises(ChildDiedError):
            await run(pool, tasks.hanging_up)
        assert await run(pool, tasks.echoed, "next") == "next"


@linux
async def test_a_child_that_sends_nonsense_is_killed():
    """Its task may have written where it should not; whatever comes next from there could not be trusted."""
    async with pool_of(1) as pool:
        with pytest.raises(ChildDiedError, match="was killed by SIGKILL"):
            await run(pool, tasks.babbling)
        assert await run(pool, tasks.echoed, "next") == "next"


async def test_cancelling_the_caller_kills_the_child(tmp_path):
    """A time limit or a cancel ends even a task that never looks up, and the child is gone when the caller is told."""
    async with pool_of(1) as pool:
        for task in (tasks.hanging, tasks.hogging):
            started = tmp_path / task.__name__
            running = asyncio.ensure_future(run(pool, task, started))
            pid = await eventually_async(lambda started=started: pid_in(started))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not exists(pid)
        assert await run(pool, tasks.echoed, "next") == "next"


async def test_a_message_that_waits_for_a_place_can_be_cancelled(tmp_path):
    """It costs nothing: no child is killed for it."""
    async with pool_of(1) as pool:
        started = tmp_path / "started"
        running = asyncio.ensure_future(
            run(pool, tasks.told_to_end, started, call=(call := call_of(tasks.told_to_end)))
        )
        pid = await eventually_async(lambda: pid_in(started))
        waiting = asyncio.ensure_future(run(pool, tasks.pid))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.cancel(call.id)
        assert await running == "told"
        assert await run(pool, tasks.pid) == pid


async def test_a_task_in_a_child_can_be_told_to_end(tmp_path):
    """`current_task().cancelled` becomes true there; for a message that does not run here there is nothing to tell."""
    async with pool_of(1) as pool:
        call = call_of(tasks.told_to_end)
        started = tmp_path / "started"
        running = asyncio.ensure_future(run(pool, tasks.told_to_end, started, call=call))
        await eventually_async(lambda: pid_in(started))
        assert not pool.cancel(bytes(TaskId.new()))
        assert pool.cancel(call.id)
        assert await running == "told"
        assert not pool.cancel(call.id)


# Telling -------------------------------------------------------------------------------------------------------------


async def test_the_newest_progress_wins():
    """What is told is in order, and the last report is told whatever became of those before."""
    heard: list[Progress] = []
    async with pool_of(1) as pool:
        await run(pool, tasks.stepping, 10_000, on_progress=lambda raw: heard.append(Progress.decode(raw)))
    steps = [progress.done for progress in heard]
    assert steps == sorted(set(steps))
    assert (heard[-1].done, heard[-1].total, heard[-1].note) == (10_000, 10_000, "step 10000")


async def test_progress_is_told_twenty_times_a_second_at_most():
    """However often the task reports; the first and the last one come on top."""
    heard: list[bytes] = []
    async with pool_of(1) as pool:
        took = await run(pool, tasks.stepping_for, 0.3, on_progress=heard.append)
    assert 2 <= len(heard) <= took * 20 + 2


async def test_progress_of_a_message_that_has_ended_is_not_told_as_another_s():
    """A thread that a task left behind may still report."""
    heard: list[bytes] = []
    async with pool_of(1) as pool:
        await run(pool, tasks.remembering)
        await run(pool, tasks.reporting_for_another, on_progress=heard.append)
    assert heard == []


async def test_the_last_progress_before_a_silence_is_told(tmp_path):
    """Two reports in a row: the second is not lost to the limit on how often they are sent."""
    heard: list[float] = []
    async with pool_of(1) as pool:
        go_on = tmp_path / "go"
        running = asyncio.ensure_future(
            run(pool, tasks.reporting_once_more, go_on, on_progress=lambda raw: heard.append(Progress.decode(raw).done))
        )
        await eventually_async(lambda: 2 in heard)
        go_on.touch()
        await running


async def test_a_progress_callback_that_fails_costs_nothing_but_a_log_line(caplog):
    """The result still arrives."""

    def broken(raw):
        raise ValueError("no")

    async with pool_of(1) as pool:
        await run(pool, tasks.stepping, 3, on_progress=broken)
    assert "progress_callback_failed" in caplog.text


async def test_what_a_task_logs_is_logged_by_the_worker(caplog):
    """With its own fields, level and traceback, through whatever logging the worker has set up."""
    caplog.set_level(logging.CRITICAL, "shop.quiet")
    caplog.set_level(logging.INFO)
    async with pool_of(1) as pool:
        call = call_of(tasks.logging_something)
        assert await run(pool, tasks.logging_something, call=call) == logging.INFO
        child = pool.pids[0]
    odd, vain = (record for record in caplog.records if record.name in ("reinhardt_tasks.task", "shop"))
    assert (odd.levelname, odd.getMessage(), odd.process) == ("WARNING", "row 7 is odd", child)
    assert (odd.table, odd.where, odd.task_id) == ("users", "PosixPath('/etc')", str(TaskId(call.id)))
    assert Path(odd.pathname).name == "process_tasks.py"
    assert vain.getMessage() == "looked in vain"
    assert "LookupError: gone" in vain.exc_text
    assert "too little" not in caplog.text
    assert "nobody asked" not in caplog.text


async def test_what_a_task_prints_is_seen_when_it_ends(capfd, monkeypatch):
    """Standard output is the worker's own, and nothing waits in the child until that ends."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    async with pool_of(1) as pool:
        await run(pool, tasks.printing, "hello from a child\n")
        assert capfd.readouterr().out == "hello from a child\n"


# Providers -----------------------------------------------------------------------------------------------------------


async def test_a_provider_is_opened_once_per_child_and_closed_with_it(capfd):
    """On the loop that the tasks of the child run on; plain functions may use it as well."""
    async with pool_of(1) as pool:
        assert await run(pool, tasks.uses_connection)
        assert await run(pool, tasks.uses_connection)
        assert await run(pool, tasks.uses_connection_plainly, 5) == [5, "connection 1"]
    assert capfd.readouterr().out == "closed True\n"


async def test_a_provider_that_cannot_be_opened_fails_the_message():
    """And says which one, and why; it is tried again with the next message."""
    async with pool_of(1) as pool:
        for _ in range(2):
            failure = await failure_of(pool, tasks.uses_broken)
            assert "broken" in failure.record.message
            assert "no one there" in failure.record.message
            assert failure.retryable
