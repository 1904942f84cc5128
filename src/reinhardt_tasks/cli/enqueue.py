"""`enqueue`: call a task from the shell; its arguments are JSON."""

from __future__ import annotations

import asyncio
import difflib
import json as jsonlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from reinhardt_tasks.cli.failures import FAILED, InputError, sentence
from reinhardt_tasks.cli.options import Json
from reinhardt_tasks.cli.place import chosen_target, needed_target, refuse_inside
from reinhardt_tasks.cli.screen import print_error, print_json, print_text
from reinhardt_tasks.cli.settings import read_project
from reinhardt_tasks.cli.target import find_queue
from reinhardt_tasks.cli.text import beginning
from reinhardt_tasks.errors import ResultTimeoutError, TaskError, TaskNotFoundError
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.options import EnqueueOptions
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.results import TaskOutput
from reinhardt_tasks.task import Task

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, None: 1.0}


def enqueue(
    *,
    first: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The queue, as module:queue; not needed where it is set elsewhere.",
            show_default=False,
        ),
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="TASK", help="A task's name, or its end.", show_default=False)
    ] = None,
    rest: Annotated[
        list[str] | None, typer.Argument(metavar="ARG", help="Arguments, each as JSON.", show_default=False)
    ] = None,
    keywords: Annotated[
        str, typer.Option("--kwargs", metavar="JSON", help="Arguments by name, as a JSON object.")
    ] = "{}",
    priority: Annotated[int | None, typer.Option("--priority", "-p", min=0, max=9, help="9 is served first.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Start so much later: 30, 90s, 5m, 2h, 1d.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Another queue than the task's own.")] = None,
    unique_key: Annotated[
        str | None, typer.Option(help="Store nothing while an unfinished message has this key.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the result and print it.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="With --wait: wait no longer than this.")] = None,
    json: Json = False,
) -> None:
    """Enqueue a call of a task and print its id; with --wait, print its result and exit 1 when it fails."""
    project = read_project(Path.cwd())
    is_set = chosen_target(None, os.environ, project) is not None
    words = [first, *([] if second is None else [second]), *(rest or [])]
    target, name, texts = split_words(words, target_is_set=is_set)
    call = [parsed_json(text, f"argument {number}") for number, text in enumerate(texts, 1)]
    named = keywords_in(keywords)
    if timeout is not None and not wait:
        raise InputError("--timeout bounds the wait for the result; it goes with --wait")
    limit = None if timeout is None else seconds_in(timeout, "--timeout")
    options = _options(priority=priority, delay=delay, queue=queue, unique_key=unique_key)
    app = find_queue(needed_target(target, project), imports=project.imports).queue
    refuse_inside(app.url)
    task = find_task(app, name)
    asyncio.run(_send(app, task, call, named, options=options, wait=(wait, limit), json=json))


def split_words(words: Sequence[str], *, target_is_set: bool) -> tuple[str | None, str, list[str]]:
    """TARGET (None: set elsewhere), the task's name and its arguments.

    The first word is TARGET when it has a colon, which no task's name has, or when TARGET is not set elsewhere.
    """
    if not target_is_set or ":" in words[0]:
        if len(words) < 2:
            raise InputError("which task? Write: reinhardt-tasks enqueue module:queue TASK ARGUMENTS")
        return words[0], words[1], list(words[2:])
    return None, words[0], list(words[1:])


def parsed_json(text: str, what: str) -> Any:
    """The value written as `text`. Raises InputError, which shows how to quote a text."""
    try:
        return jsonlib.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not JSON: {beginning(text)}{_remedy(text, error)}") from error


class _NumberError(ValueError):
    """A number that JSON has no form for."""


def _refuse(constant: str) -> Any:
    raise _NumberError(f"JSON has no {constant}")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _NumberError("that number is beyond what a float can hold")
    return value


def _remedy(text: str, error: Exception) -> str:
    """What to do about it, as the end of a sentence; nothing where that is not known."""
    if isinstance(error, _NumberError):
        return f"; {error}"
    if isinstance(error, RecursionError):
        return "; it is nested too deep"
    if text.startswith("--"):
        return "; if it is meant as an option, there is none of that name; see reinhardt-tasks enqueue --help"
    return f"; a text needs its own quotes: '{jsonlib.dumps(beginning(text))}'" if text[:1].isalpha() else ""


def keywords_in(text: str) -> dict[str, Any]:
    """The arguments by name in a JSON object. Raises InputError."""
    named = parsed_json(text, "--kwargs")
    if not isinstance(named, dict):
        raise InputError(f"--kwargs takes a JSON object such as '{{\"width\": 300}}', not {beginning(text)}")
    return named


def seconds_in(text: str, what: str) -> float:
    """The seconds in `30`, `90s`, `250ms`, `5m`, `2h`, `1d`. Raises InputError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{what} takes a time such as 30, 90s, 5m, 2h or 1d, not {beginning(text)}")
    return float(found["number"]) * _UNITS[found["unit"]]


def _options(*, priority: int | None, delay: str | None, queue: str | None, unique_key: str | None) -> EnqueueOptions:
    """Only the options that were given, so that the task's own stand for the rest."""
    options = EnqueueOptions()
    if priority is not None:
        options["priority"] = priority
    if delay is not None:
        options["delay"] = seconds_in(delay, "--delay")
    if queue is not None:
        options["queue"] = queue
    if unique_key is not None:
        options["unique_key"] = unique_key
    return options


def find_task(queue: TaskQueue, name: str) -> Task[..., Any]:
    """The task called `name`, or the only one whose name ends in `.name`. Raises TaskNotFoundError naming near ones."""
    exact = queue.find(name)
    if exact is not None:
        return exact
    ends = [known for known in queue.tasks if known.endswith(f".{name}")]
    if len(ends) == 1:
        return queue.tasks[ends[0]]
    known = ends or difflib.get_close_matches(name, queue.tasks, n=3) or sorted(queue.tasks)[:10]
    there = f"did you mean: {', '.join(known)}?" if known else "the target has no tasks"
    raise TaskNotFoundError(f"there is no task {beginning(name)}; {there}", name=name)


async def _send(
    queue: TaskQueue,
    task: Task[..., Any],
    call: list[Any],
    named: dict[str, Any],
    *,
    options: EnqueueOptions,
    wait: tuple[bool, float | None],
    json: bool,
) -> None:
    async with queue:
        handle = await task.using(**options).enqueue(*call, **named)
        if wait[0]:
            await _print_outcome(handle, wait[1], json=json)
        elif json:
            print_json({"id": str(handle.id), "created": handle.created})
        else:
            print_text(str(handle.id))
            if not handle.created:
                print_error("nothing was stored: this message already holds the unique key")


async def _print_outcome(handle: TaskHandle[Any], limit: float | None, *, json: bool) -> None:
    print_error(f"enqueued {handle.id}; waiting for its result")
    try:
        outcome = await handle.outcome(limit)
    except ResultTimeoutError as error:
        print_error(f"error: {sentence(error)}")
        raise typer.Exit(FAILED) from error
    if json:
        print_json(_outcome_document(handle, outcome))
    elif isinstance(outcome, TaskOutput):
        print_text(outcome.text)
    else:
        print_error(f"error: {sentence(outcome)}")
    if not isinstance(outcome, TaskOutput):
        raise typer.Exit(FAILED)


def _outcome_document(handle: TaskHandle[Any], outcome: TaskOutput[Any] | TaskError) -> dict[str, object]:
    head: dict[str, object] = {"id": str(handle.id), "created": handle.created}
    if isinstance(outcome, TaskOutput):
        return {**head, "status": "success", "result": jsonlib.loads(msgspec.json.encode(outcome.value, enc_hook=str))}
    return {**head, "status": "failure", "error": sentence(outcome)}
