"""What a result store promises, one test for each claim of `reinhardt_tasks.stores.ResultBackend`."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from reinhardt_tasks.errors import (
    ArgumentError,
    BackendError,
    ExecutionFailedError,
    InvalidTextError,
    MaxRetriesExceededError,
    OptionError,
    PayloadTooLargeError,
    ResultNotFoundError,
    ResultTimeoutError,
    SignatureError,
    UnencodableError,
)
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.stores import ResultBackend
from reinhardt_tasks.testing.conformance.bench import LONG, underway
from reinhardt_tasks.testing.conformance.stores import ResultBench, StoreStage, promise

_Stage = StoreStage[ResultBackend]


@dataclass
class _Invoice:
    number: int
    total: Decimal
    files: list[Path]


class KeepingResults:
    """`store_result`, `get_result`, `delete_result`."""

    @promise
    async def test_a_value_is_read_back(self, stage: _Stage) -> None:
        """Whatever a plain value is, and by any instance; None is a value too."""
        reader = await stage.another()
        values = [
            None,
            True,
            -7,
            2.5,
            "",
            "Größe \0 漢",
            b"\x00\xff\xc1",
            [1, [2, "three"]],
            {"a": {"b": None}},
            1 << 60,
        ]
        for value in values:
            id = TaskId.new()
            await stage.store.store_result(id, value)
            assert await reader.get_result(id) == value

    @promise
    async def test_a_value_comes_back_as_the_type_it_is_read_as(self, stage: _Stage) -> None:
        """Dataclasses and what they hold, by their own class or by the one declared."""
        id = TaskId.new()
        invoice = _Invoice(7, Decimal("9.90"), [Path("a.pdf")])
        await stage.store.store_result(id, invoice)
        assert await stage.store.get_result(id, type=_Invoice) == invoice
        assert await stage.store.wait(id, 0, type=_Invoice) == invoice
        await stage.store.store_result(id, [invoice], type=list[_Invoice])
        assert await stage.store.get_result(id, type=list[_Invoice]) == [invoice]
        now = datetime.now(UTC)
        await stage.store.store_result(id, now)
        assert await stage.store.get_result(id, type=datetime) == now

    @promise
    async def test_a_value_that_does_not_travel_is_refused(self, stage: _Stage) -> None:
        """Where it is stored, by an error that says why; nothing is kept."""
        id = TaskId.new()
        small = await stage.another(max_size=100)
        with pytest.raises(UnencodableError):
            await stage.store.store_result(id, [Path("x")])
        with pytest.raises(InvalidTextError):
            await stage.store.store_result(id, "\ud800")
        with pytest.raises(ArgumentError):
            await stage.store.store_result(id, "text", type=int)
        with pytest.raises(PayloadTooLargeError):
            await small.store_result(id, "x" * 101)
        with pytest.raises(ResultNotFoundError):
            await stage.store.get_result(id)

    @promise
    async def test_the_last_one_stored_stands(self, stage: _Stage) -> None:
        """With its own time to live."""
        id = TaskId.new()
        await stage.store.store_result(id, "first", ttl=10)
        await (await stage.another()).store_result(id, "second", ttl=1000)
        await stage.advance(10)
        assert await stage.store.get_result(id) == "second"
        await stage.store.store_result(id, "third", ttl=10)
        await stage.advance(10)
        with pytest.raises(ResultNotFoundError):
            await stage.store.get_result(id)

    @promise
    async def test_an_unknown_result_is_an_error_that_names_it(self, stage: _Stage) -> None:
        """It says what to do."""
        id = TaskId.new()
        with pytest.raises(ResultNotFoundError, match="wait") as caught:
            await stage.store.get_result(id)
        assert caught.value.task_id == str(id)

    @promise
    async def test_a_deleted_result_is_gone(self, stage: _Stage) -> None:
        """For everybody; others stay. Deleting tells whether there was one."""
        one, two = TaskId.new(), TaskId.new()
        await stage.store.store_result(one, 1)
        await stage.store.store_result(two, 2)
        other = await stage.another()
        assert [await other.delete_result(one), await stage.store.delete_result(one)] == [True, False]
        with pytest.raises(ResultNotFoundError):
            await stage.store.get_result(one)
        assert await stage.store.get_result(two) == 2

    @promise
    async def test_an_id_is_taken_in_any_form(self, stage: _Stage) -> None:
        """As a TaskId, a UUID or text; what is none is a ValueError, and nothing is looked up."""
        id = TaskId.new()
        await stage.store.store_result(str(id), "value")
        assert await stage.store.get_result(id.uuid) == "value"
        assert await stage.store.wait(str(id).upper(), 0) == "value"
        assert await stage.store.delete_result(uuid.UUID(str(id))) is True
        for wrong in ("", "7", "*", "{a}b", "x' OR 1=1", f"{id}\n0"):
            for ask in (stage.store.get_result, stage.store.delete_result, stage.store.wait):
                with pytest.raises(ValueError, match="no task id"):
                    await ask(wrong)
            with pytest.raises(ValueError, match="no task id"):
                await stage.store.store_result(wrong, 1)

    @promise
    async def test_many_are_stored_at_once(self, stage: _Stage) -> None:
        """Through one instance and several, each under its own id."""
        stores = [stage.store, await stage.another(), await stage.another()]
        ids = [TaskId.new() for _ in range(300)]
        await asyncio.gather(*(stores[n % 3].store_result(id, n) for n, id in enumerate(ids)))
        assert await asyncio.gather(*(stores[-n % 3].get_result(id) for n, id in enumerate(ids))) == list(range(300))

    @promise
    async def test_what_is_kept_outlives_who_stored_it(self, stage: _Stage) -> None:
        """Every instance may be closed meanwhile, and opened again; closing twice does nothing."""
        id = TaskId.new()
        await stage.store.store_result(id, "value")
        await stage.store.close()
        await stage.store.close()
        await stage.store.open()
        await stage.store.open()
        assert await stage.store.get_result(id) == "value"

    @promise
    async def test_a_sibling_serves_another_loop(self, stage: _Stage) -> None:
        """In a thread of its own, on the same results, with the same keys and limits."""
        store = await stage.another(secret_keys=["a key of sixteen or more"], max_size=1000)
        id = TaskId.new()
        await store.store_result(id, "from here")

        async def elsewhere() -> Any:
            async with store.sibling() as sibling:
                seen = await sibling.get_result(id)
                await sibling.store_result(id, "from there")
                with pytest.raises(PayloadTooLargeError):
                    await sibling.store_result(id, "x" * 2000)
                return seen

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == "from here"
        assert await store.get_result(id) == "from there"


class ExpiringResults:
    """Time to live, by the store's clock."""

    @promise
    async def test_a_result_is_over_after_its_time(self, stage: _Stage) -> None:
        """`ttl` seconds after it was stored; until then it is there."""
        id = TaskId.new()
        await stage.store.store_result(id, "value", ttl=timedelta(seconds=100))
        await stage.advance(90)
        assert await stage.store.get_result(id) == "value"
        await stage.advance(10)
        with pytest.raises(ResultNotFoundError):
            await stage.store.get_result(id)
        assert await stage.store.delete_result(id) is False

    @promise
    async def test_the_store_has_a_time_of_its_own(self, stage: _Stage) -> None:
        """A day where nothing is said; else `ttl` of the instance that stores, and of the call before that."""
        brief = await stage.another(ttl=10)
        ids = usual, short, long = [TaskId.new() for _ in range(3)]
        await stage.store.store_result(usual, 1)
        await brief.store_result(short, 2)
        await brief.store_result(long, 3, ttl=1000)
        await stage.advance(10)
        assert await self._there(stage, *ids) == [True, False, True]
        await stage.advance(86_380)
        assert await self._there(stage, *ids) == [True, False, False]
        await stage.advance(20)
        assert await self._there(stage, *ids) == [False] * 3

    @promise
    async def test_an_error_is_over_after_its_time_too(self, stage: _Stage) -> None:
        """As a value is."""
        id = TaskId.new()
        await stage.store.store_error(id, ValueError("no"), ttl=10)
        await stage.advance(10)
        with pytest.raises(ResultNotFoundError):
            await stage.store.get_result(id)

    @promise
    async def test_a_time_that_is_none_is_refused(self, stage: _Stage) -> None:
        """Zero, less, more than 100 years, or no number at all."""
        wrong: list[Any] = [0, -1, float("nan"), float("inf"), 1e12, True, "day", timedelta(0)]
        for ttl in wrong:
            with pytest.raises(OptionError, match="ttl"):
                await stage.store.store_result(TaskId.new(), 1, ttl=ttl)
            with pytest.raises(OptionError, match="ttl"):
                stage.bench.connect(ttl=ttl)
        id = TaskId.new()
        await stage.store.store_result(id, 1, ttl=timedelta(days=36_500))
        assert await stage.store.get_result(id) == 1

    @promise
    async def test_a_result_that_is_over_is_not_waited_out(self, stage: _Stage) -> None:
        """Who waits for it waits for the next."""
        id = TaskId.new()
        await stage.store.store_result(id, "old", ttl=10)
        await stage.advance(10)
        with pytest.raises(ResultTimeoutError):
            await stage.store.wait(id, 0)
        waiting = await underway(stage.store.wait(id, LONG))
        await (await stage.another()).store_result(id, "new")
        assert await waiting == "new"

    @staticmethod
    async def _there(stage: _Stage, *ids: TaskId) -> list[bool]:
        return [await stage.store.read(id) is not None for id in ids]


