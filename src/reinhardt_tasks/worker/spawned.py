"""A child process watched by the event loop: started from scratch (never forked off), signalled, always reaped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

_LOOK_INTERVAL: Final = 0.05
"""Seconds between two looks at a child where the system has no file descriptor that tells of its end."""
PARENT_DECIDES: Final = (signal.SIGINT, signal.SIGTERM)


class Spawned:
    """A running child. Only the loop it was made on touches it, so that its pid is never used after it was reaped."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        own_group: bool = False,
    ) -> None:
        """Start `command` with the outputs of this process, an empty input, `fds`, and no other open file.

        It begins with SIGINT and SIGTERM blocked, and unblocks them once it is ready for them; with `own_group` it
        begins with nothing blocked, but out of reach of the terminal's Ctrl-C. Raises OSError if it cannot be started.
        """
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        group = 0 if own_group else None
        with _blocked(() if own_group else PARENT_DECIDES):
            self._process = subprocess.Popen(  # noqa: S603 - a command of this package's own making
                command, stdin=subprocess.DEVNULL, pass_fds=fds, env=env, process_group=group
            )
        self.pid: Final = self._process.pid
        self._watch()

    @property
    def code(self) -> int | None:
        """The exit code, or the number of the signal that ended it below zero; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def on_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called on the loop once the child has ended and was reaped."""
        self._ended.add_done_callback(lambda _: callback())

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the child has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        self._process.kill()

    def poll(self) -> bool:
        """Whether the child has ended, seen without waiting for the loop to be told."""
        if self._process.poll() is None:
            return False
        if not self._ended.done():
            self._ended.set_result(self._process.returncode)
        return True

    async def wait(self, timeout: float | None = None) -> int | None:
        """`code`, after waiting for the end for up to `timeout` seconds."""
        await asyncio.wait([self._ended], timeout=timeout)
        return self.code

    def _watch(self) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or a sandbox that does not allow it
            self._look_again()
        else:
            self._loop.add_reader(descriptor, self._reap, descriptor)

    def _reap(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self.poll()

    def _look_again(self) -> None:
        if not self.poll():
            self._loop.call_later(_LOOK_INTERVAL, self._look_again)


@contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Hold back `signals` from this thread, and so from a child started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def this_python() -> list[str]:
    """The beginning of a command line that runs Python as this process does, with its options."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - what multiprocessing uses
    return [sys.executable, *flags]


def describe_end(code: int) -> str:
    """How a process that ended with `code` went: `exited with code 9`, `was killed by SIGSEGV`."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
