"""`check`: does everything a worker would need stand ready, and is there something an operator should mend?"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated

import msgspec
import typer

from reinhardt_tasks.cli.failures import FAILED
from reinhardt_tasks.cli.options import Json, Target, Url
from reinhardt_tasks.cli.place import Place, find_place, work_at
from reinhardt_tasks.cli.screen import print_error, print_json, print_text, print_wide
from reinhardt_tasks.cli.tables import facts_table
from reinhardt_tasks.cli.text import count
from reinhardt_tasks.contract import TaskBackend


class Findings(msgspec.Struct, frozen=True):
    """What a check found: facts by name, and warnings that ask for action."""

    facts: dict[str, str]
    warnings: list[str]


def check(
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on a warning too.")] = False,
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Connect, and print versions, durability and warnings; exit 1 when the backend cannot be used."""
    place = find_place(target, url)
    findings = work_at(place, lambda backend: _look(place, backend))
    if json:
        print_json({"ok": not findings.warnings, "facts": findings.facts, "warnings": findings.warnings})
    else:
        _print_findings(findings)
    if strict and findings.warnings:
        raise typer.Exit(FAILED)


async def _look(place: Place, backend: TaskBackend) -> Findings:
    told = await backend.check()
    workers, queues = await backend.workers(), await backend.counts()
    facts = {
        "reinhardt-tasks": version("reinhardt-tasks"),
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "url": place.url,
        "backend": backend.name,
        **{name: text for name, text in told.items() if not _is_warning(name)},
        "queues": str(len(queues)),
        "workers": str(len(workers)),
    }
    if place.queue is not None:
        facts["tasks"] = str(len(place.queue.tasks))
    return Findings(facts, warnings_of(told))


def _is_warning(name: str) -> bool:
    return name.startswith("warning")


def warnings_of(told: Mapping[str, str]) -> list[str]:
    """The texts whose names begin with `warning`."""
    return [text for name, text in told.items() if _is_warning(name)]


def _print_findings(findings: Findings) -> None:
    print_wide(facts_table(findings.facts))
    for warning in findings.warnings:
        print_error(f"warning: {warning}")
    print_text("ok" if not findings.warnings else f"usable, with {count(len(findings.warnings), 'warning')}")
