"""The command that looks at workflows: show, as a tree, as a picture, as JSON."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from reinhardt_tasks.cli.documents import Document
from reinhardt_tasks.cli.options import Json, Target, Url
from reinhardt_tasks.cli.place import find_place, queue_at
from reinhardt_tasks.cli.reading import parsed_id
from reinhardt_tasks.cli.screen import console, print_error, print_json, print_lines
from reinhardt_tasks.cli.settings import PREFIX
from reinhardt_tasks.cli.text import count, visible
from reinhardt_tasks.cli.trees import tree_lines
from reinhardt_tasks.errors import TaskError
from reinhardt_tasks.identity import TaskId
from reinhardt_tasks.picture import TooLargeError, counted, counts_text, drawn, lines
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.status import TaskStatus
from reinhardt_tasks.workflow.picturing import pictured
from reinhardt_tasks.workflow.reading import Node, Tree, read

_NAMED = 5
"""Failed steps whose requeue is told below a tree."""


def show(
    *,
    message: Annotated[str, typer.Argument(metavar="ID", help="Id of a workflow, or of any step.", show_default=False)],
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it as a picture into FILE instead.")] = None,
    whole: Annotated[bool, typer.Option("--all", help="Every step, however wide a group is.")] = False,
    target: Target = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show a workflow: its steps, what waits for what, and where each stands."""
    tree = asyncio.run(_read(queue_at(find_place(target, url)), parsed_id(message)))
    if svg is not None:
        _draw(tree, svg)
    if json:
        print_json(workflow_document(tree))
    elif svg is None:
        _print_tree(tree, whole=whole)


async def _read(queue: TaskQueue, id: TaskId) -> Tree:
    async with queue:
        return await read(queue, id)


def workflow_document(tree: Tree) -> Document:
    """A workflow as `workflow show --json` prints it."""
    return {"id": str(tree.id), "name": tree.name, "steps": [_step_document(node) for node in tree.nodes.values()]}


def _step_document(node: Node) -> Document:
    return {
        "id": str(node.id),
        "label": node.label,
        "task": node.task,
        "queue": node.queue,
        "priority": node.priority,
        "status": node.status.value,
        "parents": [str(parent) for parent in node.parents] if node.readable else None,
        "waiting_on": node.waiting_on,
        "attempts": node.attempts,
        "reason": None if node.reason is None else node.reason.value,
        "error": node.error,
    }


def _print_tree(tree: Tree, *, whole: bool) -> None:
    nodes = pictured(tree)
    heading = Text(visible(_title(tree)), "bold").append(f": {counts_text(counted(nodes))}", "not bold")
    print_lines([heading, *tree_lines(lines(nodes, whole=whole), width=console().width)])
    for node in islice((node for node in nodes if node.status is TaskStatus.FAILURE), _NAMED):
        print_error(f"{node.label} failed; the workflow goes on from there after: reinhardt-tasks requeue {node.id}")
    unread = sum(not node.readable for node in tree.nodes.values())
    if unread:
        print_error(
            f"{count(unread, 'message')} cannot be read here, so what they wait for is not shown; "
            f"give the application's --target, or its keys in {PREFIX}SECRET_KEYS and {PREFIX}ENCRYPTION_KEYS"
        )


def _draw(tree: Tree, file: Path) -> None:
    """Write the picture. Raises TaskError where that cannot be done."""
    nodes = pictured(tree)
    try:
        file.write_text(drawn(nodes, title=_title(tree)), encoding="utf-8")
    except TooLargeError as error:
        raise TaskError(
            f"these {len(nodes):,} steps are too entangled for a picture; see them without --svg, or as --json"
        ) from error
    except OSError as error:
        raise TaskError(
            f"{file} cannot be written: {error.strerror}; name a file in a directory that you may write to"
        ) from error
    print_error(f"{count(len(nodes), 'step')} drawn in {file}")


def _title(tree: Tree) -> str:
    return f"{tree.name or tree.end.label} {tree.id}"
