"""Result and metadata stores in one SQLite file, beside a queue and between processes."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from reinhardt_tasks.backends.sqlite import SqliteBackend, SqliteMetadataStore, SqliteResultBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import Message
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.stores import TaskMetadata

WAITER = """
import asyncio, sys, time
from reinhardt_tasks.backends.sqlite import SqliteMetadataStore, SqliteResultBackend

async def main(path, id):
    async with SqliteResultBackend(path) as results, SqliteMetadataStore(path) as store:
        waits = [asyncio.create_task(results.wait(id, 60)), asyncio.create_task(store.wait(id, 60))]
        await asyncio.sleep(0)
        print("waiting", flush=True)
        for wait in waits:
            got = await wait
            print(got if isinstance(got, str) else got.status, time.monotonic(), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_another_process_is_told(tmp_path: Path):
    """Who waits in one process hears within a moment of what another stores."""
    path, id = tmp_path / "both.db", TaskId.new()
    async with SqliteResultBackend(path) as results, SqliteMetadataStore(path) as store:
        await store.store(TaskMetadata(id=id, name="a", status=TaskStatus.RUNNING))
        waiter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WAITER, str(path), str(id), stdout=asyncio.subprocess.PIPE
        )
        assert waiter.stdout is not None
        assert await waiter.stdout.readline() == b"waiting\n"
        for act, told in (
            (results.store_result(id, "made"), b"made"),
            (store.update_status(id, "success"), b"success"),
        ):
            await act
            done = time.monotonic()
            word, heard = (await waiter.stdout.readline()).split()
            assert word == told
            assert float(heard) - done < 5
        assert await waiter.wait() == 0


async def test_a_file_holds_a_queue_and_both_stores(tmp_path: Path):
    """Each keeps its own under the same id, and none sees what another forgets."""
    path, id = tmp_path / "tasks.db", TaskId.new()
    async with SqliteBackend(path) as queue, SqliteResultBackend(path) as results, SqliteMetadataStore(path) as store:
        await queue.put([Message(id=id, name="a", body=b"b")])
        await asyncio.gather(results.store_result(id, 7), store.store(TaskMetadata(id=id, name="a")))
        assert await results.delete_result(id) is True
        assert await queue.get_status(id) is TaskStatus.PENDING
        assert (await store.get(id)).status is TaskStatus.PENDING
        await queue.cancel([id])
        await queue.delete([id])
        assert (await store.get(id)).status is TaskStatus.PENDING
