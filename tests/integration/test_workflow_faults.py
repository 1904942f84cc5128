"""Workflows whose workers and producers are killed in the middle, on each backend that outlives a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reinhardt_tasks import ChainStatus, TaskId, TaskStatus
from tests.integration.apps import flows
from tests.integration.apps.mortal_producers import DEATHS, WIDTH
from tests.integration.mortality import KINDS, PATIENCE, one_of_each, survive, url_of
from tests.integration.site import Site, all_finished, producer, site


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
