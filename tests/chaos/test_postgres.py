"""What the PostgreSQL backend survives, tried for as long as its promises were written for."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal

import psycopg
import pytest

from reinhardt_tasks.backends.postgres import PostgresBackend
from tests.eventually import eventually
from tests.integration.postgres_faults import PostgresFaults
from tests.integration.site import site
from tests.servers.postgres import running

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


class TestPostgres(PostgresFaults):
    """See PostgresFaults and ServerFaults."""

    crashes = 5
    downtime = 5.0
    resets = 30
    resets_pause = 1.0
    cut_answers = 1_000
    silence = 30.0
    frozen = 12.0
    slow_messages = 400
    terminating = 30.0
    forgotten = 60.0
    stall = 0.0


_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND datname = current_database()
"""


async def test_a_migrate_command_that_is_killed_fifty_times_is_made_whole_by_the_next(tmp_path):
    """By SIGKILL, at any point of its session, which ends by itself; nothing of it is left."""
    with contextlib.ExitStack() as closing:
        server = closing.enter_context(running(fsync=True))
        place = closing.enter_context(site(tmp_path, server.url()))
        watcher = closing.enter_context(psycopg.connect(server.url(), autocommit=True))

        def at_work() -> bool:
            return watcher.execute(_OTHERS).fetchone() != (0,)

        urls, killed = [server.url(query="?table_prefix=p0_")], 0
        while killed < 50:
            command = place.run("-m", "reinhardt_tasks", "migrate", "--url", urls[-1])
            eventually(lambda command=command: at_work() or command.process.poll() is not None, timeout=30)
            await asyncio.sleep(random.uniform(0.0, 0.2))  # noqa: S311 - chaos
            command.signal(signal.SIGKILL)
            if command.ended():
                killed += 1
            else:
                urls.append(server.url(query=f"?table_prefix=p{len(urls)}_"))
            eventually(lambda: not at_work(), timeout=30)
        print(f"killed={killed} completed={len(urls) - 1}")  # noqa: T201
        for url in urls:
            assert place.run("-m", "reinhardt_tasks", "migrate", "--url", url).ended() == 0
            async with PostgresBackend(url, migrate=False) as backend:
                assert await backend.find() == []
