"""The SQL files: each statement says what it is for, is used, compiles, and goes along an index."""

from __future__ import annotations

import re
from importlib import resources

import apsw
import pytest

from reinhardt_tasks.backends import sqlite
from reinhardt_tasks.backends.sqlite import layout
from reinhardt_tasks.backends.sqlite.connection import open_writer
from reinhardt_tasks.backends.sqlite.statements import statements, text

FILES = resources.files(sqlite)
PARTS = sorted(file.name[:-4] for file in FILES.iterdir() if file.name.endswith(".sql") and file.name != "schema.sql")
EACH = [(part, name) for part in PARTS for name in statements(part)]

# They read whole tables that are small by nature, or say so.
WHOLE = {
    ("claims", "paused"),
    ("claims", "emptier"),
    ("claims", "emptied"),
    ("endings", "some_fallen"),
    ("members", "all_workers"),
    ("read", "paused"),
    ("read", "schedules"),
    ("read", "workers"),
    ("settle", "any_workflow"),
    ("timetable", "forget_locks"),
    ("forget", "forget_keys"),
}
each = pytest.mark.parametrize(("part", "name"), EACH)


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    """To the tables as they are made."""
    connection = open_writer(str(tmp_path_factory.mktemp("sql") / "t.db"), "off", 5.0)
    yield connection
    connection.close()


def plan(connection: apsw.Connection, sql: str) -> list[str]:
    """The steps SQLite would take."""
    count = max([int(number) for number in re.findall(r"\?(\d+)", sql)], default=0)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * count)]


def test_there_are_statements():
    """Or the tests below would say nothing."""
    assert len(EACH) > 60


@pytest.mark.parametrize("part", PARTS)
def test_each_statement_says_what_it_is_for(part):
    """A file and each of its blocks open with a comment."""
    lines = text(part).splitlines()
    assert lines[0].startswith("-- ")
    for number, line in enumerate(lines):
        if line.startswith("-- name: "):
            assert lines[number + 1].startswith("-- "), line


@each
def test_each_statement_is_used_by_the_module_beside_it(part, name):
    """A statement that nobody runs is not kept."""
    assert f'"{name}"' in FILES.joinpath(f"{part}.py").read_text()


@each
def test_each_statement_fits_the_tables(connection, part, name):
    """It compiles, with comments and words replaced."""
    sql = statements(part)[name]
    assert "--" not in sql
    assert "{" not in sql
    assert plan(connection, sql) is not None


@each
def test_no_statement_walks_through_a_table_of_messages(connection, part, name):
    """What grows with the backlog is reached along an index."""
    if (part, name) not in WHOLE:
        scans = [step for step in plan(connection, statements(part)[name]) if re.match(r"SCAN (?!.*USING)", step)]
        allowed = ("SCAN CONSTANT ROW", "SCAN j", "SCAN json_each", "SCAN line", "SCAN (subquery")
        assert [step for step in scans if not step.startswith(allowed)] == []


def test_the_words_of_the_files_are_the_numbers_of_the_layout():
    """Stored numbers never change their meaning."""
    assert [(stage.name, stage.value) for stage in layout.Stage] == [
        ("READY", 1),
        ("SUSPECT", 2),
        ("LATER", 3),
        ("BLOCKED", 4),
        ("CLAIMED", 5),
        ("ENDED", 6),
    ]
    assert [status.value for status in layout.STATUSES] == [
        "pending",
        "running",
        "retry",
        "success",
        "failure",
        "cancelled",
    ]
    bits = (layout.HELD, layout.TOLERANT, layout.PARENT, layout.KEEPER, layout.CANCELLING, layout.ORPHANED)
    assert (*bits, layout.EXPIRED, layout.WINDOWED) == (1, 2, 4, 8, 16, 32, 64, 128)
