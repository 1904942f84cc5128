"""A worker's hands for tests that need a message claimed, told of and settled, without a worker."""

from __future__ import annotations

from collections.abc import Sequence

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import Beat, Claim, Exchange, Outcome, Progress, Report


class Hands:
    """Takes claims from `backend` one at a time, under a registration of its own."""

    def __init__(self, backend: TaskBackend, worker: str = "hands") -> None:
        self.backend = backend
        self.worker = worker
        self.steps = 0

    async def take(self) -> Claim:
        """The next message; there has to be one."""
        await self.backend.beat(Beat(worker=self.worker, number=1))
        return (await self._exchange((), want=1)).claims[0]

    async def settle(self, *outcomes: Outcome) -> None:
        """End claims."""
        await self._exchange(outcomes)

    async def tell(self, claim: Claim, progress: Progress) -> None:
        """Report a claim's progress."""
        await self._exchange((), reports=(Report(claim.id, claim.number, progress.encode(), claim.locator),))

    async def _exchange(
        self, outcomes: Sequence[Outcome], *, want: int = 0, reports: Sequence[Report] = ()
    ) -> Exchange:
        self.steps += 1
        return await self.backend.exchange(
            self.worker, outcomes, want=want, queues=None, sequence=self.steps, reports=reports
        )
