"""TARGET leads to the queue it names, and where it does not, the error says what was found instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from reinhardt_tasks.cli.failures import WRONG_INPUT, exit_code, sentence
from reinhardt_tasks.cli.target import find_queue
from reinhardt_tasks.errors import TargetError
from reinhardt_tasks.queue import TaskQueue

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the current directory; whatever gets imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("from reinhardt_tasks.queue import TaskQueue\n" + dedent(text))

    yield write
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def complaint(target: str) -> str:
    """What is said about a TARGET that leads nowhere."""
    with pytest.raises(TargetError) as caught:
        find_queue(target)
    assert caught.value.target == target
    assert exit_code(caught.value) == WRONG_INPUT
    return sentence(caught.value)


def test_module_and_attribute_lead_to_the_queue(write: Write) -> None:
    """In a module, in a package, and inside an object."""
    write("shop.py", "queue = TaskQueue()\nclass app:\n    tasks = TaskQueue()")
    write("pack/__init__.py", "")
    write("pack/jobs.py", "queue = TaskQueue()")
    assert find_queue("shop:queue").queue is sys.modules["shop"].queue
    assert find_queue("shop:app.tasks").queue is sys.modules["shop"].app.tasks
    assert find_queue("pack.jobs:queue").queue is sys.modules["pack.jobs"].queue


def test_the_module_alone_will_do_for_its_only_queue(write: Write) -> None:
    """Also when that is bound to two names."""
    write("single.py", "queue = TaskQueue()\nalias = queue\nother = 3")
    found = find_queue("single")
    assert isinstance(found.queue, TaskQueue)
    assert found.target == "single:queue"


def test_the_module_alone_is_not_enough_for_several(write: Write) -> None:
    """They are named."""
    write("double.py", "mail = TaskQueue()\nimages = TaskQueue()")
    said = complaint("double")
    assert "module double (double.py) holds several queues; choose one: double:mail, double:images" in said


def test_the_current_directory_comes_first(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before installed packages of the same name."""
    elsewhere = tmp_path / "elsewhere"
    write("elsewhere/namesake.py", "queue = None")
    write("namesake.py", "queue = TaskQueue()")
    monkeypatch.setattr(sys, "path", [str(elsewhere), *sys.path])
    assert isinstance(find_queue("namesake:queue").queue, TaskQueue)


def test_more_modules_are_imported_for_their_tasks(write: Write) -> None:
    """Those of the project's settings, and those of the queue's own."""
    write(
        "central.py",
        """
        from reinhardt_tasks.config import QueueConfig
        queue = TaskQueue(config=QueueConfig(imports=["outlying"]))
        """,
    )
    write("outlying.py", "from central import queue\n@queue.task(name='far')\ndef far() -> None: ...")
    write("nearby.py", "from central import queue\n@queue.task(name='near')\ndef near() -> None: ...")
    assert set(find_queue("central:queue", imports=["nearby"]).queue.tasks) == {"far", "near"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere:queue", "there is no module 'nowhere' in "),
        ("nowhere.deep:queue", "there is no module 'nowhere' in "),
        ("json.nowhere:queue", "there is no module 'json.nowhere' in "),
        ("app.py:queue", "TARGET app.py:queue is a path; write the module's name instead: app:queue."),
        ("./src/app.py", "write the module's name instead: src.app."),
        ("src/app:queue", "write the module's name instead: src.app:queue."),
        ("redis://user:hunter2@host/0", "TARGET is a URL here; write module:queue, such as app:queue."),
        ("app:", "TARGET 'app:' is not module:queue, such as app:queue."),
        (":queue", "TARGET ':queue' is not module:queue"),
        ("a b:queue", "is not module:queue"),
        ("app:queue:more", "is not module:queue"),
        ("", "TARGET '' is not module:queue"),
        ("json:queue", "has no 'queue'; no queue is there."),
        ("json:dumbs", "has no 'dumbs'; the nearest name there is 'dumps'."),
        ("json:dumps", "json:dumps is a function, not a TaskQueue; no queue is there."),
        ("json:JSONDecoder", "json:JSONDecoder is the class JSONDecoder, not a TaskQueue"),
        ("json", "holds no TaskQueue; make one there"),
    ],
)
def test_a_wrong_target_is_told_apart(write: Write, target: str, said: str) -> None:
    """Unknown module, unknown attribute, no queue, no TARGET at all: each is its own sentence, without a password."""
    assert said in complaint(target)
    assert "hunter2" not in complaint(target)


def test_the_queues_there_are_named_for_a_wrong_attribute(write: Write) -> None:
    """So that the next try is right."""
    write("known.py", "queue = TaskQueue()\nthing = []")
    assert "module known (known.py) has no 'tasks'; the queue there: known:queue." in complaint("known:tasks")
    assert "known:thing is a list, not a TaskQueue; the queue there: known:queue." in complaint("known:thing")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package", r"broken.py:2 with ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 / 0", r"broken.py:2 with ZeroDivisionError: division by zero"),
        ("def", r"broken.py:2 with SyntaxError"),
        ("raise SystemExit('bye')", r"broken.py:2 with SystemExit: bye"),
        ("raise ValueError('two\\nlines \\x1b[2J')", r"ValueError: two lines \x1b[2J"),
    ],
)
def test_a_module_that_fails_tells_where(write: Write, text: str, said: str) -> None:
    """Its own mistake is not taken for a missing module, and stays one harmless line."""
    write("broken.py", text)
    found = complaint("broken:queue")
    assert found.startswith("importing broken failed at ")
    assert said in found
    assert found.isprintable()