class StoredErrors:
    """`store_error`."""

    @promise
    async def test_a_stored_error_is_raised(self, stage: _Stage) -> None:
        """Where the result is read or waited for, by another instance, with type, text and traceback."""
        id = TaskId.new()
        try:
            raise ValueError("what was wrong \ud800")
        except ValueError as error:
            await stage.store.store_error(id, error)
        reader = await stage.another()
        for ask in (reader.get_result, reader.wait):
            with pytest.raises(ExecutionFailedError, match="ValueError: what was wrong") as caught:
                await ask(id)
            assert (caught.value.task_id, caught.value.error_type) == (str(id), "ValueError")
            assert caught.value.error_message == r"what was wrong \ud800"
            assert 'raise ValueError("what was wrong' in caught.value.traceback_text

    @promise
    async def test_an_error_of_a_task_comes_back_as_it_was(self, stage: _Stage) -> None:
        """Its class, its facts and its notes: what a handle's `outcome` gave can be stored."""
        id = TaskId.new()
        error = MaxRetriesExceededError(
            task_id=str(id),
            name="a.task",
            error_type="KeyError",
            error_message="'k'",
            attempts=4,
            reason="retries_spent",
        )
        error.add_note("In the worker:\n…")
        await stage.store.store_error(id, error)
        with pytest.raises(MaxRetriesExceededError) as caught:
            await stage.store.get_result(id)
        assert vars(caught.value) == vars(error)
        assert str(caught.value) == str(error)

    @promise
    async def test_a_value_replaces_an_error_and_the_other_way_round(self, stage: _Stage) -> None:
        """The last one stored stands."""
        id = TaskId.new()
        await stage.store.store_error(id, BackendError("away"))
        await stage.store.store_result(id, "after all")
        assert await stage.store.get_result(id) == "after all"
        await stage.store.store_error(id, BackendError("away"))
        with pytest.raises(BackendError, match="away"):
            await stage.store.get_result(id)


