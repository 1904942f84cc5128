"""How options in the query of a backend's URL are read: each from its text, or a ValueError that says what it is."""

from __future__ import annotations

import re
from pathlib import Path
from ssl import TLSVersion
from typing import Final

_WORD: Final = re.compile(r"[a-z_]{1,30}")


def shown(name: str) -> str:
    """An option's name, unless a password may have slipped into it."""
    return name if _WORD.fullmatch(name) else "(not shown)"


def whole(text: str) -> int:
    """A whole number, not negative."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a whole number")
    return int(text)


def seconds(text: str) -> float:
    """A duration above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e6:
        raise ValueError("a number of seconds above 0")
    return number


def flag(text: str) -> bool:
    """True or false."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


def file(text: str) -> str:
    """The path of a file."""
    if not Path(text).is_file():
        raise ValueError("a file that is there")
    return text


def tls_version(text: str) -> TLSVersion:
    """The oldest version of TLS that will do."""
    versions = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}
    if text not in versions:
        raise ValueError("1.2 or 1.3")
    return versions[text]
