"""What `import reinhardt_tasks` offers is listed, sorted, there, and explained."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import reinhardt_tasks

NAMES: list[str] = list(getattr(reinhardt_tasks, "__all__", []))
names = pytest.mark.parametrize("name", NAMES)


def test_names_are_sorted_and_said_once() -> None:
    """Constants, then classes, then the rest, each by the alphabet: the order that ruff's RUF022 keeps."""
    assert sorted(set(NAMES), key=place) == NAMES


def place(name: str) -> tuple[int, str]:
    """Where `name` stands in `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_nothing_public_is_left_off_the_list() -> None:
    """Whatever `__init__` imports from its own modules is in `__all__`; what is not for users is not imported there."""
    there = {name for name, value in vars(reinhardt_tasks).items() if not isinstance(value, ModuleType)}
    assert {name for name in there if not name.startswith("_")} - {"annotations"} <= set(NAMES)


@names
def test_a_listed_name_is_there_and_explained(name: str) -> None:
    """Classes and functions carry a docstring of their own, other names a string below their definition."""
    assert explanation(getattr(reinhardt_tasks, name), name)


def explanation(value: object, name: str) -> str | None:
    """The text written for `name`; not one that Python made up or inherited."""
    if inspect.isclass(value):
        written = value.__dict__.get("__doc__")
        return None if written is None or written.startswith(f"{value.__name__}(") else written
    if inspect.isroutine(value):
        return value.__doc__
    return next((said for module in _own_modules() if (said := _said_below(module, name))), None)


def _own_modules() -> list[ModuleType]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith("reinhardt_tasks.")]


def _said_below(module: ModuleType, name: str) -> str | None:
    """The string literal that follows the assignment of `name` in the source of `module`."""
    body = ast.parse(inspect.getsource(module)).body
    for before, after in pairwise(body):
        match before, after:
            case (
                (ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found))),
                ast.Expr(value=ast.Constant(value=str(said))),
            ) if found == name:
                return said
    return None


def test_opening_the_door_starts_nothing_and_loads_no_client() -> None:
    """Importing the package is silent, starts no thread, and leaves the optional packages alone."""
    look = (
        "import sys, threading; before = set(sys.modules); import reinhardt_tasks;"
        "heavy = {'cryptography', 'pika', 'psycopg', 'pydantic', 'redis', 'rich', 'starlette', 'typer', 'uvicorn'};"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    ended = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("[] 1\n", "")


@pytest.mark.parametrize(
    ("name", "explained"), [("Told", True), ("Inherits", False), ("told", True), ("untold", False), ("Made", False)]
)
def test_the_search_for_explanations_is_not_fooled(
    name: str, explained: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An inherited docstring, one made by dataclass, and no string at all count for nothing."""
    (tmp_path / "doors.py").write_text(
        "from dataclasses import dataclass\n"
        "class Told:\n    'Told.'\n"
        "class Inherits(Told): pass\n"
        "@dataclass\nclass Made:\n    x: int\n"
        "told = 1\n'One.'\n"
        "untold = 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("doors")
    monkeypatch.setitem(sys.modules, "reinhardt_tasks.doors", module)
    assert bool(explanation(getattr(module, name), name)) is explained
