"""The conformance suite finds what is wrong, skips what cannot be tried, and runs without any plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.errors import UnsupportedError
from reinhardt_tasks.message import Lock, Outcome, Settled, Swept
from reinhardt_tasks.testing.clock import StillClock
from reinhardt_tasks.testing.conformance import BackendConformance, Bench, Feature
from reinhardt_tasks.testing.conformance.machine import BackendMachine

SUITE = BackendConformance()


class Sleepy(MemoryBackend):
    """Rescues nothing."""

    async def sweep(self) -> Swept:
        return Swept()


class Lockless(MemoryBackend):
    """Has no locks, and says so."""

    async def acquire_lock(self, name: str, token: str, ttl: float) -> Lock | None:
        raise UnsupportedError(option="locks", backend=self.name, instead="sqlite:///")


class Trusting(MemoryBackend):
    """Believes every outcome that comes."""

    async def exchange(self, worker, outcomes, **options):
        known = self._store.messages.known
        honest = [Outcome(o.id, known[o.id].number, o.kind, o.payload) if o.id in known else o for o in outcomes]
        return await super().exchange(worker, honest, **options)


class Still(Bench):
    """A bench whose clock moves when told to."""

    def __init__(self, kind: type[MemoryBackend]) -> None:
        self.clock = StillClock()
        self.first = kind(clock=self.clock)

    def connect(self) -> MemoryBackend:
        return self.first.sibling()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def still(kind: type[MemoryBackend], **attributes) -> Still:
    """A bench for one test of the suite."""
    bench = Still(kind)
    for name, value in attributes.items():
        setattr(bench, name, value)
    return bench


def test_a_backend_that_rescues_nothing_is_found() -> None:
    """The test of that promise fails, with the values that differ."""
    bench = still(Sleepy)
    with pytest.raises(AssertionError, match="RUNNING"):
        SUITE.test_a_message_of_a_dead_worker_is_given_to_another(bench)


def test_a_backend_without_a_fence_is_found() -> None:
    """By the test of the promise, and by the machine."""
    with pytest.raises(AssertionError, match=repr(Settled.SETTLED)):
        SUITE.test_an_old_number_cannot_settle(still(Trusting))


def test_a_feature_that_is_said_to_be_lacking_must_be_refused() -> None:
    """To do it all the same, or to ignore it, is not honest."""
    SUITE.test_what_a_backend_lacks_it_refuses_by_name(still(Lockless, lacks=[Feature.LOCKS]))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        SUITE.test_what_a_backend_lacks_it_refuses_by_name(still(MemoryBackend, lacks=[Feature.LOCKS]))


def test_a_feature_that_is_lacking_is_not_tried() -> None:
    """Its tests are skipped, and say why."""
    with pytest.raises(pytest.skip.Exception, match="no locks"):
        SUITE.test_a_released_lock_is_free(still(Lockless, lacks=[Feature.LOCKS]))


def test_a_clock_that_really_waits_is_not_asked_for_days() -> None:
    """What would take longer than the bench's patience is skipped."""
    with pytest.raises(pytest.skip.Exception, match="would wait for"):
        SUITE.test_a_dead_letter_is_kept_for_a_week(still(MemoryBackend, patience=5.0))


def test_the_machine_finds_a_backend_that_forgets() -> None:
    """After the steps that matter, a backend that rescues nothing does not agree with the model."""

    class Machine(BackendMachine):
        new_bench = staticmethod(lambda: Still(Sleepy))

    machine = Machine()
    try:
        machine.start()
        machine.put(queue="q1", priority=5, count=1)
        machine.claim(name="a", want=1, queues=None)
        machine.records_agree()
        machine.all_but_one_die(alive="b")
        with pytest.raises(AssertionError):
            machine.records_agree()
    finally:
        machine.teardown()


PAGE = """
import pytest
from reinhardt_tasks.backends.memory import MemoryBackend
from reinhardt_tasks.testing.conformance import BackendConformance, Bench

class MyBench(Bench):
    lease = 0.6
    patience = 2.0

    def __init__(self):
        self.first = MemoryBackend()

    def connect(self):
        return self.first.sibling()

class TestMine(BackendConformance):
    @pytest.fixture
    def bench(self):
        return MyBench()
"""


def test_an_author_needs_no_plugin_and_no_settings(tmp_path: Path) -> None:
    """The suite runs where pytest knows nothing of coroutines."""
    (tmp_path / "test_mine.py").write_text(PAGE)
    command = [sys.executable, "-m", "pytest", "-q", "-k", "put or leaves", "--rootdir", str(tmp_path), str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "passed" in ended.stdout
    assert "warning" not in ended.stdout


PLAIN = """
import asyncio
from hypothesis import given, strategies as st

async def test_passes():
    await asyncio.sleep(0)

async def test_fails():
    assert asyncio.get_running_loop() is None

@given(st.integers())
async def test_given(number):
    assert asyncio.get_running_loop() is not None
    assert number < 100
"""


def test_the_plugin_lets_coroutine_tests_run(tmp_path: Path) -> None:
    """They pass and fail as others do, under `@given` too."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["reinhardt_tasks.testing.plugin"]\n')
    (tmp_path / "test_plain.py").write_text(PLAIN)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "2 failed, 1 passed" in ended.stdout
    assert {line.split("::")[1].split()[0] for line in ended.stdout.splitlines() if line.startswith("FAILED")} == {
        "test_fails",
        "test_given",
    }
