"""docs/architecture.md tells of the house as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from reinhardt_tasks.contract import TaskBackend

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "reinhardt_tasks"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAME = re.compile(r"`(\w+)`")


def section(title: str) -> str:
    """The text below a heading, down to the next one."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> list[list[str]]:
    """The names in the first cell of each row of the table in a section."""
    cells = re.findall(r"^\| ([^|]+) \|", section(title), flags=re.MULTILINE)
    return [names for cell in cells if (names := NAME.findall(cell))]


def floors() -> list[set[str]]:
    """The modules of each line that import-linter is told, as far as they are built."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    built = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return [there for layer in layers if (there := set(re.findall(r"\w+", layer)) & built)]


def test_the_page_lists_the_floors_from_top_to_bottom() -> None:
    """Its table has one row for each line of the import contract."""
    assert [set(row) for row in first_cells("The floors")] == floors()


def test_the_page_lists_every_verb_of_the_contract() -> None:
    """Its table has each abstract method of a backend, and the two that manage its life, once."""
    listed = sorted(name for row in first_cells("The contract") for name in row)
    assert listed == sorted({*TaskBackend.__abstractmethods__, "close"})


def test_the_page_links_every_decision() -> None:
    """No page below docs/adr is left out."""
    linked = set(re.findall(r"\]\(adr/([\w.-]+)\)", section("Decisions")))
    assert linked == {path.name for path in (ROOT / "docs" / "adr").glob("*.md")}


def test_each_decision_has_a_number_of_its_own() -> None:
    """0001, 0002 and so on; those that are written at the same time may leave a gap."""
    numbers = [int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("*.md")]
    assert sorted(set(numbers)) == sorted(numbers)
