"""One open backend per event loop, opened once, closed with its loop, never shared with a forked child."""

import asyncio
import gc
import os
import subprocess
import sys
import threading

import pytest

from reinhardt_tasks.backends import connect
from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.connections import Connections
from reinhardt_tasks.errors import BackendUnavailableError


class Tracked(MemoryBackend):
    """Notes where it was opened and closed."""

    def __init__(self, book: list[str]) -> None:
        super().__init__()
        self.book = book
        self.gate: asyncio.Event | None = None
        self.broken: Exception | None = None

    async def open(self) -> None:
        self.book.append("open")
        if self.gate is not None:
            await self.gate.wait()
        if self.broken is not None:
            raise self.broken

    async def close(self) -> None:
        await super().close()
        self.book.append("close")


async def test_the_first_use_opens_and_the_others_find_it_open() -> None:
    """However many ask at once, there is one opening."""
    book: list[str] = []
    backend = Tracked(book)
    backend.gate = asyncio.Event()
    connections = Connections(lambda: backend)
    assert connections.ready() is None
    asking = [asyncio.create_task(connections.connection()) for _ in range(5)]
    await asyncio.sleep(0)
    backend.gate.set()
    found = await asyncio.gather(*asking)
    assert {id(one) for one in found} == {id(connections.ready())}
    assert book == ["open"]


async def test_whoever_came_first_may_be_cancelled() -> None:
    """The opening goes on for the others."""
    book: list[str] = []
    backend = Tracked(book)
    backend.gate = asyncio.Event()
    connections = Connections(lambda: backend)
    first, second = (asyncio.create_task(connections.connection()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    backend.gate.set()
    assert (await second).backend is backend


async def test_a_failed_opening_is_told_to_all_and_tried_again() -> None:
    """The next use finds nothing of it."""
    backend = Tracked([])
    backend.broken = BackendUnavailableError(backend="memory", place="here")
    connections = Connections(lambda: backend)
    asking = (connections.connection() for _ in range(3))
    assert {type(end) for end in await asyncio.gather(*asking, return_exceptions=True)} == {BackendUnavailableError}
    backend.broken = None
    assert (await connections.connection()).backend is backend


async def test_close_closes_and_the_next_use_opens_again() -> None:
    """Closing what is not open does nothing."""
    book: list[str] = []
    connections = Connections(lambda: Tracked(book))
    await connections.close()
    await connections.connection()
    await connections.close()
    assert (book, connections.ready()) == (["open", "close"], None)
    await connections.connection()
    assert book == ["open", "close", "open"]


def test_a_loop_takes_its_connection_with_it() -> None:
    """Without any `async with`: the end of `asyncio.run` closes what was opened in it, and each loop has its own."""
    book: list[str] = []
    connections = Connections(lambda: Tracked(book))
    for _ in range(2):
        asyncio.run(_use(connections))
    assert book == ["open", "close", "open", "close"]


async def _use(connections: Connections) -> None:
    await connections.connection()


def test_a_loop_that_was_closed_without_farewell_is_cleaned_up() -> None:
    """Its connection is closed when the next one opens, quietly; one that its own loop closed is not closed again."""
    book: list[str] = []
    connections = Connections(lambda: Tracked(book))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_use(connections))
    loop.close()
    asyncio.run(_use(connections))
    del loop
    gc.collect()
    assert book == ["open", "close", "open", "close"]
    asyncio.run(_use(connections))
    assert book == ["open", "close"] * 3
    assert len(connections._open) == 1  # noqa: SLF001


def test_loops_that_come_and_go_leave_no_threads_behind(tmp_path) -> None:
    """Not even those that nobody says farewell to: a web framework may make one for each request."""
    connections = Connections(connect(f"sqlite:///{tmp_path}/tasks.db").sibling)
    counts = []
    for _ in range(4):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_use(connections))
        loop.close()
        counts.append(threading.active_count())
    asyncio.run(_use(connections))
    assert len(set(counts)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_its_own() -> None:
    """The parent's connection is neither used nor closed in the child."""
    code = (
        "import asyncio, os, sys\n"
        "from tests.unit.test_connections import Connections, Tracked\n"
        "book = []\n"
        "connections = Connections(lambda: Tracked(book))\n"
        "loop = asyncio.new_event_loop()\n"
        "async def use(): return (await connections.connection()).backend\n"
        "mine = loop.run_until_complete(use())\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    other = asyncio.run(use())\n"
        "    assert other is not mine\n"
        "    same_loop = loop.run_until_complete(use())\n"
        "    assert same_loop is not mine\n"
        "    print(book, flush=True)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert loop.run_until_complete(use()) is mine\n"
        "loop.run_until_complete(loop.shutdown_asyncgens())\n"
        "loop.close()\n"
        "print(book)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stderr == ""
    assert ended.stdout == "['open', 'open', 'close', 'open']\n['open', 'close']\n"


def test_a_program_that_just_ends_says_nothing_and_does_not_hang() -> None:
    """A loop that is left open at the end of the program is no reason for noise."""
    code = (
        "import asyncio\n"
        "from tests.unit.test_connections import Connections, Tracked\n"
        "connections = Connections(lambda: Tracked([]))\n"
        "loop = asyncio.new_event_loop()\n"
        "loop.run_until_complete(connections.connection())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
