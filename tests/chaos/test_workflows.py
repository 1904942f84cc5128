"""Workflows whose workers are killed at every point of every step, and again and again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.integration.apps import flows
from tests.integration.apps.deaths import POINTS
from tests.integration.flow_graphs import QUICK, comes_true, fresh_url
from tests.integration.flow_model import Part, workflows
from tests.integration.load import all_records
from tests.integration.mortality import KINDS, all_of_them, assert_released_once, start, survive, url_of
from tests.integration.site import producer, site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

AT_ONCE = 8
"""Workers that live beside each other."""
PASSES = 2
DEATHS = 12


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_killed_at_every_passing_of_every_point_costs_only_time(kind, tmp_path):
    """Chain, group and graph, in an order of chance: see the quick form."""
    cases = all_of_them() * PASSES
    random.shuffle(cases)
    url, deaths = url_of(kind, tmp_path), 0
    for first in range(0, len(cases), AT_ONCE):
        (directory := tmp_path / str(first)).mkdir()
        with site(directory, url) as place:
            async with producer(flows.queue, place) as backend:
                some = list(dict.fromkeys(cases[first : first + AT_ONCE]))
                await survive(place, backend, some)
                deaths += len(some)
    print(f"kind={kind} deaths={deaths}")  # noqa: T201


@pytest.mark.parametrize("kind", KINDS)
async def test_workers_that_die_again_and_again_finish_what_they_share(kind, tmp_path):
    """Three workers with four slots each, at points of chance, under a workflow whose parts stand inside each other."""
    lives = [
        {
            "name": f"worker-{number}",
            "queues": ["a", "b"],
            "slots": 4,
            "deaths": [(random.choice(POINTS), random.randint(1, 20)) for _ in range(DEATHS)],  # noqa: S311 - chaos
        }
        for number in range(3)
    ]
    with site(tmp_path, url_of(kind, tmp_path)) as place:
        async with producer(flows.queue, place) as backend:
            handle = await flows.queue.enqueue(flows.nested("a", "b"))
            start(place, lives)
            assert await handle.result(600) == flows.NESTED_RESULT
            tree = await handle.tree()
            records = await all_records(backend, list(tree.nodes))
            assert_released_once(place, tree, records, "nested")
            deaths = place.entries(*{f"killed:{life['name']}" for life in lives})
            print(f"kind={kind} messages={len(records)} deaths={len(deaths)}")  # noqa: T201
            assert len(deaths) >= DEATHS
            assert sum(record.losses for record in records) <= 4 * len(deaths)


@pytest.mark.parametrize("kind", ["memory", *KINDS])
@settings(QUICK, max_examples=300)
@given(part=workflows())
def test_hundreds_of_workflows_of_any_form_end_as_the_model_says(kind: str, tmp_path: Path, part: Part) -> None:
    """See the quick form."""
    asyncio.run(comes_true(fresh_url(kind, tmp_path), part))
