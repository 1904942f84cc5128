"""Log records of a child process, on their way to the worker, whose logging then treats them like its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from reinhardt_tasks.worker.frames import Logged

_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_SIMPLE: Final = (float, bool, type(None))
_WHOLE: Final = range(-(1 << 63), 1 << 64)
"""The integers that MessagePack holds."""


class RemoteHandler(logging.Handler):
    """Sends each record as text, what is no valid Unicode in it escaped.

    Fields of other types than text, numbers and booleans are sent as their repr, and so are integers of over 64 bits.
    """

    def __init__(self, say: Callable[[Logged], None]) -> None:
        super().__init__()
        self._say = say
        self._form = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; one that cannot be formatted is complained about as logging does."""
        try:
            self._say(self._said(record))
        except Exception:  # noqa: BLE001 - a task's own __str__ or __repr__, as in logging.Handler
            self.handleError(record)

    def _said(self, record: logging.LogRecord) -> Logged:
        trace = record.exc_text or (self._form.formatException(record.exc_info) if record.exc_info else None)
        place = (_valid(record.pathname), record.lineno, record.funcName)
        fields = {_valid(name): _sendable(value) for name, value in vars(record).items() if name not in _USUAL}
        message = _valid(record.getMessage())
        trace = None if trace is None else _valid(trace)
        return Logged(_valid(record.name), record.levelno, message, trace, record.created, place, fields)


def _sendable(value: object) -> str | int | float | bool | None:
    """The value of a field, or a text that stands for it."""
    if isinstance(value, _SIMPLE) or (type(value) is int and value in _WHOLE):
        return value
    return _valid(value if isinstance(value, str) else repr(value))


def _valid(text: str) -> str:
    """`text`, with what is no valid Unicode in it escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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
