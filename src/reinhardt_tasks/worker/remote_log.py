"""Log records of a child process, on their way to the worker, whose logging then treats them like its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from reinhardt_tasks.worker.frames import Logged

_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_SIMPLE: Final = (str, int, float, bool, type(None))


class RemoteHandler(logging.Handler):
    """Sends each record as text. Fields of other types than text, numbers and booleans are sent as their repr."""

    def __init__(self, say: Callable[[Logged], None]) -> None:
        super().__init__()
        self._say = say
        self._form = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; one that cannot be formatted is complained about as logging does."""
        try:
            said = self._said(record)
        except Exception:  # noqa: BLE001 - a task's own __str__ or __repr__, as in logging.Handler
            self.handleError(record)
        else:
            self._say(said)

    def _said(self, record: logging.LogRecord) -> Logged:
        trace = record.exc_text or (self._form.formatException(record.exc_info) if record.exc_info else None)
        place = (record.pathname, record.lineno, record.funcName)
        fields = {
            name: value if isinstance(value, _SIMPLE) else repr(value)
            for name, value in vars(record).items()
            if name not in _USUAL
        }
        message = record.getMessage()
        return Logged(record.name, record.levelno, message, trace, record.created, place, fields)


def log_again(said: Logged, *, pid: int) -> None:
    """Log here what the process `pid` logged, if the logger of that name takes it."""
    logger = logging.getLogger(said.logger)
    if not logger.isEnabledFor(said.level):
        return
    path, line, function = said.place
    record = logging.LogRecord(said.logger, said.level, path, line, said.message, (), None, function)
    record.created, record.process, record.exc_text = said.created, pid, said.traceback
    vars(record).update(said.fields)
    logger.handle(record)
