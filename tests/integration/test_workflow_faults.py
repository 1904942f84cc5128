"""Workflows whose workers and producers are killed in the middle, on each backend that outlives a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reinhardt_tasks import ChainStatus, TaskChain, TaskChainBuilder, TaskId, TaskStatus, TaskTimeoutError
from reinhardt_tasks.workflow.builtin import EXPIRE
from tests.integration.apps import flows, version_two
from tests.integration.apps.mortal_producers import DEATHS, WIDTH
from tests.integration.mortality import KINDS, PATIENCE, one_of_each, start, survive, url_of
from tests.integration.site import LEASE, Site, all_finished, producer, records, registered, site


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a backend."""
    return request.param


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[Site]:
    """The backend, with the workers of one test."""
    with site(tmp_path, url_of(kind, tmp_path)) as made:
        yield made


async def test_a_worker_killed_between_any_two_steps_costs_only_time(kind, place):
    """Chain, group and graph: each step runs at least once, each continuation is released exactly once, none is stuck.

    What was settled does not run again, what was not yet begun runs once, and one message alone lost its worker.
    """
    async with producer(flows.queue, place) as backend:
        await survive(place, backend, one_of_each(kind))


async def test_a_killed_producer_starts_nothing_or_all_of_it(place):
    """Killed before the start, nothing runs; what it had stored is no hindrance to sending the same workflow again.

    Then all of it runs, each step once, as it does where the producer died after the start. That what nobody sends
    again is cancelled after HELD_TTL is in the conformance suite.
    """
    async with producer(flows.queue, place) as backend:
        place.run("-m", "tests.integration.apps.mortal_producers")
        await place.begun(1, "died")
        ids = {name: TaskId.parse(place.entries(f"planned:{name}")[0].id) for name in DEATHS}
        assert all(len(place.entries(f"killed:{name}")) == 1 for name in DEATHS)
        place.start("--concurrency", "20", target="tests.integration.apps.flows:queue")
        assert await flows.queue.workflow(ids["started"]).result(PATIENCE) == WIDTH
        assert len(place.entries("run")) == WIDTH + 1
        assert await flows.queue.workflow(ids["keyed"]).chain_status() is ChainStatus.PENDING
        place.gate.touch()
        await place.begun(1, "sent")
        results = {name: await flows.queue.workflow(id).result(PATIENCE) for name, id in ids.items()}
        assert results == {**dict.fromkeys(DEATHS, WIDTH), "keyed": 2}
        assert len(place.entries("run")) == 3 * (WIDTH + 1) + 2
        assert set(place.runs().values()) == {1}
        assert set(await all_finished(backend)) == {TaskStatus.SUCCESS}


@pytest.mark.parametrize(("point", "nth"), [("claimed", 2), ("halfway", 1), ("returned", 2)])
async def test_a_time_limit_outlives_who_runs_it_out(place, point, nth):
    """Its worker dies before it has cancelled anything, after the first of it, or after all: the next one does it."""
    async with producer(flows.queue, place) as backend:
        start(place, [{"name": point, "queues": [point], "slots": 1, "deaths": [(point, nth)]}])
        await registered(backend, 1)
        handle = await flows.queue.enqueue(_late(point))
        assert set(await all_finished(backend)) == {TaskStatus.SUCCESS, TaskStatus.CANCELLED}
        with pytest.raises(TaskTimeoutError) as cancelled:
            await handle.result(1)
        assert cancelled.value.reason == "timeout"
        assert len(place.entries(f"killed:{point}")) == 1
        (timer,) = [node for node in (await handle.tree()).nodes.values() if node.task == EXPIRE]
        assert timer.status is TaskStatus.SUCCESS
        assert len(place.entries("run")) == 1


def _late(queue: str) -> TaskChain[int]:
    """A chain that stops after its first step, as nobody serves the queue of the second."""
    steps = [flows.number.using(queue=queue).message(1), flows.plus.using(queue="nobody").step(1)]
    return TaskChainBuilder("late", timeout=1.0).add_all(steps).build()


async def test_what_is_cancelled_while_its_worker_is_dead_stays_cancelled(place):
    """By hand, or because time is up: the step that ran does not run again, and what waits for it never begins."""
    async with producer(flows.queue, place) as backend:
        victim = place.start("--concurrency", "2", target="tests.integration.apps.flows:queue")
        await registered(backend, 1)
        parts = [(flows.gated.message(1), flows.plus.step(1)) for _ in range(2)]
        by_hand = await flows.queue.enqueue(TaskChainBuilder().add_all(parts[0]).build())
        late = await flows.queue.enqueue(TaskChainBuilder(timeout=LEASE / 2).add_all(parts[1]).build())
        await place.begun(2)
        victim.signal(signal.SIGKILL)
        victim.ended()
        assert await by_hand.cancel() is True
        place.start("--concurrency", "2", target="tests.integration.apps.flows:queue")
        assert set(await all_finished(backend)) == {TaskStatus.SUCCESS, TaskStatus.CANCELLED}
        outcomes = [await handle.outcome(1) for handle in (by_hand, late)]
        assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["requested", "timeout"]
        assert len(place.entries("run", "begin")) == 2


async def test_a_worker_that_lacks_a_task_leaves_the_step_to_others(tmp_path):
    """It runs those that it knows; the workflow goes on when somebody comes who knows the others."""
    with site(tmp_path) as place:
        async with producer(version_two.queue, place) as backend:
            steps = [version_two.shared.message(1), version_two.fresh.message(2), version_two.shared.message(3)]
            handle = await version_two.queue.enqueue(TaskChainBuilder("release").add_all(steps).build())
            old = place.start(target="tests.integration.apps.version_one:queue")
            await place.begun(1)
            assert await handle.chain_status() is ChainStatus.RUNNING
            new = place.start(target="tests.integration.apps.version_two:queue")
            assert await handle.result(PATIENCE) in {"one 3", "two 3"}
            first, second, _ = await records(backend, list((await handle.tree()).nodes))
            assert {(record.attempts, record.losses) for record in (first, second)} == {(0, 0)}
            by = {entry.id: entry.pid for entry in place.entries("run")}
            assert (by[str(first.id)], by[str(second.id)]) == (old.pid, new.pid)
