"""What the demo reads off a Python file is right, and its input is the running Python's own library."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from reinhardt_tasks.demo.sources import FileFacts, measure, python_files, standard_library


def facts(text: str) -> FileFacts:
    """The facts of a file with this text."""
    return measure("file.py", dedent(text).encode())


def test_an_empty_file_has_nothing_in_it() -> None:
    """Zeros, and no longest function."""
    assert facts("") == FileFacts("file.py", 0)


def test_functions_and_classes_are_counted_wherever_they_stand() -> None:
    """In branches, handlers, cases and each other."""
    found = facts(
        """
        class A:
            def f(self): pass
            async def g(self):
                def inner(): pass
        try:
            pass
        except ValueError:
            def h(): pass
        else:
            class B: pass
        finally:
            def i(): pass
        match 1:
            case 1:
                def j(): pass
        with open("x"):
            for x in y:
                class C: pass
        """
    )
    assert (found.functions, found.classes) == (6, 3)


def test_the_longest_function_has_its_qualified_name() -> None:
    """The lines of its whole text, and the classes and functions around it."""
    found = facts(
        """
        def short(): pass
        class A:
            class B:
                def long(self):
                    x = (
                        1,
                    )
                    return x
        """
    )
    assert (found.longest, found.longest_lines) == ("A.B.long", 5)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("x = 1", 0),
        ("if a: pass", 1),
        ("if a: pass\nelif b: pass\nelif c: pass", 1),
        ("if a: pass\nelse:\n    if b: pass", 2),
        ("if a:\n    if b: pass\nelif c:\n    for d in e: pass", 2),
        ("def f():\n while 1:\n  with a:\n   try: pass\n   except E:\n    if x: pass", 5),
    ],
)
def test_depth_counts_blocks_inside_blocks(text: str, depth: int) -> None:
    """`elif` is no deeper than its `if`, though the syntax tree says so."""
    assert facts(text).deepest == depth


def test_code_as_deep_as_the_parser_allows_is_measured() -> None:
    """Walking it takes no recursion."""
    deep = "\n".join(" " * level + "if x:" for level in range(90)) + " pass"
    assert facts(deep).deepest == 90


@pytest.mark.parametrize("source", [b"def", b"print 'x'", b"# coding: nonsense\n", b"\xff\xfe", b"x = '\0'"])
def test_what_is_no_python_is_refused(source: bytes) -> None:
    """As the parser does, so that the message fails for a real reason."""
    with pytest.raises((SyntaxError, ValueError)):
        measure("file.py", source)


def test_warnings_about_the_code_read_are_not_ours() -> None:
    """An old escape sequence in a file is no noise in a worker's log."""
    assert measure("file.py", rb"x = '\d'").lines == 1


def test_installed_packages_are_not_the_library(tmp_path: Path) -> None:
    """Nor are caches, nor files of other kinds; paths are sorted and relative."""
    for name in ("b.py", "a/c.py", "site-packages/d.py", "dist-packages/e.py", "__pycache__/f.py", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert python_files(tmp_path) == ["a/c.py", "b.py"]


def test_the_library_is_the_running_pythons() -> None:
    """Also in a virtual environment: the `ast` of this process is among its files."""
    root = standard_library()
    files = python_files(root)
    assert Path(ast.__file__).resolve() == root / "ast.py"
    assert "ast.py" in files
    assert len(files) > 500
