"""A single put on a quick disk is committed where it is made; what may take long goes to the writer's thread."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from reinhardt_tasks.backends.sqlite import SqliteBackend, puts
from reinhardt_tasks.backends.sqlite.store import Store
from reinhardt_tasks.errors import QueueError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Message, Put


def message(**fields: object) -> AnyMessage:
    """A message, its fields as given."""
    return Message(id=TaskId.new(), name="app.send", body=b"body", **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def warm(path: Path) -> AsyncIterator[SqliteBackend]:
    """An open backend without fsync, whose writer has seen by a few commits that they are quick."""
    async with SqliteBackend(path, durability="off") as backend:
        for _ in range(60):
            await backend.put((message(), message()))
        yield backend


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that stored messages, one for each call."""
    names: list[str] = []
    put = puts.put

    def noted(*args: object) -> list[Put]:
        names.append(threading.current_thread().name)
        return put(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(puts, "put", noted)
    return names


async def test_a_quick_single_put_needs_no_other_thread(tmp_path: Path, threads: list[str]) -> None:
    """It is stored all the same, and known by its id."""
    async with warm(tmp_path / "q.db") as backend:
        threads.clear()
        one = message()
        assert await backend.put((one,)) == [Put(one.id, created=True)]
        assert await backend.put((one,)) == [Put(one.id, created=False)]
        assert threads == [threading.current_thread().name] * 2


async def test_many_messages_are_the_writers(tmp_path: Path, threads: list[str]) -> None:
    """What takes longer than a hand-over does not hold up the loop."""
    async with warm(tmp_path / "q.db") as backend:
        threads.clear()
        await backend.put([message() for _ in range(2)])
        assert threads == ["sqlite-writer"]


async def test_slow_commits_are_the_writers(
    tmp_path: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where commits have been slow lately the loop does not wait for them."""
    async with warm(tmp_path / "q.db") as backend:
        monkeypatch.setattr("reinhardt_tasks.backends.sqlite.writer._QUICK", 0.0)
        threads.clear()
        await backend.put((message(),))
        assert threads == ["sqlite-writer"]


async def test_another_writer_is_waited_for_by_the_thread(tmp_path: Path, threads: list[str]) -> None:
    """The loop goes on while somebody else holds the file."""
    async with warm(tmp_path / "q.db") as backend:
        other = apsw.Connection(str(tmp_path / "q.db"))
        other.execute("BEGIN IMMEDIATE")
        threads.clear()
        putting = asyncio.create_task(backend.put((message(),)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not putting.done()
        other.execute("COMMIT")
        other.close()
        assert (await putting)[0].created
        assert threads == ["sqlite-writer"]


async def test_a_refusal_leaves_nothing_behind(tmp_path: Path, threads: list[str]) -> None:
    """The transaction is undone, and the next put goes its way."""
    async with warm(tmp_path / "q.db") as backend:
        threads.clear()
        orphan = message(waits_on=(TaskId.new(),))
        with pytest.raises(QueueError):
            await backend.put((orphan,))
        assert await backend.get((orphan.id,)) == [None]
        assert (await backend.put((message(),)))[0].created
        assert threads == [threading.current_thread().name] * 2


async def test_what_the_file_refuses_is_tried_by_the_writer(
    tmp_path: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer knows what to do about a full disk; here it finds room by itself."""
    async with warm(tmp_path / "q.db") as backend:
        commit, failed = Store.commit, []

        def fails_once(store: Store) -> None:
            if not failed:
                failed.append(True)
                raise apsw.FullError
            commit(store)

        monkeypatch.setattr(Store, "commit", fails_once)
        threads.clear()
        assert (await backend.put((message(),)))[0].created
        assert threads == [threading.current_thread().name, "sqlite-writer"]
