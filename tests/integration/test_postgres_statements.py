"""The SQL files of PostgreSQL: each statement and function says what it is for, is used, and goes along an index."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reinhardt_tasks.backends import postgres, sqlite
from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.backends.postgres.statements import Names, functions, migrations, statements
from reinhardt_tasks.backends.sqlite import statements as of_sqlite
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Beat, Message, Outcome
from tests.servers.postgres import PostgresServer, running

DOCS = Path(__file__).parents[2] / "docs"
NAMES = Names("public", "reinhardt_")
FILES = resources.files(postgres)
FUNCTIONS = re.findall(r"CREATE OR REPLACE FUNCTION \S+\.reinhardt_(\w+)\(", functions(NAMES))
READS = sorted(statements(NAMES))
CODE = "".join(file.read_text() for file in FILES.iterdir() if file.name.endswith(".py"))


def test_there_are_functions_and_statements():
    """Or the tests below would say nothing."""
    assert len(FUNCTIONS) > 40
    assert len(READS) > 8


def test_each_function_says_what_it_is_for():
    """A comment stands above each, and a file opens with one."""
    for file in FILES.joinpath("functions").iterdir():
        lines = file.read_text().splitlines()
        assert lines[0].startswith("-- ")
        for before, line in itertools.pairwise(lines):
            assert before.startswith("-- ") or not line.startswith("CREATE"), line


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_called(name):
    """By the package, or by another function."""
    calls = len(re.findall(rf"\.reinhardt_{name}\(", functions(NAMES)))
    assert f'"{name}"' in CODE or f"{{self._names.tables}}{name}(" in CODE or calls > 1


@pytest.mark.parametrize("name", READS)
def test_each_statement_is_used(name):
    """A statement that nobody runs is not kept."""
    assert f'"{name}"' in CODE


def test_what_sqlite_calls_by_a_name_has_that_name_here():
    """Who knows one backend finds the same steps in the other."""
    there = {
        name
        for file in resources.files(sqlite).iterdir()
        if file.name.endswith(".sql") and file.name != "schema.sql"
        for name in of_sqlite.statements(file.name[:-4])
    }
    shared = {*FUNCTIONS, *READS} & there
    assert shared >= {
        *("get", "get_with_body", "find", "find_fallen", "find_running", "find_retry", "workers", "schedules"),
        *("claim", "promote", "succeed", "fall", "count_down", "note_fallen", "cancelling", "dismiss"),
        *(
            "key_holder",
            "take_key",
            "revive",
            "line_up",
            "pause",
            "resume",
            "order_drain",
            "forget_edges",
            "release_kept",
        ),
        *("save", "remove", "acquire", "extend", "release"),
    }


def test_migrations_are_numbered_without_a_gap():
    """From 1, in the order of their names."""
    assert [number for number, _ in migrations(NAMES)] == list(range(1, len(migrations(NAMES)) + 1))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """That logs the plan of every statement within functions."""
    with running({"session_preload_libraries": "auto_explain", **_EXPLAINED}) as started:
        yield started


_EXPLAINED = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "text",
}


def drawn() -> dict[str, set[tuple[str, bool]]]:
    """The tables of the picture: their columns, and whether each is in bold, as part of the primary key."""
    picture = ET.parse(DOCS / "img" / "postgres-tables.svg").getroot()  # noqa: S314 - our own file
    return {
        box.attrib["data-table"]: {
            (text.text or "", "key" in text.attrib["class"].split())
            for text in box.iter()
            if "column" in text.attrib.get("class", "").split()
        }
        for box in picture.iter()
        if "data-table" in box.attrib
    }


async def made(url: str) -> dict[str, set[tuple[str, bool]]]:
    """The same of a database that has just been migrated."""
    async with PostgresBackend(url):
        pass
    found: dict[str, set[tuple[str, bool]]] = {}
    with psycopg.connect(url) as connection:
        for table, column, key in connection.execute(_COLUMNS):
            found.setdefault(table, set()).add((column, key))
    return found


_COLUMNS = """
SELECT substr(relname, 11), attname, coalesce(attnum = ANY (conkey), false)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    LEFT JOIN pg_constraint ON conrelid = pg_class.oid AND contype = 'p'
WHERE relkind = 'r' AND relname LIKE 'reinhardt%' AND attnum > 0 AND NOT attisdropped
"""


async def test_the_picture_shows_every_table_with_all_its_columns(server):
    """What is drawn in the documents is what is made, and nothing else; the page has one line for each table."""
    tables = await made(server.url(server.new_database()))
    assert drawn() == tables
    page = (DOCS / "backends" / "postgresql.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \| one row for ", page, flags=re.MULTILINE)) == sorted(tables)


async def test_the_hot_path_goes_along_indexes(server):
    """Also with plans that were made while the tables were empty: none reads `messages` or `ended` from end to end."""
    async with PostgresBackend(server.url()) as backend:
        await backend.beat(Beat(worker="w", number=1))
        outcomes: list[Outcome] = []
        for sequence in range(1, 13):
            await backend.put([_message() for _ in range(20)])
            answer = await backend.exchange("w", outcomes, want=20, queues=None, sequence=sequence)
            outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]
            await backend.wait("w", None, 0.0)
        await backend.sweep()
    log = server.log.read_text()
    assert "Index Scan using reinhardt_messages_ready" in log
    assert re.findall(r"Seq Scan on reinhardt_(?:messages|ended)\b", log) == []


async def test_what_is_settled_is_looked_up_by_its_id(server):
    """Also with plans made when the table was nearly empty, but its indexes full of what could not be removed.

    Then reading the index from end to end seems as cheap, and it is not: dead entries are no rows to the planner.
    """
    url = server.url(server.new_database())
    async with PostgresBackend(url) as backend:
        await backend.beat(Beat(worker="w", number=1))
        await backend.exchange("w", (), want=0, queues=None, sequence=1)
        with psycopg.connect(url) as forgetful:
            forgetful.execute("SELECT txid_current()")
            for sequence in range(2, 12):
                await _work(backend, sequence, 300)
            await backend.put([_message() for _ in range(10)])
            server.execute("ANALYZE reinhardt_messages", database=url.rpartition("/")[2])
            written = server.log.stat().st_size
            await _work(backend, 12, 10)
    lines = server.log.read_text()[written:].splitlines()
    looked = [after for line, after in itertools.pairwise(lines) if "Scan using reinhardt_messages_pkey" in line]
    assert looked
    assert [line for line in looked if "Index Cond: " not in line] == []


def _message() -> Message[Any]:
    id = TaskId.new()
    return Message(id=id, name="n", body=b"b")


async def _work(backend: PostgresBackend, sequence: int, number: int) -> None:
    """Put, claim and settle so many messages."""
    await backend.put([_message() for _ in range(number)])
    answer = await backend.exchange("w", (), want=number, queues=None, sequence=2 * sequence)
    outcomes = [Outcome.success(claim, b"r") for claim in answer.claims]
    await backend.exchange("w", outcomes, want=0, queues=None, sequence=2 * sequence + 1)
