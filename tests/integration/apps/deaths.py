"""Points of a worker's or a producer's work at which a test has its process killed, as by SIGKILL from outside."""
# ruff: noqa: SLF001 - the points are inside

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any, Final

from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.message import OutcomeKind
from reinhardt_tasks.runner import Runner
from tests.integration.apps.jobs import write

POINTS: Final = ("claimed", "fetching", "filled", "returned", "ran", "settling", "sent", "settled")
"""A step is claimed; results it takes are read; it has them all; its function has returned; its outcome is there; that
is to be sent; that is under way; it is settled, and what it released may be claimed with the same answer."""
BEFORE_ITS_RUN: Final = frozenset({"claimed", "fetching", "filled"})
_FLIGHT: Final = 0.003
"""Seconds within which a call that is under way is cut off."""


class Death:
    """The end of this process at the `nth` passing of a point; it writes down `killed:NAME` and the message's id."""

    def __init__(self, name: str, point: str, nth: int) -> None:
        self._stage = f"killed:{name}"
        self._point = point
        self._left = nth

    def at(self, point: str, who: object = "-") -> None:
        """Die, if this is it."""
        if self._is_due(point):
            self._die(who)

    def soon_after(self, point: str) -> None:
        """Die a moment later, if this is it."""
        if self._is_due(point):
            threading.Timer(random.uniform(0, _FLIGHT), self._die, ["-"]).start()  # noqa: S311 - any moment will do

    def _is_due(self, point: str) -> bool:
        self._left -= point == self._point
        return point == self._point and self._left == 0

    def _die(self, who: object) -> None:
        write(f"{who} 0 {os.getpid()} {self._stage}")
        os.kill(os.getpid(), signal.SIGKILL)

    def await_worker(self, kind: type[TaskBackend]) -> None:
        """Lie in wait for a worker of this process, whose backend is of this kind."""
        self._await_runner()
        exchange, get, cancel = kind.exchange, kind.get, kind.cancel

        async def mortal_exchange(backend: Any, worker: str, outcomes: Any, **rest: Any) -> Any:
            ended = [outcome.id for outcome in outcomes if outcome.kind is OutcomeKind.SUCCESS]
            if ended:
                self.at("settling", ended[0])
                self.soon_after("sent")
            answer = await exchange(backend, worker, outcomes, **rest)
            if ended:
                self.at("settled", ended[0])
            return answer

        async def mortal_get(backend: Any, *args: Any, **rest: Any) -> Any:
            found = await get(backend, *args, **rest)
            self.at("fetching")
            return found

        async def mortal_cancel(backend: Any, *args: Any, **rest: Any) -> Any:
            statuses = await cancel(backend, *args, **rest)
            self.at("halfway")
            return statuses

        kind.exchange = mortal_exchange
        kind.cancel = mortal_cancel
        kind.get = mortal_get

    def _await_runner(self) -> None:
        run, run_filled, invoke = Runner.run, Runner._run, Runner._invoke

        async def mortal_run(runner: Any, claim: Any) -> Any:
            self.at("claimed", claim.id)
            outcome = await run(runner, claim)
            self.at("ran", claim.id)
            return outcome

        async def mortal_run_filled(runner: Any, claim: Any, *rest: Any) -> Any:
            self.at("filled", claim.id)
            return await run_filled(runner, claim, *rest)

        async def mortal_invoke(runner: Any, given: Any, *rest: Any) -> Any:
            value = await invoke(runner, given, *rest)
            self.at("returned", given.claim.id)
            return value

        Runner.run = mortal_run
        Runner._run = mortal_run_filled
        Runner._invoke = mortal_invoke

    def await_producer(self, kind: type[TaskBackend]) -> None:
        """Lie in wait for what stores a workflow here: before each batch, before its start, after it."""
        put, start = kind.put, kind.start_workflow

        async def mortal_put(backend: Any, messages: Any, **rest: Any) -> Any:
            self.at("putting")
            return await put(backend, messages, **rest)

        async def mortal_start(backend: Any, workflow: Any) -> Any:
            self.at("starting")
            started = await start(backend, workflow)
            self.at("started")
            return started

        kind.put = mortal_put
        kind.start_workflow = mortal_start
