"""What a command is told: arguments, then the environment, then pyproject.toml, then defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from reinhardt_tasks.errors import ConfigurationError

PREFIX: Final = "REINHARDT_TASKS_"
SECTION: Final = "[tool.reinhardt-tasks]"
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]

T = TypeVar("T", bound=msgspec.Struct)
_BOUND = re.compile(r"Expected `(?:int|float)` >(?P<or_equal>=?) (?P<limit>\S+)")


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """How `worker` runs; the same names as its options. Durations in seconds, `max_memory` in MiB, no `queues`: all."""

    name: str = "worker"
    concurrency: AtLeastOne = 4
    queues: tuple[str, ...] = ()
    processes: AtLeastOne = 1
    reload: bool = False
    max_tasks: AtLeastOne | None = None
    max_memory: AtLeastOne | None = None
    max_tasks_per_child: AtLeastOne | None = None
    shutdown_timeout: NotNegative = 25.0
    grace: NotNegative = 5.0
    lease: Positive = 30.0
    poll_interval: Positive = 1.0
    prefetch: Annotated[int, msgspec.Meta(ge=0)] | None = None
    until_idle: bool = False
    scheduler: bool = True
    log_level: LogLevel = "info"


class ProjectSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [tool.reinhardt-tasks] of a pyproject.toml. `imports` names modules that register tasks."""

    target: str | None = None
    imports: tuple[str, ...] = ()
    worker: dict[str, Any] = {}


def read_project(directory: Path) -> ProjectSettings:
    """The settings in `directory`'s pyproject.toml; defaults where there is none. Raises ConfigurationError."""
    file = directory / "pyproject.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ProjectSettings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"pyproject.toml cannot be read: {error}", setting=SECTION) from error
    return parse_project(text)


def parse_project(text: str) -> ProjectSettings:
    """The settings in the `text` of a pyproject.toml. Raises ConfigurationError naming the table and the key."""
    try:
        tool = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"pyproject.toml is not valid TOML: {error}", setting=SECTION) from error
    table = tool.get("reinhardt-tasks", {}) if isinstance(tool, dict) else {}
    project = _converted(table, ProjectSettings, f"pyproject.toml {SECTION}")
    _converted(project.worker, WorkerSettings, f"pyproject.toml {SECTION[:-1]}.worker]")
    return project


def worker_settings(
    arguments: Mapping[str, object], environment: Mapping[str, str], project: ProjectSettings
) -> WorkerSettings:
    """One set of settings from the three places; an argument of None was not given. Keys of `arguments` in kebab case.

    Raises ConfigurationError naming the place of a wrong value.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    _converted(given, WorkerSettings, "the command line")
    merged = {**project.worker, **_from_environment(environment), **given}
    return _converted(merged, WorkerSettings, "the settings of the worker")


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """What CONCURRENCY, QUEUES and LOG_LEVEL say, each checked by itself; an empty variable says nothing."""
    found: dict[str, object] = {}
    for key, variable in (("concurrency", "CONCURRENCY"), ("queues", "QUEUES"), ("log-level", "LOG_LEVEL")):
        text = environment.get(PREFIX + variable, "").strip()
        if text:
            found[key] = _value(key, text)
            _converted({key: found[key]}, WorkerSettings, f"{PREFIX}{variable}={text}")
    return found


def _value(key: str, text: str) -> object:
    if key == "queues":
        return queue_names(text)
    return text.lower() if key == "log-level" else text


def queue_names(text: str) -> tuple[str, ...]:
    """The names in `a,b,c`; no text, no names. Raises ConfigurationError for commas alone, where some were meant."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text.strip() and not names:
        raise ConfigurationError(
            f"queues: {text!r} names none; write a,b, or leave it out to serve all", setting="queues"
        )
    return names


def _converted(table: object, kind: type[T], place: str) -> T:
    try:
        return msgspec.convert(table, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{place}: {_complaint(str(error), kind)}", setting=place) from error


def _complaint(text: str, kind: type[T]) -> str:
    """The text of a ValidationError with the key in front, or with the keys there are."""
    problem, _, path = text.partition(" - at `$")
    if problem.startswith("Object contains unknown field"):
        known = ", ".join(sorted(field.encode_name for field in msgspec.structs.fields(kind)))
        return f"there is no setting {problem.rpartition(' ')[2]}; there are: {known}"
    if bound := _BOUND.match(problem):
        problem = f"give a number {'of ' if bound['or_equal'] else 'above '}{float(bound['limit']):g}" + (
            " or more" if bound["or_equal"] else ""
        )
    if problem.startswith("Invalid enum value"):
        problem += f"; one of: {', '.join(LOG_LEVELS)}"
    key = path.strip("`.")
    return f"{key}: {problem[:1].lower()}{problem[1:]}" if key else f"{problem[:1].lower()}{problem[1:]}"
