"""Worker processes that are killed, stopped, frozen or blocked, on one SQLite file: nothing is lost for it."""

from __future__ import annotations

import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from reinhardt_tasks.errors import ExecutionFailedError, TaskTimeoutError
from reinhardt_tasks.status import TaskStatus
from tests.eventually import eventually_async
from tests.integration.apps import jobs
from tests.integration.site import LEASE, REDELIVERY, all_finished, gone, limited, producer, records, registered, site

SLACK = 2.0
"""Seconds a shared machine may stall in the middle of a measurement."""


@pytest.fixture
def place(tmp_path: Path):
    """A database with the workers of one test."""
    with site(tmp_path) as made:
        yield made


# Killed ---------------------------------------------------------------------------------------------------------------


async def test_a_killed_worker_loses_nothing(place):
    """Every message runs; what runs twice was in flight when it died; it is started again in time."""
    async with producer(jobs.queue, place) as backend:
        crews = [place.start("--concurrency", "4") for _ in range(3)]
        workers = await registered(backend, 3)
        handles = await jobs.queue.enqueue_many(jobs.pausing.message(0.05) for _ in range(300))
        await place.begun(40)
        victim = crews[0]
        held = next(worker.claims for worker in workers if worker.beat.pid == victim.pid)
        victim.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        held = max(held, *[worker.claims for worker in await backend.workers() if worker.beat.pid == victim.pid], 0)
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 300}
        runs = place.runs("begin")
        assert set(runs) == {str(handle.id) for handle in handles}
        twice = {id for id, count in runs.items() if count > 1}
        assert runs.total() - 300 <= held
        again = [entry for entry in place.entries("begin") if entry.id in twice and entry.at > killed_at]
        last = max((entry.at for entry in again if entry.pid != victim.pid), default=killed_at)
        assert last - killed_at <= REDELIVERY + SLACK
        assert victim.ended() == -signal.SIGKILL


async def test_a_message_of_a_killed_worker_is_started_again_in_time(place):
    """Four and a half seconds after the kill, with the lease of three of these tests."""
    async with producer(jobs.queue, place) as backend:
        first = place.start()
        await registered(backend, 1)
        handle = await jobs.pausing.enqueue(60)
        await place.begun(1)
        second = place.start()
        await registered(backend, 2)
        first.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        again = (await place.begun(2))[1]
        assert again.at - killed_at <= REDELIVERY + SLACK
        assert (again.id, again.attempt, again.pid) == (str(handle.id), 1, second.pid)
        record = (await records(backend, [handle.id]))[0]
        assert (record.losses, record.attempts) == (1, 0)


@pytest.mark.parametrize("task", [jobs.exiting, jobs.exiting_in_a_group], ids=["crash", "sys.exit"])
async def test_a_message_that_kills_its_workers_is_contained(place, task):
    """Run exactly three times, then a dead letter; those claimed beside it all succeed, and are not counted out."""
    async with producer(jobs.queue, place) as backend:
        good = [jobs.pausing.message(0.01) for _ in range(30)]
        poison = task.message()
        await jobs.queue.enqueue_many([*good[:10], poison, *good[10:]])
        place.start("--concurrency", "4", "--processes", "2")
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 30, TaskStatus.FAILURE: 1}
        outcome = await jobs.queue.handle(poison.id).outcome(timeout=1)
        assert isinstance(outcome, ExecutionFailedError)
        assert outcome.reason == "poison"
        assert place.runs("begin")[str(poison.id)] == 3
        record = (await records(backend, [poison.id]))[0]
        assert (record.losses, record.attempts) == (3, 0)


# Stopped --------------------------------------------------------------------------------------------------------------