class AwaitedResults:
    """`wait`."""

    @promise
    async def test_a_result_that_is_there_is_not_waited_for(self, stage: _Stage) -> None:
        """Not even with no time at all."""
        id = TaskId.new()
        await stage.store.store_result(id, "value")
        assert await stage.store.wait(id, 0) == "value"
        assert await stage.store.wait(id) == "value"

    @promise
    async def test_waiting_ends_when_the_result_is_stored(self, stage: _Stage) -> None:
        """By this instance or another; everybody who waits for it is woken, and nobody else."""
        reader, writer = await stage.another(), await stage.another()
        mine, other = TaskId.new(), TaskId.new()
        waiting = [await underway(store.wait(mine, LONG)) for store in (stage.store, stage.store, reader)]
        stranger = await underway(reader.wait(other, LONG))
        await writer.store_result(mine, "value")
        assert await asyncio.gather(*waiting) == ["value"] * 3
        assert not stranger.done()
        await writer.store_error(other, ValueError("no"))
        with pytest.raises(ExecutionFailedError):
            await stranger

    @promise
    async def test_many_may_wait(self, stage: _Stage) -> None:
        """For different results, stored in any order; each gets its own."""
        reader = await stage.another()
        ids = [TaskId.new() for _ in range(100)]
        waiting = [await underway(reader.wait(id, LONG)) for id in ids]
        for n, id in reversed(list(enumerate(ids))):
            await stage.store.store_result(id, n)
        assert await asyncio.gather(*waiting) == list(range(100))

    @promise
    async def test_waiting_has_an_end(self, stage: _Stage) -> None:
        """After `timeout` seconds, by an error that is a TimeoutError and names the id; none that is no time."""
        id = TaskId.new()
        with pytest.raises(ResultTimeoutError) as caught:
            await stage.store.wait(id, 0.05)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.task_id, caught.value.timeout) == (str(id), 0.05)
        with pytest.raises(ValueError, match="timeout"):
            await stage.store.wait(id, -1)

    @promise
    async def test_one_may_wait_again(self, stage: _Stage) -> None:
        """After a wait that ran out, one that was cancelled, and for what was deleted."""
        id = TaskId.new()
        with pytest.raises(ResultTimeoutError):
            await stage.store.wait(id, 0.01)
        gone = await underway(stage.store.wait(id, LONG))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        for value in ("first", "second"):
            waiting = await underway(stage.store.wait(id, LONG))
            await (await stage.another()).store_result(id, value)
            assert await waiting == value
            await stage.store.delete_result(id)

    @promise
    async def test_nobody_is_kept_waiting_by_a_race(self, stage: _Stage) -> None:
        """Whether the result is stored before the wait begins, while it begins, or after."""
        writer = await stage.another()
        for n in range(100):
            id = TaskId.new()
            _, value = await asyncio.gather(writer.store_result(id, n), stage.store.wait(id, LONG))
            assert value == n


