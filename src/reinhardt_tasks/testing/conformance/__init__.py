"""The conformance suite: whoever writes a backend subclasses `BackendConformance` and provides a `Bench`.

    import pytest
    from reinhardt_tasks.testing.conformance import BackendConformance, Bench

    class MyBench(Bench):
        lease = 1.2                                  # short, as this clock really waits
        patience = 5.0                               # tests that would wait longer are skipped

        def connect(self) -> MyBackend: ...          # a new instance on this bench's store

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def bench(self, tmp_path) -> MyBench:        # a fresh, empty store for each test
            return MyBench(tmp_path)

Every test is one claim of the contract and its docstring says the promise. The tests are plain functions that run an
event loop each: no pytest plugin is needed. `machine.conformance_machine(MyBench)` adds a Hypothesis state machine that
compares the backend with a pure model; it needs a clock that can be set.

Stores have suites of their own: `ResultConformance` with a `ResultBench`, `MetadataConformance` with a `MetadataBench`.
Their `connect` is given the options that the store is to be made with:

    class MyBench(ResultBench):
        def connect(self, **options) -> MyResultBackend:
            return MyResultBackend(self.url, **options)

`metadata_machine.metadata_machine(MyBench)` is the state machine of metadata stores.
"""

import pytest

# Before the modules are imported, so that a failed assert shows its values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{topic}"
        for topic in (
            "bench",
            "claiming",
            "delays",
            "door",
            "fencing",
            "held",
            "keeping",
            "lacking",
            "leases",
            "locks",
            "machine",
            "metadata",
            "metadata_machine",
            "model",
            "moving",
            "operators",
            "poison",
            "producers",
            "reading",
            "results",
            "schedules",
            "settling",
            "stores",
            "together",
            "unique_keys",
            "waiting",
            "workflows",
        )
    )
)

from reinhardt_tasks.testing.conformance.bench import Bench, Feature  # noqa: E402
from reinhardt_tasks.testing.conformance.claiming import Claiming  # noqa: E402
from reinhardt_tasks.testing.conformance.delays import Delays  # noqa: E402
from reinhardt_tasks.testing.conformance.door import Door  # noqa: E402
from reinhardt_tasks.testing.conformance.fencing import Fencing  # noqa: E402
from reinhardt_tasks.testing.conformance.held import HeldWorkflows  # noqa: E402
from reinhardt_tasks.testing.conformance.keeping import Keeping  # noqa: E402
from reinhardt_tasks.testing.conformance.lacking import Lacking  # noqa: E402
from reinhardt_tasks.testing.conformance.leases import Leases  # noqa: E402
from reinhardt_tasks.testing.conformance.locks import Locks  # noqa: E402
from reinhardt_tasks.testing.conformance.metadata import MetadataConformance  # noqa: E402
from reinhardt_tasks.testing.conformance.moving import Moving, Requeueing  # noqa: E402
from reinhardt_tasks.testing.conformance.operators import Cancelling, Pausing, Removing  # noqa: E402
from reinhardt_tasks.testing.conformance.poison import Poison  # noqa: E402
from reinhardt_tasks.testing.conformance.producers import Producers  # noqa: E402
from reinhardt_tasks.testing.conformance.reading import Reading  # noqa: E402
from reinhardt_tasks.testing.conformance.results import ResultConformance  # noqa: E402
from reinhardt_tasks.testing.conformance.schedules import Schedules  # noqa: E402
from reinhardt_tasks.testing.conformance.settling import Settling  # noqa: E402
from reinhardt_tasks.testing.conformance.stores import MetadataBench, ResultBench  # noqa: E402
from reinhardt_tasks.testing.conformance.together import Together  # noqa: E402
from reinhardt_tasks.testing.conformance.unique_keys import UniqueKeys  # noqa: E402
from reinhardt_tasks.testing.conformance.waiting import Waiting, WaitingForResults  # noqa: E402
from reinhardt_tasks.testing.conformance.workflows import Workflows  # noqa: E402

__all__ = [
    "BackendConformance",
    "Bench",
    "Feature",
    "MetadataBench",
    "MetadataConformance",
    "ResultBench",
    "ResultConformance",
]


class BackendConformance(
    Producers,
    Claiming,
    Settling,
    Fencing,
    Leases,
    Poison,
    Delays,
    UniqueKeys,
    Workflows,
    HeldWorkflows,
    Reading,
    Cancelling,
    Requeueing,
    Moving,
    Pausing,
    Removing,
    Schedules,
    Locks,
    Waiting,
    WaitingForResults,
    Keeping,
    Door,
    Together,
    Lacking,
):
    """All of it. Subclass as `Test…` and define the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> Bench:
        """A fresh bench; the subclass defines it."""
        raise NotImplementedError("define a fixture `bench` in your subclass of BackendConformance")