async def test_a_stopped_worker_loses_nothing_and_spends_nothing(place):
    """SIGTERM: what runs is finished, the rest goes back, what was opened is closed, and the process ends with 0."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "4", "--prefetch", "4")
        handles = await jobs.queue.enqueue_many(jobs.connected.message(0.3) for _ in range(20))
        await place.begun(4, "begin")
        crew.signal(signal.SIGTERM)
        assert crew.ended() == 0
        assert place.runs("begin") == place.runs("end")
        assert [entry.stage for entry in place.entries("opened", "closed")] == ["opened", "closed"]
        assert place.entries()[-1].stage == "closed"
        stand = Counter(record.status for record in await records(backend, [handle.id for handle in handles]))
        assert stand == {TaskStatus.SUCCESS: len(place.runs("end")), TaskStatus.PENDING: 20 - len(place.runs("end"))}
        assert await backend.workers() == []
        place.start("--concurrency", "20")
        assert await all_finished(backend) == {TaskStatus.SUCCESS: 20}
        ended = await records(backend, [handle.id for handle in handles])
        assert {(record.attempts, record.losses) for record in ended} == {(0, 0)}
        assert set(place.runs("begin").values()) == {1}


async def test_what_outlasts_the_shutdown_goes_to_another(place):
    """It is cancelled and given back; no attempt is spent."""
    async with producer(jobs.queue, place) as backend:
        first = place.start("--shutdown-timeout", "0.2")
        handle = await jobs.pausing.enqueue(2)
        await place.begun(1)
        first.signal(signal.SIGTERM)
        assert first.ended() == 0
        place.start()
        second_pid = await handle.result(timeout=30)
        assert second_pid != first.pid
        record = (await records(backend, [handle.id]))[0]
        assert (record.attempts, record.losses) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_leaves_at_once(place, number):
    """Whatever runs; it is found when the lease ends."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start()
        handle = await jobs.pausing.enqueue(60)
        await place.begun(1)
        crew.signal(number)
        await eventually_async(lambda: "worker_stops" in crew.log())
        told_at = time.monotonic()
        crew.signal(number)
        assert crew.ended() == 128 + number
        assert time.monotonic() - told_at < 1 + SLACK
        assert (await records(backend, [handle.id]))[0].status is TaskStatus.RUNNING