class SealedResults:
    """`secret_keys`, `encryption_keys`."""

    @promise
    async def test_a_signed_result_is_read_with_the_same_key_only(self, stage: _Stage) -> None:
        """Without it, with another, or under another id it is refused."""
        signing = await stage.another(secret_keys=["the first key of all"])
        id = TaskId.new()
        await signing.store_result(id, "value")
        assert await signing.get_result(id) == "value"
        rotated = await stage.another(secret_keys=["the second key of all", "the first key of all"])
        assert await rotated.get_result(id) == "value"
        for stranger in (stage.store, await stage.another(secret_keys=["quite another key"])):
            with pytest.raises(SignatureError):
                await stranger.get_result(id)
        elsewhere = TaskId.new()
        await signing.put(elsewhere, cast("bytes", await signing.read(id)), 60)
        with pytest.raises(SignatureError):
            await signing.get_result(elsewhere)
        await stage.store.store_result(id, "forged")
        with pytest.raises(SignatureError):
            await signing.get_result(id)


class ResultConformance(KeepingResults, ExpiringResults, StoredErrors, AwaitedResults, SealedResults):
    """All of it. Subclass as `Test…` and define the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> ResultBench:
        """A fresh bench; the subclass defines it."""
        raise NotImplementedError("define a fixture `bench` in your subclass of ResultConformance")
