"""Reads the SQL files beside this module: blocks that each open with `-- name: …`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from reinhardt_tasks.backends.sqlite.layout import WORDS

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n|\s+-- .*$", re.MULTILINE)


def statements(part: str) -> Mapping[str, str]:
    """The statements of `<part>.sql` by name, without comments, each `{WORD}` replaced by what `layout.WORDS` says."""
    _, *blocks = _NAME.split(text(part))
    return MappingProxyType(dict(zip(blocks[::2], map(_bare, blocks[1::2]), strict=True)))


def _bare(block: str) -> str:
    return _COMMENT.sub("", block).strip()


def text(part: str) -> str:
    """The whole of `<part>.sql`, its words replaced."""
    return resources.files(__package__).joinpath(f"{part}.sql").read_text("utf-8").format_map(WORDS)
