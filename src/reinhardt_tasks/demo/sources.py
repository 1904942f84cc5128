"""The demo's input and its work: which files there are, and what can be read off one of them (pure)."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec

_ELSEWHERE = frozenset({"site-packages", "dist-packages", "__pycache__"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef)
_BLOCKS = (
    *_SCOPES,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


class FileFacts(msgspec.Struct, frozen=True):
    """What is in a Python file, and in how many `seconds` that was found.

    `deepest` counts blocks inside blocks; `longest` is the qualified name of a function, "" for none.
    """

    path: str
    lines: int
    functions: int = 0
    classes: int = 0
    deepest: int = 0
    longest: str = ""
    longest_lines: int = 0
    seconds: float = 0.0


def standard_library() -> Path:
    """The directory of the running Python's standard library, also from inside a virtual environment."""
    return Path(sysconfig.get_path("stdlib")).resolve()


def python_files(root: Path) -> list[str]:
    """The .py files below `root`, as sorted paths relative to it; installed packages are not part of the library."""
    found = (file.relative_to(root) for file in root.rglob("*.py"))
    return sorted(file.as_posix() for file in found if _ELSEWHERE.isdisjoint(file.parts))


def measure(path: str, source: bytes) -> FileFacts:
    """The facts of one file. Raises what the parser raises for a file that is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the code that is read, which is not ours
        tree = ast.parse(source, filename=path)
    blocks = list(_blocks(tree))
    functions = [(_length(node), name) for node, name, _ in blocks if isinstance(node, _FUNCTIONS)]
    longest_lines, longest = max(functions, key=lambda pair: pair[0], default=(0, ""))
    return FileFacts(
        path=path,
        lines=len(source.splitlines()),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node, _, _ in blocks),
        deepest=max((depth for _, _, depth in blocks), default=0),
        longest=longest,
        longest_lines=longest_lines,
    )


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _blocks(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, int]]:
    """Every block statement with its qualified name and its depth, 1 at the top. No recursion: input may be deep."""
    waiting = [(node, "", 1) for node in reversed(tree.body)]
    while waiting:
        node, scope, depth = waiting.pop()
        if not isinstance(node, _BLOCKS):
            continue
        name = f"{scope}.{node.name}".lstrip(".") if isinstance(node, _SCOPES) else scope
        yield node, name, depth
        for inner in reversed(list(_inside(node))):
            level = depth if _is_elif(node, inner) else depth + 1
            waiting.append((inner, name, level))


def _inside(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements directly inside a block, in order, those of `except` and `case` too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def _is_elif(outer: ast.stmt, inner: ast.stmt) -> bool:
    """Whether `inner` is written `elif`, which the tree shows as an `if` inside the `else`."""
    if not (isinstance(outer, ast.If) and isinstance(inner, ast.If) and outer.orelse):
        return False
    return outer.orelse == [inner] and inner.col_offset == outer.col_offset
