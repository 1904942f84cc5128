"""Where tasks run that do not run on the worker's loop: its threads and processes, each started when first needed."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from reinhardt_tasks.message import Progress
from reinhardt_tasks.retry import seconds
from reinhardt_tasks.run import Run
from reinhardt_tasks.runner import Prepared
from reinhardt_tasks.worker.config import WorkerConfig
from reinhardt_tasks.worker.processes import ProcessCall, ProcessPool
from reinhardt_tasks.worker.threads import ThreadPool


class WorkerPools:
    """One thread and one process for each slot, at most."""

    def __init__(self, config: WorkerConfig, *, target: str | None) -> None:
        self._threads = ThreadPool(config.concurrency)
        self._grace = seconds(config.grace, what="grace")
        self._processes = ProcessPool(config.concurrency, target=target, max_tasks_per_child=config.max_tasks_per_child)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.close()
        await self._processes.close(self._grace)

    async def run_in_thread(self, run: Run, call: Callable[[], Any], context: contextvars.Context) -> Any:
        """See runner.Pools."""
        return await self._threads.run(call, (), {}, context)

    async def run_in_process(self, run: Run, prepared: Prepared, arguments: bytes) -> bytes:
        """See runner.Pools."""
        context = run.context
        call = ProcessCall(
            id=run.claim.id,
            name=context.name,
            attempts=run.claim.attempts,
            losses=run.claim.losses,
            run_at=run.claim.run_at,
            headers=dict(context.headers),
        )

        def ask() -> float:
            return self._grace if self._processes.cancel(run.claim.id) else 0.0

        def on_progress(raw: bytes) -> None:
            progress = Progress.decode(raw)
            context.progress(progress.done, progress.total, progress.note)

        run.ask = ask
        return await self._processes.run(prepared.task, arguments, call, on_progress=on_progress)
