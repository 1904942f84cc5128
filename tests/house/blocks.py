"""What a page of documentation tells its reader to do, as steps that can be followed.

CONTRIBUTING.md ("Code in documents") is the reference: which blocks run, and the comments that change how.
Reading a page is pure: `blocks_of` finds the fences, `steps_of` turns them into steps. Only `follow` starts anything.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

LIMIT = 60.0  # seconds that one script or one command line may take
UNRUN = frozenset({"py", "python3", "pycon"})  # spellings that would slip past unrun
LEFT_OUT = re.compile(r"\\\.\\\.\\\.|…")  # how an ellipsis looks once escaped
DIRECTIVE = re.compile(r"<!--\s*(?P<word>continues|run|file)(?::\s*(?P<detail>.+?))?\s*-->")


class BlockError(AssertionError):
    """A block that cannot be followed, or did not do what the page says; opens with page and line."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is that of its first line of code, counted from 1."""

    page: str
    line: int
    language: str
    comment: str
    text: str

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.page}:{self.line}"

    @property
    def directive(self) -> tuple[str, str]:
        """The word and detail of the comment above; both empty without one. Raises BlockError for any other comment."""
        if not self.comment:
            return "", ""
        found = DIRECTIVE.fullmatch(self.comment)
        if found is None:
            raise BlockError(f"{self.place}: {self.comment} is none of: continues, run, run: exit N, file: NAME")
        return found["word"], found["detail"] or ""


@dataclass(frozen=True, slots=True)
class Write:
    """Put a file beside the scripts, for later steps to use."""

    place: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Script:
    """Run Python. Blank lines stand above the text, so that a traceback gives the page's own line numbers."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """Run one line of shell, which exits with `code` and prints the `shown` lines in this order."""

    place: str
    line: str
    shown: tuple[str, ...]
    code: int


Step = Write | Script | Command


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where steps are followed: a directory, an environment, and the seconds each may take."""

    directory: Path
    environment: Mapping[str, str]
    limit: float


# --- reading ----------------------------------------------------------------------------------------------------------


def blocks_of(page: str, text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, each with the HTML comment that stands right above it."""
    tokens = MarkdownIt("commonmark").parse(text)
    start = Token("start", "", 0)
    return [
        _block(page, before, fence)
        for before, fence in pairwise([start, *tokens])
        if fence.type == "fence" and fence.map
    ]


def _block(page: str, before: Token, fence: Token) -> Block:
    assert fence.map is not None
    language = fence.info.split(maxsplit=1)[0] if fence.info.strip() else ""
    comment = before.content.strip().splitlines()[-1] if before.type == "html_block" else ""
    return Block(page, fence.map[0] + 2, language, comment, fence.content)


def steps_of(blocks: Sequence[Block]) -> list[Step]:
    """What the page's blocks make its reader do, in order. Raises BlockError for a block that could go unrun."""
    steps: list[Step] = []
    for block in blocks:
        word, detail = block.directive
        if word == "file":
            steps.append(Write(block.place, detail, block.text))
        elif word == "continues":
            steps.append(_continued(steps, block))
        elif block.language == "python":
            steps.append(Script(block.place, _at_its_line(block)))
        elif block.language in UNRUN:
            raise BlockError(f"{block.place}: write ```python, so that it is run")
        elif word == "run":
            steps.extend(_commands(block, detail))
    _refuse_unused_files(steps)
    return steps


def _at_its_line(block: Block, above: str = "") -> str:
    blank = block.line - 1 - above.count("\n")
    return above + "\n" * blank + block.text


def _continued(steps: list[Step], block: Block) -> Step:
    """The newest Python step with this block below it: a script is replaced, a file is written anew."""
    for index in reversed(range(len(steps))):
        match steps[index]:
            case Script(_, text):
                del steps[index]
                return Script(block.place, _at_its_line(block, above=text))
            case Write(_, name, text):
                return Write(block.place, name, text + block.text)
            case Command():
                pass
    raise BlockError(f"{block.place}: continues, but no block stands before it")


def _commands(block: Block, detail: str) -> Iterator[Command]:
    """One command for each `$ ` line; the last of them exits with the code the comment names."""
    code = re.fullmatch(r"(?:exit (\d+))?", detail)
    first, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if block.language != "console" or code is None or first.strip() or not parts:
        raise BlockError(
            f"{block.place}: run wants a ```console block that opens with a `$ ` line; its detail is exit N"
        )
    for number, part in enumerate(parts, 1):
        line, *shown = part.splitlines()
        last = number == len(parts)
        yield Command(block.place, line, tuple(filter(str.strip, shown)), int(code[1] or 0) if last else 0)


def _refuse_unused_files(steps: Sequence[Step]) -> None:
    for index, step in enumerate(steps):
        if isinstance(step, Write):
            later = "\n".join(after.line if isinstance(after, Command) else after.text for after in steps[index + 1 :])
            if not re.search(rf"\b{re.escape(Path(step.name).stem)}\b", later):
                raise BlockError(f"{step.place}: no later block uses {step.name}, so nothing would run it")


# --- following --------------------------------------------------------------------------------------------------------


def follow(step: Step, directory: Path, *, limit: float = LIMIT, settings: Mapping[str, str] | None = None) -> None:
    """Do one step in `directory`, with these environment variables set besides a reader's own.

    Raises BlockError, with what was printed, when it does not go as the page says.
    """
    around = Surroundings(directory, _environment() | dict(settings or {}), limit)
    match step:
        case Write(_, name, text):
            (directory / name).write_text(text)
        case Script(place, text):
            name = re.sub(r"\W", "_", place) + ".py"  # a module's name, as tasks are named by their module
            (directory / name).write_text(text)
            _expect(place, [sys.executable, name], around, code=0)
        case Command(place, line, shown, code):
            place = f"{place}: $ {line}"
            output = _expect(place, ["bash", "-c", line], around, code=code)
            if missing := first_missing(shown, output):
                raise BlockError(f"{place}\nnever printed, after what is shown above it: {missing}\n\n{output}")


def first_missing(shown: Sequence[str], output: str) -> str | None:
    """The first of the `shown` lines that `output` lacks below the one before; an ellipsis stands for anything."""
    lines = iter([line.strip() for line in output.splitlines()])
    for expected in shown:
        pattern = LEFT_OUT.sub(".*", re.escape(expected.strip()))
        if pattern != ".*" and not any(re.fullmatch(pattern, line) for line in lines):
            return expected
    return None


def _expect(place: str, command: Sequence[str], around: Surroundings, *, code: int) -> str:
    ended, output = _run(command, around)
    if ended is None:
        raise BlockError(f"{place}\nstill running after {around.limit:g} s\n\n{output}")
    if ended != code:
        raise BlockError(f"{place}\nexited {ended}, not {code}\n\n{output}")
    return output


def _run(command: Sequence[str], around: Surroundings) -> tuple[int | None, str]:
    """Exit code (None when time was up) and everything printed. Whatever the command left running is ended."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            cwd=around.directory,
            env=around.environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(around.limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_group(process)
        printed.seek(0)
        return code, printed.read().decode(errors="replace")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it left nothing behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """A reader's: this environment's commands first, a plain terminal of 100 columns, no settings of our own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REINHARDT_TASKS_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {"PATH": path, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
