"""The house stands: imports point down, nothing goes round in circles, and the front door is for guests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "reinhardt_tasks"
# The floor that uses the package as an application would.
GUESTS = ("cli", "contrib", "dashboard", "demo", "testing")


def test_imports_point_down() -> None:
    """The import contracts of pyproject.toml hold for every module there is."""
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom; imports for types and inside functions count."""
    return grimp.build_graph(PACKAGE, cache_dir=None)


def test_only_the_top_floor_enters_by_the_front_door(graph: grimp.ImportGraph) -> None:
    """`from reinhardt_tasks import …` inside the package would import every floor at once."""
    callers = graph.find_modules_that_directly_import(PACKAGE)
    assert {caller for caller in callers if caller.split(".")[1] not in GUESTS} == set()


def test_no_two_modules_need_each_other(graph: grimp.ImportGraph) -> None:
    """Also inside a subpackage, no chain of imports leads a module back to itself."""
    assert sorted(module for module in graph.modules - {PACKAGE} if _returns(graph, module)) == []


def _returns(graph: grimp.ImportGraph, module: str) -> bool:
    imported = graph.find_modules_directly_imported_by(module)
    return module in imported or any(graph.chain_exists(importer=other, imported=module) for other in imported)


def test_the_search_for_circles_finds_them() -> None:
    """A circle of three is seen from each of its members, and not from a bystander."""
    graph = grimp.ImportGraph()
    for importer, imported in [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]:
        graph.add_import(importer=importer, imported=imported)
    assert [_returns(graph, module) for module in "abcd"] == [True, True, True, False]
