"""Every code block of README.md and docs/ does what its page says."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.house.blocks import BlockError, blocks_of, follow, steps_of
from tests.servers.postgres import running
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if path.is_file())
pages = pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The URL of a server of its own."""
    with RedisServer({"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server.url()


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of a reader's own."""
    with running(fsync=True) as server:
        yield server.url()


SERVERS: Mapping[str, Callable[[], AbstractContextManager[str]]] = {"redis.md": redis, "postgresql.md": postgres}
"""Page → what starts the server that its reader has, whose URL is in REINHARDT_TASKS_URL."""


@pytest.fixture
def settings(page: Path) -> Iterator[dict[str, str]]:
    """What a reader of the page has set in the environment."""
    start = SERVERS.get(page.name)
    if start is None:
        yield {}
    else:
        with start() as url:
            yield {"REINHARDT_TASKS_URL": url}


@pages
@pytest.mark.timeout(900)
def test_a_reader_who_follows_the_page_gets_what_it_shows(page: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    """Its blocks run in one empty directory, in the order they are read; each that fails is reported."""
    failures = []
    for step in steps_of(blocks_of(str(page.relative_to(ROOT)), page.read_text())):
        try:
            follow(step, tmp_path, settings=settings)
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
