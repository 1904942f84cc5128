"""Result and metadata stores beyond their contracts: odd bytes, odd errors, and suites that find what is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import apsw
import msgspec
import pytest

from reinhardt_tasks.backends.memory import InMemoryMetadataStore, MemoryResultBackend
from reinhardt_tasks.backends.memory.shelf import Shelf
from reinhardt_tasks.backends.sqlite import SqliteMetadataStore, SqliteResultBackend, layout, statements
from reinhardt_tasks.errors import BadPayloadError, ExecutionFailedError, TaskError, TaskTimeoutError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import MAX_ERROR_TEXT
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.stores import MetadataChange, TaskMetadata
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import MetadataBench, MetadataConformance, ResultBench, ResultConformance
from reinhardt_tasks.testing.conformance.metadata_machine import MetadataMachine


@pytest.fixture
def results() -> MemoryResultBackend:
    """An empty store."""
    return MemoryResultBackend()


# What is kept ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1]), msgspec.msgpack.encode([b"", ["A", {"b": []}, []]])]
)
async def test_bytes_that_nobody_here_wrote_are_an_error(results, raw) -> None:
    """It names the result; nothing is guessed."""
    id = TaskId.new()
    await results.put(id, raw, 60)
    with pytest.raises(BadPayloadError, match=f"result of {id} cannot be read"):
        await results.get_result(id)


async def test_an_error_of_a_newer_version_is_still_an_error(results) -> None:
    """One of an unknown class keeps its text; facts that are not known here are left out."""
    id = TaskId.new()
    newer = [b"", ["BrandNewError", {"message": "it is new.", "number": 7}, ["a note"]]]
    await results.put(id, msgspec.msgpack.encode(newer), 60)
    with pytest.raises(ExecutionFailedError, match=r"^it is new\.") as caught:
        await results.get_result(id)
    assert (caught.value.error_type, caught.value.__notes__) == ("BrandNewError", ["a note"])
    grown = [b"", ["TaskTimeoutError", {"message": "too long.", "task_id": str(id), "limit": 7.5}, []]]
    await results.put(id, msgspec.msgpack.encode(grown), 60)
    with pytest.raises(TaskTimeoutError, match=r"^too long\.$") as late:
        await results.get_result(id)
    assert late.value.task_id == str(id)


async def test_an_error_class_of_the_users_own_is_told_as_text(results) -> None:
    """Also where it derives from one of ours, or has the name of one: no class is looked up outside this package."""

    class OwnError(TaskError):
        pass

    own = type("TaskTimeoutError", (TaskError,), {})
    for error in (OwnError("mine"), own("mine")):
        id = TaskId.new()
        await results.store_error(id, error)
        with pytest.raises(ExecutionFailedError, match="mine") as caught:
            await results.get_result(id)
        assert type(caught.value) is ExecutionFailedError
        assert caught.value.error_type.endswith(type(error).__name__)


async def test_long_texts_are_cut(results) -> None:
    """An error never takes more than its caps, whatever the store's limit on values is."""
    id = TaskId.new()
    await results.store_error(id, ExecutionFailedError("x" * 10**7, error_message="y" * 10**7))
    assert len(await results.read(id)) < 4 * MAX_ERROR_TEXT
    with pytest.raises(ExecutionFailedError, match="characters cut"):
        await results.get_result(id)


def test_results_that_are_stored_anew_leave_nothing_behind() -> None:
    """What is noted of their ends does not grow with how often they are stored."""
    shelf = Shelf[int](StillClock())
    id = TaskId.new()
    for number in range(10_000):
        with shelf.step():
            shelf.keep(id, number, 1000 + number)
    assert len(shelf._ends) < 2000  # noqa: SLF001
    with shelf.step():
        assert shelf.find(id) == 9_999


# Files ----------------------------------------------------------------------------------------------------------------


async def test_a_file_from_before_there_were_stores_gets_their_tables(tmp_path) -> None:
    """When it is opened; what is in it stays."""
    path = tmp_path / "tasks.db"
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.execute(statements.text("schema"))
        database.execute(f"PRAGMA application_id = {layout.APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {layout.SCHEMA_VERSION}")
        database.execute("INSERT INTO paused VALUES ('q')")
    id = TaskId.new()
    async with SqliteResultBackend(path) as results, SqliteMetadataStore(path) as store:
        await results.store_result(id, 7)
        await store.store(TaskMetadata(id=id, name="a"))
        assert (await results.get_result(id), (await store.get(id)).name) == (7, "a")
    with contextlib.closing(apsw.Connection(str(path))) as database:
        assert database.execute("SELECT queue FROM paused").fetchall() == [("q",)]


# The suites find what is wrong ----------------------------------------------------------------------------------------


class Hoarder(MemoryResultBackend):
    """Keeps everything for ever."""

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        await super().put(task_id, raw, 1e12)


class Silent(MemoryResultBackend):
    """Tells nobody."""

    async def put(self, task_id: TaskId, raw: bytes, ttl: float) -> None:
        with self._shelf.step():
            self._shelf.keep(task_id, raw, ttl)


class Careless(InMemoryMetadataStore):
    """Does not look at versions."""

    async def update_many(self, changes: Sequence[MetadataChange]):
        return await super().update_many([msgspec.structs.replace(change, version=None) for change in changes])


class StillResults(ResultBench):
    def __init__(self, kind: type[MemoryResultBackend]) -> None:
        self.clock = StillClock()
        self.kind = kind
        self.shelf = kind(clock=self.clock)._shelf  # noqa: SLF001

    def connect(self, **options) -> MemoryResultBackend:
        made = self.kind(clock=self.clock, **options)
        made._shelf = self.shelf  # noqa: SLF001
        return made

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class StillMetadata(MetadataBench):
    def __init__(self, kind: type[InMemoryMetadataStore]) -> None:
        self.clock = StillClock()
        self.kind = kind
        self.shelf = kind(clock=self.clock)._shelf  # noqa: SLF001

    def connect(self, **options) -> InMemoryMetadataStore:
        made = self.kind(clock=self.clock, **options)
        made._shelf = self.shelf  # noqa: SLF001
        return made

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def test_a_store_that_never_forgets_is_found() -> None:
    """The test of that promise fails."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        ResultConformance().test_a_result_is_over_after_its_time(StillResults(Hoarder))


def test_a_store_that_wakes_nobody_is_found(monkeypatch) -> None:
    """Who waits there waits in vain."""
    monkeypatch.setattr("reinhardt_tasks.testing.conformance.results.LONG", 0.2)
    with pytest.raises(TaskError, match="was stored within"):
        ResultConformance().test_waiting_ends_when_the_result_is_stored(StillResults(Silent))


def test_a_store_without_a_guard_is_found() -> None:
    """By the test of the promise, and by the machine."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        MetadataConformance().test_a_change_may_ask_for_a_version(StillMetadata(Careless))

    class Machine(MetadataMachine):
        new_bench = staticmethod(lambda: StillMetadata(Careless))

    machine = Machine()
    try:
        machine.start()
        machine.keep(name="a", status=TaskStatus.PENDING, data=b"")
        with pytest.raises(AssertionError):
            machine.change(picks=[0], status=None, data=b"x", behind=1)
    finally:
        machine.teardown()


def test_a_bench_that_cannot_wait_skips() -> None:
    """What would take longer than its patience is not tried."""
    bench = StillResults(MemoryResultBackend)
    bench.patience = 5.0
    with pytest.raises(pytest.skip.Exception, match="would wait for"):
        ResultConformance().test_a_result_is_over_after_its_time(bench)
