"""Every code block of README.md and docs/ does what its page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.blocks import BlockError, blocks_of, follow, steps_of

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if path.is_file())
pages = pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])


@pages
@pytest.mark.timeout(900)
def test_a_reader_who_follows_the_page_gets_what_it_shows(page: Path, tmp_path: Path) -> None:
    """Its blocks run in one empty directory, in the order they are read; each that fails is reported."""
    failures = []
    for step in steps_of(blocks_of(str(page.relative_to(ROOT)), page.read_text())):
        try:
            follow(step, tmp_path)
        except BlockError as error:
            failures.append(str(error))
    assert not failures, "\n\n".join(failures)


@pages
def test_links_to_files_of_the_project_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists."""
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_holds_code_that_runs() -> None:
    """The first page shows at least one block that runs."""
    assert steps_of(blocks_of("README.md", (ROOT / "README.md").read_text()))
