"""Notices that the application's source files changed, and that what they became is Python, by looking at them."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

_log = logging.getLogger("reinhardt_tasks.supervisor")

_SETTLE: Final = 0.1
"""Seconds without a further change after which a change is taken for complete."""
_FOREIGN: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

Stamp = tuple[int, int, int]


class SourceWatch:
    """Watches the .py files below `roots`, from when it is made, looking at them every `interval` seconds.

    Hidden directories, virtual environments and installed packages are left out.
    """

    def __init__(self, roots: Sequence[Path], *, interval: float = 0.5) -> None:
        self._roots = [root.resolve() for root in roots]
        self._interval = interval
        self._seen = snapshot(self._roots)
        self._changed: set[Path] = set()

    async def change(self) -> list[Path]:
        """The files that were changed, added or removed; returns once there are some and all of them can be parsed.

        What cannot be parsed is logged, and the next change waited for.
        """
        while True:
            self._changed |= await self._settled_change()
            mistakes = list(syntax_errors(self._changed))
            if not mistakes:
                changed, self._changed = sorted(self._changed), set()
                return changed
            for mistake in mistakes:
                _log.error("syntax_error %s (the workers stay as they are until it is repaired)", mistake)

    async def _settled_change(self) -> set[Path]:
        """What differs from the last time, when it has stopped changing: editors and checkouts write many files."""
        before = self._seen
        while (now := await self._look(self._interval)) == before:
            pass
        while (later := await self._look(_SETTLE)) != now:
            now = later
        self._seen = now
        return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}

    async def _look(self, after: float) -> Mapping[Path, Stamp]:
        await asyncio.sleep(after)
        return await asyncio.to_thread(snapshot, self._roots)


def snapshot(roots: Iterable[Path]) -> Mapping[Path, Stamp]:
    """A stamp of each source file below `roots`, which changes when the file does."""
    return {path: stamp for root in roots for path, stamp in _stamps(root)}


def _stamps(root: Path) -> Iterator[tuple[Path, Stamp]]:
    for directory, below, files in os.walk(root):
        below[:] = [name for name in below if not _is_foreign(Path(directory, name))]
        for name in files:
            if name.endswith(".py"):
                path = Path(directory, name)
                try:
                    found = path.stat()
                except OSError:  # removed a moment ago, or a dangling link
                    continue
                yield path, (found.st_mtime_ns, found.st_size, found.st_ino)


def _is_foreign(directory: Path) -> bool:
    """Whether what is in there is not the application's own."""
    return directory.name in _FOREIGN or directory.name.startswith(".") or (directory / "pyvenv.cfg").exists()


def syntax_errors(paths: Iterable[Path]) -> Iterator[str]:
    """`file:line: what is wrong` for each of the files that is no Python; what cannot be looked at is left out."""
    for path in sorted(paths):
        try:
            ast.parse(path.read_bytes(), str(path))
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"
        except ValueError as error:
            yield f"{path}: {error}"
        except (OSError, RecursionError):  # gone, or nested too deep to look at here: the worker will see
            continue
