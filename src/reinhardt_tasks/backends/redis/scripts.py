"""The Lua files beside this module, as scripts to be called by their hash.

Comment lines at the top of a file may say `-- include: name, name` (files put in front of it, each once, in that
order), `-- lazily` (the functions that it adds to the table of its own name are made when one is first needed) and
`-- flags: allow-oom` (what servers from 7.0 on are told by a first line of the script; older ones know no flags).
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

FLAGS_SINCE: Final = (7, 0)
"""The first server version that knows flags."""
_DIRECTIVE: Final = re.compile(r"^-- (include|flags|lazily)(?:: (.+))?$")


class Script(NamedTuple):
    """What a script is called by, and its whole text for a server that does not have it."""

    digest: bytes
    source: bytes


@cache
def script(name: str, *, flags: bool) -> Script:
    """The script `lua/<name>.lua` with all it includes, for servers that know `flags` or not."""
    directives, _ = _read(name)
    source = "\n".join(_pieces(name, []))
    if flags and "flags" in directives:
        source = f"#!lua flags={','.join(directives['flags'])}\n{source}"
    encoded = source.encode()
    return Script(hashlib.sha1(encoded).hexdigest().encode(), encoded)  # noqa: S324 - the server's own choice of hash


def _pieces(name: str, seen: list[str]) -> list[str]:
    """The texts that make up `name`, what it includes first; `seen` are those that are already there."""
    if name in seen:
        return []
    seen.append(name)
    directives, text = _read(name)
    lazy = "lazily" in directives
    parts = [*(["lazily"] if lazy else []), *directives.get("include", ())]
    own = f"local {name} = lazily(function()\n{text}\nreturn {name}\nend)" if lazy else text
    return [piece for part in parts for piece in _pieces(part, seen)] + [own]


@cache
def _read(name: str) -> tuple[dict[str, list[str]], str]:
    """The directives at the top of `lua/<name>.lua`, and its text."""
    text = resources.files("reinhardt_tasks.backends.redis").joinpath("lua", f"{name}.lua").read_text("utf-8")
    directives: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        if found := _DIRECTIVE.match(line):
            directives[found[1]] = [word.strip() for word in (found[2] or "").split(",")]
    return directives, text