async def test_threads_that_tasks_leave_behind_do_not_keep_the_process(place):
    """Those of asyncio.to_thread belong to the event loop, which would wait for them; as many as it has are stuck."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--grace", "0.5", "--concurrency", "40")
        handles = await jobs.queue.enqueue_many(jobs.leaking.message() for _ in range(40))
        for handle in handles:
            assert isinstance(await handle.outcome(timeout=30), TaskTimeoutError)
        assert await (await jobs.quick.enqueue(7)).result(timeout=30) == 7
        crew.signal(signal.SIGTERM)
        told_at = time.monotonic()
        assert crew.ended() == 4
        assert time.monotonic() - told_at < 0.5 + 2 + SLACK
        assert await backend.workers() == []


# Frozen and blocked ---------------------------------------------------------------------------------------------------


async def test_a_worker_that_was_frozen_loses_to_the_second_run(place):
    """SIGSTOP for longer than the lease: another runs the message; what the first comes back with is refused."""
    async with producer(jobs.queue, place) as backend:
        first = place.start()
        await registered(backend, 1)
        handle = await jobs.pausing.enqueue(2)
        await place.begun(1)
        first.signal(signal.SIGSTOP)
        second = place.start()
        assert await handle.result(timeout=30) == second.pid
        first.signal(signal.SIGCONT)
        await eventually_async(lambda: f"{handle.id}" in first.log())
        assert await handle.result(timeout=1) == second.pid
        assert [line for line in first.log().splitlines() if "lease_lost" in line and str(handle.id) in line][1:] == []
        record = (await records(backend, [handle.id]))[0]
        assert (record.status, record.losses, record.attempts) == (TaskStatus.SUCCESS, 1, 0)
        assert [entry.pid for entry in place.entries("begin")] == [first.pid, second.pid]
        quick = await jobs.quick.enqueue(7)  # it has found its way back
        second.signal(signal.SIGTERM)
        assert await quick.result(timeout=30) == 7
        await registered(backend, 1)


async def test_a_blocked_loop_keeps_its_lease(place):
    """A task that blocks for longer than the lease runs once; others of the process keep their lease as well."""
    async with producer(jobs.queue, place) as backend:
        place.start("--concurrency", "2")
        await registered(backend, 1)
        beside = await jobs.pausing.enqueue(0.2)
        await place.begun(1)
        blocking = await jobs.blocking.enqueue(LEASE + 2)
        await place.begun(2)
        place.start()  # it would take what is given up
        await blocking.result(timeout=30)
        await beside.result(timeout=30)
        assert set(place.runs("begin").values()) == {1}
        ended = await records(backend, [blocking.id, beside.id])
        assert {(record.losses, record.attempts) for record in ended} == {(0, 0)}


async def test_a_thread_that_never_ends_ends_its_worker(place):
    """With exit code 4; its message is retried, and only when the process is gone."""
    async with producer(jobs.queue, place) as backend:
        crews = [place.start("--grace", "0.5", "--shutdown-timeout", "1") for _ in range(2)]
        await registered(backend, 2)
        handle = await jobs.endless.enqueue()
        began = (await place.begun(1))[0]
        stuck, other = sorted(crews, key=lambda crew: crew.pid != began.pid)
        assert stuck.ended() == 4
        assert await handle.result(timeout=30) == "gone"
        again = place.entries("begin")[1]
        assert (again.pid, again.attempt) == (other.pid, 2)
        assert again.at - began.at < 0.3 + 0.5 + 1 + 2 + SLACK  # limit, grace, shutdown, the wait before the retry
        assert (await records(backend, [handle.id]))[0].losses == 0


async def test_a_supervisor_replaces_a_worker_with_a_stuck_thread(place):
    """Nobody has to restart anything."""
    async with producer(jobs.queue, place) as backend:
        place.start("--grace", "0.3", "--shutdown-timeout", "0.5", "--processes", "2")
        await registered(backend, 2)
        handle = await jobs.endless.enqueue()
        stuck = (await place.begun(1))[0]
        assert await handle.result(timeout=30) == "gone"
        pids = {worker.beat.pid for worker in await registered(backend, 2)}
        assert stuck.pid not in pids


# Processes of the pool, and memory ------------------------------------------------------------------------------------


async def test_a_dead_child_costs_one_message(place):
    """The worker starts another; a child over its limit is killed."""
    async with producer(jobs.queue, place) as backend:
        crew = place.start("--concurrency", "2")
        bad, slow = await jobs.exiting_in_a_child.enqueue(), await jobs.hanging_in_a_child.enqueue(60)
        good = await jobs.queue.enqueue_many(jobs.quick_in_a_child.message(number) for number in range(20))
        died = await bad.outcome(timeout=30)
        assert isinstance(died, ExecutionFailedError)
        assert "exited with code 9" in (died.error_message or "")
        assert isinstance(await slow.outcome(timeout=30), TaskTimeoutError)
        assert [await handle.result(timeout=30) for handle in good] == list(range(20))
        assert (await records(backend, [bad.id]))[0].losses == 0
        crew.signal(signal.SIGTERM)
        assert crew.ended() == 0
        assert all(gone(entry.pid) for entry in place.entries("run", "begin"))


async def test_a_task_that_takes_too_much_memory_fails_alone(place):
    """Under a limit of the system; the worker and its other tasks go on."""
    async with producer(jobs.queue, place):
        crew = place.start("--concurrency", "4", limits=limited(resource.RLIMIT_AS, 2 << 30))
        here, there = await jobs.hungry.enqueue(4096), await jobs.hungry_in_a_child.enqueue(4096)
        good = await jobs.queue.enqueue_many(jobs.quick.message(number) for number in range(50))
        for handle in (here, there):
            outcome = await handle.outcome(timeout=30)
            assert isinstance(outcome, ExecutionFailedError)
            assert outcome.error_type == "MemoryError"
        assert [await handle.result(timeout=30) for handle in good] == list(range(50))
        assert crew.process.poll() is None


# Many processes -------------------------------------------------------------------------------------------------------


async def test_four_processes_share_one_file(place):
    """Twenty thousand messages, each run exactly once."""
    async with producer(jobs.queue, place) as backend:
        crews = [place.start("--concurrency", "10") for _ in range(4)]
        await registered(backend, 4)
        handles = await jobs.queue.enqueue_many(jobs.quick.message(number) for number in range(20_000))
        assert await all_finished(backend, timeout=100) == {TaskStatus.SUCCESS: 20_000}
        runs = place.runs("run")
        assert set(runs) == {str(handle.id) for handle in handles}
        assert runs.total() == 20_000
        assert len({entry.pid for entry in place.entries("run")}) > 1
        for crew in crews:
            crew.signal(signal.SIGTERM)
        assert [crew.ended() for crew in crews] == [0] * 4


async def test_a_killed_producer_has_kept_its_word(place):
    """Every id that its enqueue returned is there, and runs."""
    async with producer(jobs.queue, place) as backend:
        crew = place.run("-m", "tests.integration.apps.producer")
        await eventually_async(lambda: len(place.entries("enqueued")) >= 50, timeout=30)
        crew.signal(signal.SIGKILL)
        crew.ended()
        returned = {entry.id for entry in place.entries("enqueued")}
        place.start("--concurrency", "20")
        await all_finished(backend)
        assert returned <= set(place.runs("run"))
        assert set(place.runs("run").values()) == {1}
        assert len(place.runs("run")) - len(returned) <= 1  # the one whose enqueue had not returned yet
