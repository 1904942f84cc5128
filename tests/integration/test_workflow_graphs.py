"""Workflows of any form, with failures and retries, end as a pure model says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.integration.flow_graphs import QUICK, comes_true, fresh_url
from tests.integration.flow_model import Part, workflows


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(QUICK)
@given(part=workflows())
def test_workflows_of_any_form_end_as_the_model_says(kind: str, tmp_path: Path, part: Part) -> None:
    """What runs, how often and in which order, what is cancelled, and what comes out; errors as values too."""
    asyncio.run(comes_true(fresh_url(kind, tmp_path), part))


@pytest.mark.parametrize("kind", ["redis", "postgres"])
@settings(QUICK, max_examples=8)
@given(part=workflows())
def test_workflows_of_any_form_end_so_on_a_server(kind: str, tmp_path: Path, part: Part) -> None:
    """As above."""
    asyncio.run(comes_true(fresh_url(kind, tmp_path), part))
