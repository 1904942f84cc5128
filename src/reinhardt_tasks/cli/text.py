"""Words for people: foreign text made harmless, durations and instants made short."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rich.text import Text

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/{2,}[^\s:@/]*):\S*@")
_SECRET_OPTION = re.compile(
    r"(?i)(?P<name>[?&;](?:\w*(?:password|passwd|secret|token))=)[^\s&;]*?(?=['\"]?(?:[\s&;]|$))"
)


def visible(text: str, *, keep_lines: bool = False) -> str:
    r"""`text` with every character that a terminal would obey, hide or reorder written as an escape such as `\x1b`.

    With `keep_lines`, line ends stay and tabs become spaces.
    """
    if keep_lines:
        return "\n".join(visible(line.expandtabs(4)) for line in text.split("\n"))
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def censored(text: str) -> str:
    """`text` with the passwords of URLs in it replaced by `***`; rather too much of a URL is hidden than too little."""
    return _SECRET_OPTION.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<scheme>:***@", text))


def one_sentence(text: str, *, limit: int = 2_000) -> str:
    """`text` on one line, harmless, without passwords, cut after `limit` characters, and closed by a full stop."""
    line = beginning(visible(censored(" ".join(text.split()))), limit)
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def beginning(text: str, limit: int = 60) -> str:
    """`text`, or its first `limit` characters and an ellipsis: enough to recognise what was typed."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def cell(value: object, style: str = "") -> Text:
    """What a table shows for `value`: literal text, never markup; a dash for None."""
    return Text("—", "dim") if value is None else Text(visible(str(value)), style)


def cut(value: object, style: str = "") -> Text:
    """As `cell`, on one line however narrow the column is; what does not fit is cut."""
    text = cell(value, style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, with a note of how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters; --json shows all)"


def moment(at: float | None) -> str | None:
    """A Unix time as ISO 8601 in UTC to the microsecond, such as `2026-03-01T09:30:00.250000Z`; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def clock(at: float | None) -> str | None:
    """A Unix time as people read it, in the local zone, such as `2026-03-01 10:30:00`; None stays None."""
    return None if at is None else f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float, *, exact: bool = True) -> str:
    """Seconds as `850 µs`, `12 ms`, `3.2 s`, `4 min 10 s`, `3 d 4 h`; not `exact`, as `0 s`, `3 s`, `4 min`, `3 d`."""
    if seconds < 0:
        return f"-{duration(-seconds, exact=exact)}"
    if exact and 0 < seconds < 0.9995:
        return f"{seconds * 1e6:.0f} µs" if seconds < 0.0009995 else f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if exact else f"{seconds:.0f} s"
    return _long(round(seconds), exact=exact)


def _long(seconds: int, *, exact: bool) -> str:
    for unit, size, small_unit, small in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            whole, rest = seconds // size, seconds % size // small
            return f"{whole} {unit} {rest} {small_unit}" if rest and exact else f"{whole} {unit}"
    return f"{seconds} s"


def ago(then: float | None, now: float, *, exact: bool = True) -> str | None:
    """How long before `now` the instant `then` lies, or `in …` when it is ahead; None stays None."""
    if then is None:
        return None
    return f"{duration(now - then, exact=exact)} ago" if then <= now else f"in {duration(then - now, exact=exact)}"


def count(number: int, noun: str) -> str:
    """`1 message`, `2 messages`, `1,790 messages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
