"""Reads the SQL files beside this module, for the tables of one schema and prefix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final, NamedTuple

from reinhardt_tasks.backends.postgres.layout import WORDS

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^ *--.*\n|\s+-- .*$", re.MULTILINE)
_FILES: Final = resources.files("reinhardt_tasks.backends.postgres")
_BIGINT: Final = 1 << 63


class Names(NamedTuple):
    """Where the tables are: in `schema`, each called by `prefix` and its own name."""

    schema: str
    prefix: str

    @property
    def tables(self) -> str:
        """What stands before the name of a table or function in SQL."""
        return f"{quoted(self.schema)}.{self.prefix}"

    @property
    def lock(self) -> int:
        """The key of the advisory lock under which sweeps, requeues and migrations take turns."""
        digest = hashlib.sha256(f"{self.schema}.{self.prefix}".encode()).digest()
        return int.from_bytes(digest[:8], "big") - _BIGINT

    @property
    def channel(self) -> str:
        """What to LISTEN to."""
        return f"{self.prefix}{hashlib.sha256(self.schema.encode()).hexdigest()[:12]}"


def quoted(name: str) -> str:
    """`name` as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def words(names: Names) -> dict[str, str]:
    """What stands for `{WORD}` in the files."""
    here = {"T": names.tables, "N": names.prefix, "LOCK": f"'{names.lock}'::bigint", "CHANNEL": names.channel}
    return {**WORDS, **here}


@lru_cache(maxsize=32)
def statements(names: Names) -> Mapping[str, str]:
    """The statements of read.sql by name, without comments."""
    _, *blocks = _NAME.split(_text(_FILES / "read.sql", names))
    return MappingProxyType(dict(zip(blocks[::2], map(_bare, blocks[1::2]), strict=True)))


def _bare(block: str) -> str:
    return _COMMENT.sub("", block).strip()


def functions(names: Names) -> str:
    """All functions, to be created or replaced."""
    return "\n".join(_text(file, names) for file in _sql("functions"))


def migrations(names: Names) -> list[tuple[int, str]]:
    """The migrations by number, in order."""
    return [(int(file.name[:4]), _text(file, names)) for file in _sql("migrations")]


def _sql(directory: str) -> list[Traversable]:
    found = (file for file in (_FILES / directory).iterdir() if file.name.endswith(".sql"))
    return sorted(found, key=lambda file: file.name)


def _text(file: Traversable, names: Names) -> str:
    return file.read_text("utf-8").format_map(words(names))
