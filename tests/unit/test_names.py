"""What tasks and queues may be called, and the name a task has by default."""

import subprocess
import sys
from pathlib import Path

import pytest

from reinhardt_tasks.errors import ConfigurationError
from reinhardt_tasks.names import check_queue_name, check_task_name, default_name, module_name, place_of


@pytest.mark.parametrize("name", ["default", "mail.high-1_x", "a" * 128])
def test_a_queue_may_have_letters_digits_and_a_few_signs(name) -> None:
    """A good name comes back as it is."""
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "q'; DROP TABLE", "{a}b", "a\n", "a\0", "ä", "a" * 129, None, 3])
def test_any_other_queue_name_is_refused_by_name(name) -> None:
    """Names are checked at one point, so that no backend ever sees a strange one."""
    with pytest.raises(ConfigurationError, match="no name for a queue") as caught:
        check_queue_name(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["", "a-b", "os:system", "größe", "a\n", "a" * 201, None])
def test_a_strange_task_name_is_refused_with_its_place(name) -> None:
    """The error says which definition needs a name."""
    with pytest.raises(ConfigurationError, match=r"app\.py:7"):
        check_task_name(name, place="app.py:7")


def test_a_task_name_has_letters_digits_dots_and_underscores() -> None:
    """A good name comes back as it is."""
    assert check_task_name("a" * 199 + ".", place="") == "a" * 199 + "."


def outer():
    """Gives a nested function."""

    def inner(): ...

    return inner


def test_a_nested_function_is_named_as_if_it_stood_beside() -> None:
    """`<locals>` is no part of a name."""
    assert default_name(outer()) == f"{__name__}.outer.inner"


PROGRAM = "from reinhardt_tasks.names import default_name\ndef send(): ...\nprint(default_name(send))\n"


def run(*args: object, cwd: Path, text: str | None = None) -> str:
    """What Python prints when started so."""
    ended = subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, input=text, capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


def test_a_program_is_named_as_its_importer_would(tmp_path) -> None:
    """`python app.py` and `worker app:queue` agree on the names of tasks."""
    (tmp_path / "app.py").write_text(PROGRAM)
    assert run("app.py", cwd=tmp_path) == "app.send"
    assert run(tmp_path / "app.py", cwd=tmp_path.parent) == "app.send"
    assert run("-c", "import app", cwd=tmp_path) == "app.send"


def test_a_module_run_by_its_name_keeps_that_name(tmp_path) -> None:
    """`python -m pkg.app` is `pkg.app`."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "app.py").write_text(PROGRAM)
    (tmp_path / "pkg" / "__main__.py").write_text(PROGRAM)
    assert run("-m", "pkg.app", cwd=tmp_path) == "pkg.app.send"
    assert run("-m", "pkg", cwd=tmp_path) == "pkg.__main__.send"


def test_a_spawned_process_gives_the_same_names(tmp_path) -> None:
    """A child of multiprocessing loads the program under another name, and still agrees."""
    (tmp_path / "app.py").write_text(
        "import multiprocessing\nfrom reinhardt_tasks.names import default_name\n"
        "def send(): ...\ndef show(): print(default_name(send), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=show)\n    child.start(); child.join()\n"
    )
    assert run("app.py", cwd=tmp_path) == "app.send"


def test_a_prompt_has_no_file_to_be_named_after(tmp_path) -> None:
    """Without a file the name stays `__main__`."""
    assert run("-", cwd=tmp_path, text=PROGRAM) == "__main__.send"


def test_other_modules_keep_their_names() -> None:
    """Only the program is renamed."""
    assert module_name("pkg.tasks") == "pkg.tasks"


def test_a_place_is_file_and_line() -> None:
    """Of a function its own, of a class that of its `execute`; without source, the module."""

    class Executor:
        def execute(self): ...

    first = outer.__code__.co_firstlineno
    assert place_of(outer) == f"{__file__}:{first}"
    assert place_of(Executor) == f"{__file__}:{Executor.execute.__code__.co_firstlineno}"
    assert place_of(len) == "builtins"
