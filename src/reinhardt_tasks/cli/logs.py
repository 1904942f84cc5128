"""The log lines of a worker: one event a line on standard error, in which no message can forge a second one."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from reinhardt_tasks.cli.text import censored, visible

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s %(message)s"
_ExceptionFacts = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeFormatter(logging.Formatter):
    """Passwords censored, control characters escaped, and every further line of an entry indented."""

    default_msec_format = "%s.%03d"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The entry's own text."""
        return _indented(super().formatMessage(record))

    def formatException(self, ei: _ExceptionFacts) -> str:  # noqa: N802 - logging's name
        """The traceback under an entry."""
        return _indented(super().formatException(ei), first=True)


def _indented(text: str, *, first: bool = False) -> str:
    lines = visible(censored(text), keep_lines=True).rstrip("\n").split("\n")
    return ("    " if first else "") + "\n    ".join(lines)


def set_up_logging(level: str) -> None:
    """Send everything logged at `level` or above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
