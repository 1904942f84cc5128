"""What is tested is what is installed: each dependency has one pinned version, and nothing but that."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LINES}
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for, of others."""
    asked = [*SETTINGS["build-system"]["requires"], *PROJECT["dependencies"], *SETTINGS["dependency-groups"]["dev"]]
    asked += [line for lines in EXTRAS.values() for line in lines]
    return [asking for line in asked if (asking := Requirement(line)).name != PROJECT["name"]]


def test_constraints_are_names_and_versions() -> None:
    """No address, no option: the file means the same wherever packages come from."""
    assert LINES
    assert [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    """A new dependency, or a raised bound, brings its tested version along."""
    loose = [
        str(asked)
        for asked in requirements()
        if not asked.specifier.contains(PINS.get(canonicalize_name(asked.name), "0"))
    ]
    assert loose == []


def test_all_means_all() -> None:
    """The extra `all` names every other one."""
    (everything,) = [Requirement(line) for line in EXTRAS["all"]]
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(EXTRAS) - {"all"}
