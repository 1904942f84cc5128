"""docs/backends/sqlite.md and its picture show the tables that the SQLite backend makes."""

from __future__ import annotations

import contextlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import apsw

from reinhardt_tasks.backends.sqlite import statements

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "backends" / "sqlite.md").read_text()
PICTURE = ET.parse(DOCS / "img" / "sqlite-tables.svg").getroot()  # noqa: S314 - our own file


def made() -> dict[str, set[tuple[str, bool]]]:
    """The tables that the schema makes: their columns, and whether each is part of the primary key."""
    with contextlib.closing(apsw.Connection(":memory:")) as database:
        database.execute(statements.text("schema") + statements.text("stores"))
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: set(database.execute("SELECT name, pk > 0 FROM pragma_table_info(?)", (table,))) for table in tables
        }


def drawn() -> dict[str, set[tuple[str, bool]]]:
    """The tables of the picture; columns of the primary key are in bold."""
    return {
        box.attrib["data-table"]: {
            (text.text or "", "key" in text.attrib["class"].split())
            for text in box.iter()
            if "column" in text.attrib.get("class", "").split()
        }
        for box in PICTURE.iter()
        if "data-table" in box.attrib
    }


def test_the_picture_shows_every_table_with_all_its_columns() -> None:
    """What is drawn is what is made, and nothing else."""
    assert drawn() == made()


def test_the_page_says_what_each_table_holds() -> None:
    """Its list has one line for each table."""
    assert sorted(re.findall(r"^\| `(\w+)` \| one row for ", PAGE, flags=re.MULTILINE)) == sorted(made())
