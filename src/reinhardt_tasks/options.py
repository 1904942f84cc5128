"""What may be asked of one call (`EnqueueOptions`), and the check that turns it into a plain value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict

import msgspec

from reinhardt_tasks.errors import ConfigurationError, OptionError
from reinhardt_tasks.names import check_own_queue
from reinhardt_tasks.retry import Seconds, seconds
from reinhardt_tasks.status import TaskPriority

MAX_KEY: Final = 500
"""The most characters a unique key may have."""
MAX_HEADERS: Final = 1 << 16
"""The most characters all headers of a message may take together."""
_MAX_DELAY: Final = 100 * 365.25 * 86_400.0
"""Seconds: beyond this a delay is a mistake of its unit, and no calendar has its end."""
_YEARS: Final = range(1970, 9999)


class EnqueueOptions(TypedDict, total=False):
    """Options of one call, for `using` and `enqueue`.

    `delay` (by the broker's clock) and `run_at` (an aware datetime) exclude each other. `unique_key` lets one message
    of the task at a time hold the key: while it is unfinished, or for `unique_for` from its enqueue. `on_duplicate`
    says what a second one gets: the first one's handle with `created=False` ("return"), or a DuplicateTaskError
    ("raise"). `timeout=None` lifts the task's own time limit. `connection` is your own open transaction, where the
    backend can join it.
    """

    queue: str
    priority: int
    delay: Seconds
    run_at: datetime
    unique_key: str
    unique_for: Seconds
    on_duplicate: Literal["return", "raise"]
    timeout: Seconds | None
    headers: Mapping[str, str]
    connection: object


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Checked options of one call. `timeout` None is the task's own, 0.0 none; `run_at` is in Unix seconds."""

    queue: str | None = None
    priority: int | None = None
    delay: float = 0.0
    run_at: float | None = None
    unique_key: str | None = None
    unique_for: float | None = None
    on_duplicate: Literal["return", "raise"] = "return"
    timeout: float | None = None
    headers: dict[str, str] | None = None
    connection: Any = None

    @property
    def about_sending(self) -> str | None:
        """The name of an option that concerns the sending alone and cannot be part of a message."""
        if self.connection is not None:
            return "connection"
        return "on_duplicate" if self.on_duplicate != "return" else None


PLAIN: Final = Call()
"""A call without options."""


def checked(options: Mapping[str, Any], *, onto: Call = PLAIN) -> Call:
    """`onto` with `options` on top. Raises OptionError naming an option that is unknown, impossible or in conflict."""
    given = {name: _check(name, value) for name, value in options.items()}
    call = msgspec.structs.replace(onto, **given)
    if call.run_at is not None and call.delay:
        raise OptionError("delay and run_at exclude each other; give one of them", setting="run_at")
    return call


def _check(name: str, value: object) -> object:
    check = _CHECKS.get(name)
    if check is None:
        raise OptionError(f"there is no option {name!r}; there are: {', '.join(_CHECKS)}", setting=name)
    try:
        return check(value)
    except OptionError:
        raise
    except (ValueError, ConfigurationError) as error:
        raise OptionError(f"option {name}: {error}", setting=name) from None


def positive_seconds(value: Seconds, what: str) -> float:
    """`value` as seconds above 0. Raises ValueError naming `what`."""
    number = seconds(value, what=what)
    if number == 0:
        raise ValueError(f"{what} is more than 0 seconds, not {value!r}")
    return number


def _delay(value: Any) -> float:
    delay = seconds(value, what="delay")
    if delay > _MAX_DELAY:
        raise OptionError(f"delay is in seconds, at most 100 years of them, not {value!r}", setting="delay")
    return delay


def _timeout(value: Any) -> float:
    return 0.0 if value is None else positive_seconds(value, "timeout")


def _run_at(value: Any) -> float:
    if not isinstance(value, datetime):
        raise OptionError(f"run_at is a datetime with a time zone, not {value!r}", setting="run_at")
    if value.utcoffset() is None:
        raise OptionError(
            f"run_at has no time zone: {value!r}; add one, as in value.replace(tzinfo=UTC) or .astimezone()",
            setting="run_at",
        )
    if value.year not in _YEARS:
        raise OptionError(f"run_at is in the years {_YEARS[0]} to {_YEARS[-1]}, not {value!r}", setting="run_at")
    return value.timestamp()


def check_key(value: object) -> str:
    """`value`, if it can be a unique key: 1 to 500 characters of Unicode without NUL. Raises OptionError."""
    if isinstance(value, str) and 0 < len(value) <= MAX_KEY and "\0" not in value and _is_unicode(value):
        return value
    shown = repr(value) if not isinstance(value, str) or len(value) <= MAX_KEY else f"one of {len(value)} characters"
    raise OptionError(
        f"a unique key is text of 1 to {MAX_KEY} characters without NUL, not {shown}", setting="unique_key"
    )


def _on_duplicate(value: object) -> str:
    if value not in ("return", "raise"):
        raise OptionError(f"on_duplicate is 'return' or 'raise', not {value!r}", setting="on_duplicate")
    return str(value)


def _headers(value: object) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        raise OptionError(
            f"headers are a mapping from text to text, not of type {type(value).__qualname__}", setting="headers"
        )
    size = 0
    for pair in value.items():
        size += sum(len(part) for part in pair if isinstance(part, str))
        if size > MAX_HEADERS:
            raise OptionError(
                f"headers take {size} characters or more; the limit is {MAX_HEADERS}. Pass large ones as arguments",
                setting="headers",
            )
        if not all(isinstance(part, str) and _is_unicode(part) for part in pair):
            raise OptionError(f"headers map text to text; {pair[0]!r}: {pair[1]!r} does not", setting="headers")
    return dict(value) or None


def _is_unicode(text: str) -> bool:
    """Whether `text` can be encoded, that is, holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def own_connection(connection: object) -> object:
    """`connection`; for a name that means another one in each thread (`django.db.connection`), this thread's."""
    return getattr(getattr(connection, "validate_thread_sharing", None), "__self__", connection)


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "queue": check_own_queue,
    "priority": lambda value: int(TaskPriority(value)),  # a plain int, which the wire format takes
    "delay": _delay,
    "run_at": _run_at,
    "unique_key": check_key,
    "unique_for": lambda value: positive_seconds(value, "unique_for"),
    "on_duplicate": _on_duplicate,
    "timeout": _timeout,
    "headers": _headers,
    "connection": own_connection,
}


def optional_seconds(value: Seconds | None, what: str, *, zero: bool = False) -> float | None:
    """`value` as seconds, above 0 unless `zero`; None as None. Raises OptionError naming `what`."""
    try:
        if value is None:
            return None
        return seconds(value, what=what) if zero else positive_seconds(value, what)
    except ValueError as error:
        raise OptionError(str(error), setting=what) from None
