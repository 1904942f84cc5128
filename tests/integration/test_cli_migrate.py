"""`reinhardt-tasks migrate` makes the tables of PostgreSQL, or prints how; and says what is wrong in one sentence."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.backends.postgres.statements import Names, migrations
from reinhardt_tasks.errors import SchemaError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message
from tests.integration.shell import Shell
from tests.servers.postgres import PostgresServer, program, running

NEWEST = migrations(Names("public", "reinhardt_"))[-1][0]
COUNT = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'reinhardt%'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """For the tests of this file."""
    with running() as started:
        yield started


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of an empty database."""
    return server.new_database()


@pytest.fixture
def url(server: PostgresServer, database: str) -> str:
    """That of the database, with a password that is to be shown nowhere."""
    return server.url(database, login="postgres:hunter2")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Commands in a directory of their own."""
    return Shell(tmp_path, monkeypatch, capsys)


def versions(server: PostgresServer, database: str) -> list[tuple[object, ...]]:
    """The migrations that the database has had."""
    return server.execute("SELECT version FROM reinhardt_migrations ORDER BY version", database=database)


def usable(url: str) -> bool:
    """Whether a process that may create nothing can work there."""

    async def put() -> bool:
        async with PostgresBackend(url, migrate=False) as backend:
            return (await backend.put([Message(id=TaskId.new(), name="n", body=b"b")]))[0].created

    return asyncio.run(put())


def by_psql(url: str, script: str) -> subprocess.CompletedProcess[str]:
    """Have an administrator run a script."""
    command = [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]
    return subprocess.run(command, input=script, text=True, check=False, capture_output=True)


def test_it_makes_the_tables_once(cli, server, database, url):
    """A second time there is nothing to do, and that is no error."""
    first, second = cli("migrate", "--url", url), cli("migrate", "--url", url)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out.endswith(f"the tables are there now, of version {NEWEST}\n")
    assert second.out.endswith(f"the tables are of version {NEWEST} already\n")
    assert "hunter2" not in first.out + first.err + second.out + second.err
    assert versions(server, database) == [(number,) for number in range(1, NEWEST + 1)]
    assert usable(url)


def test_it_makes_them_where_the_application_may_not(cli, url):
    """`migrate=false` is for opening; who types the command means it."""
    with pytest.raises(SchemaError):
        usable(url)
    assert cli("migrate", "--url", f"{url}?migrate=false").code == 0
    assert usable(url)


def test_a_target_leads_to_its_queue(cli, server, database, url):
    """Given both, the tables are made at the URL; a target alone is enough."""
    (cli.directory / "shop.py").write_text(f"from reinhardt_tasks import TaskQueue\nqueue = TaskQueue({url!r})\n")
    ended = cli.outside("migrate", "shop:queue")
    assert (ended.code, versions(server, database)[-1]) == (0, (NEWEST,)), ended.err
    other = server.new_database()
    assert cli.outside("migrate", "shop:queue", "--url", server.url(other)).code == 0
    assert versions(server, other)[-1] == (NEWEST,)


@pytest.mark.parametrize("prefix", ["reinhardt_", "shop_"])
def test_sql_is_printed_and_not_run(cli, server, database, url, prefix):
    """An administrator's psql runs it; after that there is nothing to print."""
    place = f"{url}?table_prefix={prefix}"
    printed = cli("migrate", "--sql", "--url", place)
    assert (printed.code, printed.err) == (0, "")
    assert server.execute(COUNT, database=database) == [(0,)]
    ended = by_psql(server.url(database), printed.out)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert usable(place)
    again = cli("migrate", "--sql", "--url", place)
    assert (again.code, again.out) == (0, "")
    assert "there is nothing to run" in again.err


def test_sql_that_comes_too_late_changes_nothing(cli, server, database, url):
    """Another has made the tables meanwhile: psql ends with an error, and all is as it was."""
    printed = cli("migrate", "--sql", "--url", url).out
    assert cli("migrate", "--url", url).code == 0
    ended = by_psql(server.url(database), printed)
    assert ended.returncode != 0
    assert "already exists" in ended.stderr
    assert versions(server, database) == [(number,) for number in range(1, NEWEST + 1)]
    assert usable(url)


def test_tables_made_by_one_user_serve_another(cli, server, database, url):
    """Who owns the schema migrates; the application needs no right to create anything."""
    assert cli("migrate", "--url", url).code == 0
    server.execute("CREATE ROLE clerk LOGIN")
    for kind, rights in (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE, SELECT, UPDATE")):
        server.execute(f"GRANT {rights} ON ALL {kind} IN SCHEMA public TO clerk", database=database)
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=database)
    assert usable(server.url(database, login="clerk"))
    ended = cli("migrate", "--url", server.url(database, login="clerk", query="?table_prefix=other_"))
    assert (ended.code, ended.out) == (2, "")
    assert 'GRANT USAGE, CREATE ON SCHEMA "public" TO "clerk";' in ended.err


def test_tables_of_a_newer_version_are_left_alone(cli, server, database, url):
    """Neither changed nor explained away."""
    assert cli("migrate", "--url", url).code == 0
    server.execute("INSERT INTO reinhardt_migrations (version) VALUES (99)", database=database)
    for options in ([], ["--sql"]):
        ended = cli("migrate", *options, "--url", url)
        assert (ended.code, ended.out) == (1, "")
        assert "version 99; this reinhardt-tasks knows up to" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "where? Give --url or --target"),
        (["--url", "postgresql://127.0.0.1:1/db?colour=blue&password=hunter2"], 2, "the url cannot be read"),
        (["--url", "postgresql://u:hunter2@127.0.0.1:1/db"], 1, "127.0.0.1"),
        (["--url", "postgresql://u:hunter2@127.0.0.1/db?table_prefix=A-"], 2, "table_prefix"),
        (["postgresql://u:hunter2@127.0.0.1/db"], 2, "TARGET is a URL here"),
        (["nowhere:queue"], 2, "there is no module 'nowhere'"),
        (["--url", "memory://"], 2, "live inside one program"),
        (["--url", "sqlite:///missing.db"], 1, "there is no file"),
        (["--url", "sqlite:///tasks.db", "--sqll"], 2, "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_sentence(cli, arguments, code, said):
    """Nothing on standard output, and no password anywhere."""
    ended = cli("migrate", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "hunter2" not in ended.err


def test_a_database_that_is_not_there_is_told(cli, server):
    """With the statement that makes it."""
    for options in ([], ["--sql"]):
        ended = cli("migrate", *options, "--url", server.url("nowhere"))
        assert (ended.code, ended.out) == (2, "")
        assert 'CREATE DATABASE "nowhere";' in ended.err


def test_a_backend_without_migrations_says_so(cli):
    """A script that migrates before each start goes on."""
    cli.enqueue_many(1)
    for options in ([], ["--sql"]):
        ended = cli("migrate", *options, "--url", "sqlite:///tasks.db")
        assert (ended.code, ended.err) == (0, "")
        assert "there is nothing to migrate" in ended.out
