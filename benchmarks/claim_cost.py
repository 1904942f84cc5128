"""What a claim costs against what else the store holds: few messages, a large backlog, many due later or finished.

Runs in this project's interpreter, on the backend's own verbs: one exchange settles 10 claims and claims the next 10.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from statistics import median
from time import perf_counter_ns

from msgspec.structs import replace

from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.message import AnyMessage, Beat, Claim, Outcome

FEW = 1_000
BATCH = 10
WARM_UP, SAMPLES = 50, 300
NIL = b"\xc0"  # the result None as it is stored


class Store:
    """A backend with one worker on it."""

    def __init__(self, backend: TaskBackend, sample: AnyMessage) -> None:
        self._backend = backend
        self._sample = sample
        self._held: list[Claim] = []
        self._calls = 0

    async def put(self, count: int, *, delay: float = 0.0) -> None:
        """Queue `count` messages, due in `delay` seconds."""
        while count > 0:
            batch = [replace(self._sample, id=TaskId.new(), delay=delay) for _ in range(min(count, MAX_BATCH))]
            await self._backend.put(batch)
            count -= len(batch)

    async def beat(self) -> None:
        """Register the worker, or renew its lease."""
        self._calls += 1
        await self._backend.beat(Beat(worker="bench", number=self._calls))

    async def exchange(self, want: int) -> int:
        """Settle what the worker holds, claim up to `want`; the number claimed."""
        outcomes = [Outcome.success(claim, NIL) for claim in self._held]
        self._calls += 1
        answer = await self._backend.exchange("bench", outcomes, want=want, queues=None, sequence=self._calls)
        self._held = answer.claims
        return len(answer.claims)

    async def finish_all(self) -> None:
        """Run the store empty."""
        while await self.exchange(MAX_BATCH):
            await self.beat()

    async def cost(self) -> float:
        """Microseconds of one exchange of `BATCH` messages: the median of `SAMPLES`; the store keeps its size."""
        await self.beat()
        took = []
        for _ in range(WARM_UP + SAMPLES):
            await self.put(BATCH)
            started = perf_counter_ns()
            await self.exchange(BATCH)
            took.append(perf_counter_ns() - started)
        await self.exchange(0)
        return median(took[WARM_UP:]) / 1000


LATER = 86_400.0  # seconds; what is due then stays out of the way for the whole measurement


async def claim_costs(
    connect: Callable[[str], TaskBackend],
    sample: AnyMessage,
    filled: Callable[[], None],
    *,
    backlog: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Microseconds of one small exchange, per round, in stores measured in turn.

    "small" holds `FEW` messages, "queued" holds `backlog`, "later" holds `FEW` and `backlog` that are due later,
    "finished" holds `FEW` after `backlog` have run there. `connect` makes a backend on the store of a name; `filled` is
    called once all are full.
    """
    await _fill(connect("small"), sample, queued=FEW)
    await _fill(connect("queued"), sample, queued=backlog)
    await _fill(connect("later"), sample, later=backlog, queued=FEW)
    await _fill(connect("finished"), sample, finished=backlog, queued=FEW)
    filled()
    costs: dict[str, list[float]] = {"small": [], "queued": [], "later": [], "finished": []}
    async with AsyncExitStack() as opened:
        stores = {name: Store(await opened.enter_async_context(connect(name)), sample) for name in costs}
        for _ in range(rounds):
            for name, store in stores.items():
                costs[name].append(await store.cost())
    return costs


async def _fill(backend: TaskBackend, sample: AnyMessage, *, queued: int, finished: int = 0, later: int = 0) -> None:
    async with backend:
        store = Store(backend, sample)
        await store.beat()
        await store.put(finished)
        await store.finish_all()
        await store.put(later, delay=LATER)
        await store.put(queued)
