"""A Hypothesis state machine for metadata stores: random changes by two instances, compared with a model after each.

Needs Hypothesis, and a bench whose clock can be set.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reinhardt_tasks.errors import MetadataConflictError, MetadataNotFoundError, TransitionError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.status import TRANSITIONS, TaskStatus
from reinhardt_tasks.stores import MetadataChange, MetadataStore, TaskMetadata
from reinhardt_tasks.testing.conformance.stores import MetadataBench

T = TypeVar("T")
_TTL = 10.511
_STEPS = (1.013, 5.027, 11.019)
"""How far the clock moves at once, in seconds; no sum of them meets the end of a record."""
_SLACK = 0.3
"""Seconds around its end in which nothing is asked of a record, for stores whose clock goes on by itself."""
_PROBE = "probe"

_picks = st.integers(0, 10_000)
_names = st.sampled_from(("a", "b"))
_statuses = st.sampled_from(list(TaskStatus))
_some_data = st.sampled_from((b"", b"x", b"\x00" * 100))


@dataclass
class _Item:
    """A record as it should be."""

    name: str
    status: TaskStatus
    data: bytes
    version: int = 1
    over: float = math.inf


class MetadataMachine(RuleBasedStateMachine):
    """The rules. `new_bench` is given by `metadata_machine`."""

    new_bench: Callable[[], MetadataBench]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.closing = contextlib.AsyncExitStack()
        self.bench = type(self).new_bench()
        self.stores: list[MetadataStore] = []
        self.turn = 0
        self.now = 0.0
        self.items: dict[TaskId, _Item] = {}
        self.ids: list[TaskId] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the machine's own loop."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Close both instances."""
        self.run(self.closing.aclose())
        self.runner.close()

    @property
    def store(self) -> MetadataStore:
        """The instances, in turn."""
        self.turn += 1
        return self.stores[self.turn % len(self.stores)]

    @initialize()
    def start(self) -> None:
        """Open two instances."""
        for _ in range(2):
            store = self.bench.connect(ttl=_TTL)
            self.run(self.closing.enter_async_context(store))
            self.stores.append(store)
        self._look_at_clock()

    # What is done -------------------------------------------------------------------------------------------------

    @rule(name=_names, status=_statuses, data=_some_data)
    def keep(self, name: str, status: TaskStatus, data: bytes) -> None:
        """A new record."""
        self._store(TaskId.new(), name, status, data)

    @precondition(lambda self: self.ids)
    @rule(pick=_picks, name=_names, status=_statuses, data=_some_data)
    def keep_again(self, *, pick: int, name: str, status: TaskStatus, data: bytes) -> None:
        """One whose id was used before: it is known, or deleted, or forgotten."""
        self._store(self.ids[pick % len(self.ids)], name, status, data)

    @precondition(lambda self: self.ids)
    @rule(
        picks=st.lists(_picks, min_size=1, max_size=3),
        status=st.none() | _statuses,
        data=st.none() | _some_data,
        behind=st.sampled_from((None, 0, 0, 1)),
    )
    def change(self, *, picks: list[int], status: TaskStatus | None, data: bytes | None, behind: int | None) -> None:
        """Some records, perhaps twice the same; perhaps only those of a version, which may be an old one."""
        ids = [self.ids[pick % len(self.ids)] for pick in picks]
        if (status is None and data is None) or any(self._is_ending(id) for id in ids):
            return
        known = [self.items.get(id) for id in ids]
        versions = [None if behind is None or item is None else item.version - behind for item in known]
        changes = [
            MetadataChange(id=id, status=status, task_data=data, version=version)
            for id, version in zip(ids, versions, strict=True)
        ]
        answers = self.run(self.store.update_many(changes))
        self._look_at_clock()
        for change, answer in zip(changes, answers, strict=True):
            self._check(change, answer)

    @precondition(lambda self: self.ids)
    @rule(pick=_picks)
    def forget(self, pick: int) -> None:
        """A record that is there or not."""
        id = self.ids[pick % len(self.ids)]
        if not self._is_ending(id):
            assert self.run(self.store.delete(id)) is (self.items.pop(id, None) is not None)

    @rule(seconds=st.sampled_from(_STEPS))
    def let_time_pass(self, seconds: float) -> None:
        """Finished records may be over then."""
        self.run(self.bench.advance(seconds))
        self._look_at_clock()

    # What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def records_agree(self) -> None:
        """The store keeps what the model does, and finds it by name and status."""
        if not self.stores or any(self._is_ending(id) for id in self.items):
            return
        found = self.run(self.store.find(limit=200))
        assert {record.id: _facts(record) for record in found} == {id: _facts_of(i) for id, i in self.items.items()}
        assert [record.id for record in found] == sorted(self.items, reverse=True)
        for status in (TaskStatus.PENDING, TaskStatus.SUCCESS):
            wanted = [record for record in found if record.status is status]
            assert self.run(self.store.find(statuses=[status])) == wanted
        assert self.run(self.store.find(name="a")) == [record for record in found if record.name == "a"]
        assert self.run(self.store.get_many(self.ids[-10:])) == [
            next((record for record in found if record.id == id), None) for id in self.ids[-10:]
        ]

    # The model ----------------------------------------------------------------------------------------------------

    def _store(self, id: TaskId, name: str, status: TaskStatus, data: bytes) -> None:
        if self._is_ending(id) or len(self.ids) > 100:
            return
        record = TaskMetadata(id=id, name=name, status=status, task_data=data)
        assert self.run(self.store.store(record)) is (id not in self.items)
        self._look_at_clock()
        if id not in self.items:
            self.items[id] = _Item(name, status, data, over=self._end_of(status))
            self.ids.append(id)

    def _check(self, change: MetadataChange, answer: object) -> None:
        item = self.items.get(change.id)
        if item is None:
            assert isinstance(answer, MetadataNotFoundError)
        elif change.version not in (None, item.version):
            assert isinstance(answer, MetadataConflictError)
        elif change.status is not None and change.status not in TRANSITIONS[item.status]:
            assert isinstance(answer, TransitionError)
        else:
            assert isinstance(answer, TaskMetadata)
            item.version += 1
            item.data = item.data if change.task_data is None else change.task_data
            if change.status is not None:
                item.status, item.over = change.status, self._end_of(change.status)
            assert _facts(answer) == _facts_of(item)

    def _end_of(self, status: TaskStatus) -> float:
        return self.now + _TTL if status.finished else math.inf

    def _is_ending(self, id: TaskId) -> bool:
        """Whether its end is too near to tell on which side of it the store is."""
        return id in self.items and abs(self.items[id].over - self.now) < _SLACK

    def _look_at_clock(self) -> None:
        """The store's time now; what is over by then is forgotten."""
        probe = TaskMetadata(id=TaskId.new(), name=_PROBE)
        store = self.stores[0]
        self.run(store.store(probe))
        self.now = self.run(store.get(probe.id)).created_at.timestamp()
        self.run(store.delete(probe.id))
        self.items = {id: item for id, item in self.items.items() if item.over > self.now}


def _facts(record: TaskMetadata) -> tuple[object, ...]:
    return record.name, record.status, record.task_data, record.version


def _facts_of(item: _Item) -> tuple[object, ...]:
    return item.name, item.status, item.data, item.version


def metadata_machine(make_bench: Callable[[], MetadataBench], *, examples: int = 50) -> type[Any]:
    """A test case for pytest or unittest to collect; assign it to a name of your test module.

    `make_bench` gives a fresh bench for each of the `examples`.
    """

    class Machine(MetadataMachine):
        """The rules, on this author's bench."""

        new_bench = staticmethod(make_bench)

    case: type[Any] = Machine.TestCase
    case.settings = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    return case
