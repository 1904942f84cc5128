"""The PostgreSQL servers of the tests: one that is named is left as it was, and where there is none it is said."""

from __future__ import annotations

import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message
from tests.servers.postgres import GivenPostgres, PostgresServer, choose, running
from tests.servers.process import MissingServerError

MADE = (
    "SELECT relname FROM pg_class WHERE relname LIKE 'test_%' "
    "UNION SELECT proname FROM pg_proc WHERE proname LIKE 'test_%'"
)


async def test_a_database_that_is_named_is_used_and_left_as_it_was(monkeypatch):
    """Of what it holds only what tests have made there is removed; between tests nothing but the tables is left."""
    with running() as elsewhere:
        monkeypatch.setenv("REINHARDT_TEST_POSTGRES_URL", elsewhere.url())
        elsewhere.execute("CREATE TABLE theirs (one int)")
        server = choose()
        assert isinstance(server, GivenPostgres)
        async with PostgresBackend(server.url()) as backend:
            await backend.put([Message(id=TaskId.new(), name="n", body=b"b")])
            server.empty()
            assert await backend.find() == []
        assert len(elsewhere.execute(MADE)) > 80
        server.close()
        assert elsewhere.execute(MADE) == []
        assert elsewhere.execute("SELECT * FROM theirs") == []


def test_without_any_server_tests_fail_with_how_to_get_one(monkeypatch, tmp_path):
    """One sentence, and no skip."""
    monkeypatch.delenv("REINHARDT_TEST_POSTGRES_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr("tests.servers.postgres.PROGRAMS", tmp_path)
    with pytest.raises(
        MissingServerError, match=r"sudo apt-get install postgresql.*REINHARDT_TEST_POSTGRES_URL.*Docker"
    ):
        choose()
    with pytest.raises(MissingServerError, match="sudo apt-get install postgresql"):
        PostgresServer()
