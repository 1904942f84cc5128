"""Each source file says what it is for, and none can be talked into running what a message carries."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "reinhardt_tasks"
FILES = sorted(PACKAGE.rglob("*.py"))
sources = pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(PACKAGE))) for file in FILES])

MODULES = frozenset({"cloudpickle", "code", "dill", "jsonpickle", "marshal", "pickle", "runpy", "shelve", "yaml"})
CALLS = frozenset({"__import__", "compile", "eval", "exec"})
# Importing by a name made at run time: the target an operator types, the same again in a worker's child processes, and
# our own backends by their URL's scheme.
BY_NAME = frozenset({"importlib", "pkgutil"})
READS_ONLY = ("importlib.metadata", "importlib.resources")
MAY_IMPORT_BY_NAME = ("cli/*", "worker/origin.py", "backends/__init__.py")


@sources
def test_a_module_opens_with_what_it_is_for(file: Path) -> None:
    """The first statement is a docstring whose first line is a sentence."""
    said = ast.get_docstring(ast.parse(file.read_text())) or ""
    assert said.partition("\n")[0].rstrip().endswith((".", ":", "?"))


@sources
def test_a_module_runs_only_code_that_was_written_here(file: Path) -> None:
    """No pickle or its kin, no eval or its kin, and importing by name only where a person or the package chose it."""
    assert list(dangers(file.read_text(), by_name=may_import_by_name(file.relative_to(PACKAGE)))) == []


def may_import_by_name(file: Path) -> bool:
    """Whether this file is one of the few that look modules up by name."""
    return any(file.match(pattern) for pattern in MAY_IMPORT_BY_NAME)


def dangers(source: str, *, by_name: bool) -> Iterator[str]:
    """What in `source` turns text or bytes into running code, as `line: name`."""
    banned = MODULES if by_name else MODULES | BY_NAME
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) if name in CALLS:
                yield f"{node.lineno}: {name}"
            case ast.Import() | ast.ImportFrom():
                for name in _imported(node):
                    if name.partition(".")[0] in banned and not name.startswith(READS_ONLY):
                        yield f"{node.lineno}: {name}"
            case _:
                pass


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that an import of another package asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names if node.level == 0]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["1: pickle"]),
        ("import os, marshal as m", ["1: marshal"]),
        ("from yaml import load", ["1: yaml.load"]),
        ("def f():\n    from importlib import import_module", ["2: importlib.import_module"]),
        ("import importlib, importlib.util", ["1: importlib", "1: importlib.util"]),
        ("from importlib import metadata, resources", []),
        ("from importlib.metadata import version", []),
        ("x = eval('1')", ["1: eval"]),
        ("run = exec", ["1: exec"]),
        ("__import__('os')", ["1: __import__"]),
        ("import re\nre.compile('a')", []),
        ("from . import code", []),
        ("from reinhardt_tasks.codec import encode", []),
    ],
)
def test_the_search_for_dangers_finds_them(source: str, found: list[str]) -> None:
    """It sees imports anywhere and names however they are used, and nothing else."""
    assert list(dangers(source, by_name=False)) == found


def test_the_search_allows_importing_by_name_and_nothing_more() -> None:
    """A file on the list may use importlib; pickle stays out."""
    assert list(dangers("import importlib, pickle", by_name=True)) == ["1: pickle"]
    assert may_import_by_name(Path("backends/__init__.py"))
    assert may_import_by_name(Path("cli/target.py"))
    assert not may_import_by_name(Path("codec.py"))
