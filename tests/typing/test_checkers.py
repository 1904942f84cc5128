"""What type checkers must refuse: each mistake is found by mypy and by pyright, on its own line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = Path(__file__).with_name("api.py")

MISTAKES = [
    # the line, mypy's code, pyright's rule
    ("await resize.enqueue()", "call-arg", "reportCallIssue"),
    ("await resize.enqueue('a.png')", "arg-type", "reportArgumentType"),
    ("await resize.enqueue(Image(Path()), width='3')", "arg-type", "reportArgumentType"),
    ("await resize.enqueue(Image(Path()), 3, 4)", "call-arg", "reportCallIssue"),
    ("await shrink.enqueue(Image(Path()), 3)", "call-arg", "reportCallIssue"),
    ("resize.message(Image(Path()), height=3)", "call-arg", "reportCallIssue"),
    ("count.enqueue_sync(['a'], 3)", "call-arg", "reportCallIssue"),
    ("await resize(width=3)", "call-arg", "reportCallIssue"),
    ("await count(['a'])", "misc", "reportGeneralTypeIssues"),
    ("resize.using(prority=9)", "call-arg", "reportCallIssue"),
    ("resize.using(delay='60')", "arg-type", "reportArgumentType"),
    ("resize.using(on_duplicate='ignore')", "arg-type", "reportArgumentType"),
    ("text: str = await resize.handle('id').result()", "assignment", "reportAssignmentType"),
    ("number: int = (await resize.enqueue(Image(Path()))).result_sync()", "assignment", "reportAssignmentType"),
    ("SendEmail(to=3)", "arg-type", "reportArgumentType"),
    ("SendEmail(subject='no address')", "call-arg", "reportCallIssue"),
    ("SendEmail('by position')", "call-arg", "reportCallIssue"),
    ("wrong: TaskHandle[str] = await queue.enqueue(SendEmail(to='a'))", "arg-type", "reportAssignmentType"),
    ("await queue.enqueue('text')", "call-overload", "reportArgumentType"),
    ("await queue.enqueue(resize)", "call-overload", "reportArgumentType"),
    ("await queue.enqueue(shout.message('a'), nope=3)", "call-overload", "reportCallIssue"),
    ("await queue.enqueue_many([resize])", "arg-type", "reportArgumentType"),
    ("queue.task(runs_in='gpu')", "call-overload", "reportArgumentType"),
    ("queue.task(nope=3)", "call-overload", "reportCallIssue"),
    ("TaskChainBuilder().add(load.message('a')).add(count.step())", "arg-type", "reportArgumentType"),
    ("thumbnail.step(width='3')", "arg-type", "reportArgumentType"),
    ("thumbnail.step(Image(Path()), 3)", "arg-type", "reportCallIssue"),
    ("TaskGroup([shout.message('a')], load.step())", "arg-type", "reportArgumentType"),
    ("await queue.enqueue(TaskGroup([]), priority=3)", "call-overload", "reportArgumentType"),
    ("Depends(Pool)", "arg-type", "reportArgumentType"),
    ("provided: int = Depends(pool)", "assignment", "reportAssignmentType"),
    ("queue.handle(7)", "call-overload", "reportArgumentType"),
    ("QueueConfig('main')", "call-arg", "reportCallIssue"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The asserted API with a function below it that makes each mistake on a line of its own."""
    body = "".join(f"    {line}\n" for line, _, _ in MISTAKES)
    file = tmp_path_factory.mktemp("typing") / "mistakes.py"
    file.write_text(f"{API.read_text()}\n\nasync def mistakes() -> None:\n{body}")
    return file


def first_line(program: Path) -> int:
    """The line of the first mistake."""
    return program.read_text().splitlines().index("async def mistakes() -> None:") + 2


@pytest.fixture(scope="module")
def mypy_says(program: Path) -> dict[int, str]:
    """The codes that mypy --strict reports, by line."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--show-error-codes", str(program)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(r"^\S*mistakes\.py:(\d+): error: .*\[([\w-]+)\]$", ended.stdout, re.MULTILINE)
    assert found, ended.stdout + ended.stderr
    return {int(line): code for line, code in found}


@pytest.fixture(scope="module")
def pyright_says(program: Path) -> dict[int, str]:
    """The rules that pyright in strict mode reports, by line."""
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT / "src")],
        "include": ["mistakes.py"],
    }
    program.with_name("pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(program.parent),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    reported = json.loads(ended.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["rule"] for one in reported if one["severity"] == "error"}


@pytest.mark.xdist_group("checkers")
@pytest.mark.parametrize(("line", "code"), [(line, code) for line, code, _ in MISTAKES])
def test_mypy_finds_the_mistake(line: str, code: str, program: Path, mypy_says: dict[int, str]) -> None:
    """With the code that says what is wrong."""
    number = first_line(program) + [text for text, _, _ in MISTAKES].index(line)
    assert mypy_says.get(number) == code


@pytest.mark.xdist_group("checkers")
@pytest.mark.parametrize(("line", "rule"), [(line, rule) for line, _, rule in MISTAKES])
def test_pyright_finds_the_mistake(line: str, rule: str, program: Path, pyright_says: dict[int, str]) -> None:
    """With the rule that says what is wrong."""
    number = first_line(program) + [text for text, _, _ in MISTAKES].index(line)
    assert pyright_says.get(number) == rule


@pytest.mark.xdist_group("checkers")
def test_nothing_else_is_found(program: Path, mypy_says: dict[int, str], pyright_says: dict[int, str]) -> None:
    """What users are meant to write is accepted by both, to the last asserted type."""
    start = first_line(program)
    assert [line for line in mypy_says if line < start] == []
    assert [line for line in pyright_says if line < start] == []
