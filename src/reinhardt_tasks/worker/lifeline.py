"""How workers notice that their supervisor is gone, even when it was killed: a pipe that only it holds open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final

LIFELINE_VARIABLE: Final = "REINHARDT_TASKS_LIFELINE"
INDEX_VARIABLE: Final = "REINHARDT_TASKS_WORKER_INDEX"
"""Where a worker reads which of its supervisor's workers it is, from 0."""


class Lifeline:
    """The supervisor's side. Nothing is ever written: what the workers wait for is the end."""

    def __init__(self) -> None:
        self.descriptor, self._held = os.pipe()

    def environment(self, index: int) -> Mapping[str, str]:
        """The environment of worker number `index`, which is to be started with `descriptor` open."""
        return {**os.environ, LIFELINE_VARIABLE: str(self.descriptor), INDEX_VARIABLE: str(index)}

    def close(self) -> None:
        """Let go."""
        os.close(self._held)
        os.close(self.descriptor)


def follow_supervisor(on_gone: Callable[[], None]) -> bool:
    """Have `on_gone` called on the running loop, once, when this worker's supervisor is gone. False if it has none.

    Takes the pipe out of the environment, so that processes started from here do not follow what they do not have.
    """
    said = os.environ.pop(LIFELINE_VARIABLE, "")
    if not said.isdecimal():
        return False
    descriptor, loop = int(said), asyncio.get_running_loop()
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only name

    def gone() -> None:
        loop.remove_reader(descriptor)
        on_gone()

    loop.add_reader(descriptor, gone)
    return True
