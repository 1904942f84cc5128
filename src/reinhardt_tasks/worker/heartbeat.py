"""The worker's sign of life: a thread with a loop and a backend of its own, so that no task can hold it up.

One beat renews the lease of everything the worker holds. The same thread sweeps for dead workers' messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from reinhardt_tasks.clocks import boottime
from reinhardt_tasks.contract import MAX_BATCH, TaskBackend
from reinhardt_tasks.errors import BackendError, TaskError
from reinhardt_tasks.message import Beat, Orders
from reinhardt_tasks.worker.patience import backoff, open_patiently

log = logging.getLogger("reinhardt_tasks.worker")

_NEVER: Final = -math.inf


class Heartbeat:
    """Beats every third of `lease` seconds and sweeps every sixth, from `start` to `stop`.

    `make_beat(number, leaving)` is called in the heartbeat's thread, `on_orders` in the loop that called `start`.
    `may_live` says whether the worker still deserves its lease: one whose loop hangs in a task that should have been
    stopped long ago forfeits it.
    """

    def __init__(
        self,
        backend: TaskBackend,
        *,
        lease: float,
        make_beat: Callable[[int, bool], Beat],
        on_orders: Callable[[Orders], None],
        may_live: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._lease = lease
        self._make_beat = make_beat
        self._on_orders = on_orders
        self._may_live = may_live
        self._number = 0
        self._failures = 0
        self._confirmed_at = _NEVER
        self._sweep_from = 0.0
        self._thread = threading.Thread(target=self._main, name="reinhardt-heartbeat", daemon=True)
        self._stopping = False

    def start(self) -> asyncio.Future[None]:
        """Start the thread. The future is done after the first confirmed beat.

        It, or later `broken`, raises what ends the thread: what the backend's `open` refuses, or an error that will not
        get better by waiting.
        """
        self._owner = asyncio.get_running_loop()
        self._beating: asyncio.Future[None] = self._owner.create_future()
        self.broken: asyncio.Future[None] = self._owner.create_future()
        self._ended: asyncio.Future[None] = self._owner.create_future()
        self._thread.start()
        return self._beating

    async def stop(self) -> None:
        """End the thread; its last beat says that the worker leaves."""
        self._stopping = True
        self.beat_now()
        await asyncio.wait([self._ended], timeout=self._lease)
        for future in (self._beating, self.broken):
            if not future.cancel() and not future.cancelled():
                future.exception()  # whoever did not wait for it does not need to know

    def beat_now(self) -> None:
        """Beat at once. Callable from any thread."""
        with contextlib.suppress(RuntimeError, AttributeError):  # not started yet, or ended
            self._loop.call_soon_threadsafe(self._wake.set)

    @property
    def trusted(self) -> bool:
        """Whether a beat was confirmed within two thirds of the lease, counted from before it was sent."""
        return boottime() - self._confirmed_at < self._lease * 2 / 3

    # The thread -----------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            log.exception("heartbeat_ended")
            self._tell_owner(self._break, error)
        finally:
            self._tell_owner(_resolve, self._ended)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        if self._stopping:
            self._wake.set()
        try:
            if await open_patiently(self._backend, self._wake):
                await self._live()
                await self._beat(leaving=True)
        finally:
            with contextlib.suppress(TaskError):
                await self._backend.close()

    async def _live(self) -> None:
        """Beat and sweep until it is time to stop. Raises what breaks one of the two."""
        tasks = [asyncio.create_task(self._keep_beating()), asyncio.create_task(self._keep_sweeping())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _keep_beating(self) -> None:
        while not self._stopping:
            if self._may_live() and await self._beat():
                self._tell_owner(_resolve, self._beating)
            pause = min(self._lease / 3, backoff(self._failures)) if self._failures else self._lease / 3
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()

    async def _beat(self, *, leaving: bool = False) -> bool:
        """Send one beat; True when it was confirmed. Until one is, each is the first: there is no lease to lose yet."""
        self._number = self._number + 1 if self._confirmed_at > _NEVER else 1
        sent_at = boottime()
        try:
            beat = self._make_beat(self._number, leaving)
            orders = await asyncio.wait_for(self._backend.beat(beat), self._lease / 3)
        except BackendError as error:
            self._failed(str(error))
            return False
        except TimeoutError:
            self._failed(f"no answer within {self._lease / 3:g} s")
            return False
        self._failures = 0
        self._confirmed_at = sent_at
        self._tell_owner(self._on_orders, orders)
        return True

    def _failed(self, why: str) -> None:
        """A broker that was away may have missed everybody's beats: nobody is given up for half a lease."""
        self._failures += 1
        self._sweep_from = boottime() + self._lease / 2
        log.warning("beat_failed failures=%d error=%s", self._failures, why)

    async def _keep_sweeping(self) -> None:
        """Sweep at least every sixth of the lease, and soon again while there was more to do than fits one sweep.

        Then half of the time is left to the others: who waits for the lock of a database would hardly get it between
        two sweeps that follow each other at once.
        """
        while True:
            await asyncio.sleep(self._lease / 6 * random.uniform(0.6, 1.0))  # noqa: S311 - spread, not secrecy
            more = True
            while more and boottime() >= self._sweep_from:
                began = time.monotonic()
                more = await self._sweep()
                if more:
                    await asyncio.sleep(time.monotonic() - began)

    async def _sweep(self) -> bool:
        """Sweep once; whether another one is worth its while."""
        try:
            swept = await self._backend.sweep()
        except BackendError as error:
            self._failed(str(error))
            return False
        if swept.rescued or swept.poisoned:
            log.warning("messages_rescued rescued=%d poisoned=%d", swept.rescued, swept.poisoned)
        return max(swept.rescued, swept.promoted, swept.cancelled, swept.expired, swept.deleted) >= MAX_BATCH

    # Back to the worker's loop -----------------------------------------------------------------------------------

    def _tell_owner(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the worker's loop has ended
            self._owner.call_soon_threadsafe(call, *arguments)

    def _break(self, error: Exception) -> None:
        """Let whoever waits for the heartbeat know that there is none."""
        future = self.broken if self._beating.done() else self._beating
        if not future.done():
            future.set_exception(error)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
