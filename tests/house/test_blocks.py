"""The runner of documents runs what it should, and fails where a page is wrong."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.house.blocks import BlockError, Command, Script, Step, Write, blocks_of, first_missing, follow, steps_of

FENCE = "```"


def steps(text: str) -> list[Step]:
    """The steps of a page, written with ''' for its fences."""
    return steps_of(blocks_of("page.md", dedent(text).replace("'''", FENCE)))


def walk(text: str, directory: Path) -> None:
    """Follow all of a page's steps."""
    for step in steps(text):
        follow(step, directory, limit=20)


def test_only_python_runs_unasked() -> None:
    """Other languages, and console blocks without the comment, are there to be read."""
    found = steps(
        """
        '''toml
        a = 1
        '''
        '''console
        $ false
        '''
        '''python
        a = 1
        '''
        """
    )
    assert [type(step) for step in found] == [Script]


def test_a_traceback_points_at_the_page(tmp_path: Path) -> None:
    """Line numbers of an error are those of the page, also in a continued block inside a list."""
    text = """\
        # Title

        '''python
        a = 1
        '''

        - then

          <!-- continues -->
          '''python
          assert a == 2
          '''
        """
    with pytest.raises(BlockError, match=r"page\.md:11\nexited 1, not 0[^$]*line 11,"):
        walk(text, tmp_path)


def test_a_continued_block_runs_once_with_what_stands_above() -> None:
    """The earlier half is not run by itself as well."""
    (script,) = steps("'''python\na = 1\n'''\n\n<!-- continues -->\n'''python\nb = a\n'''\n")
    assert isinstance(script, Script)
    assert script.text.split() == ["a", "=", "1", "b", "=", "a"]


def test_a_file_is_there_for_the_blocks_below(tmp_path: Path) -> None:
    """A file can be imported and run, and a continued one grows."""
    walk(
        """
        <!-- file: app.py -->
        '''python
        answer = 42
        '''

        '''python
        import app
        assert app.answer == 42 and not hasattr(app, "other")
        '''

        <!-- continues -->
        '''python
        assert app.answer == 42
        '''

        <!-- run -->
        '''console
        $ python -c "import app; print(app.answer)"
        42
        '''
        """,
        tmp_path,
    )


def test_a_file_continues_as_a_file() -> None:
    """It is written anew with the new block below the old one."""
    found = steps(
        """
        <!-- file: app.py -->
        '''python
        a = 1
        '''
        <!-- continues -->
        '''python
        b = 2
        '''
        <!-- run -->
        '''console
        $ python app.py
        '''
        """
    )
    assert [(step.name, step.text) for step in found if isinstance(step, Write)] == [
        ("app.py", "a = 1\n"),
        ("app.py", "a = 1\nb = 2\n"),
    ]


def test_each_command_has_its_own_output_and_the_last_its_exit_code() -> None:
    """`run: exit N` is about the last line of a block; the ones before it must succeed."""
    found = steps(
        """
        <!-- run: exit 2 -->
        '''console
        $ one
        1
        ...
        $ two
        '''
        """
    )
    assert found == [
        Command("page.md:4", "one", ("1", "..."), 0),
        Command("page.md:4", "two", (), 2),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("'''py\na = 1\n'''", "write ```python"),
        ("<!-- skip -->\n'''python\na = 1\n'''", "is none of"),
        ("<!-- continues -->\n'''python\na = 1\n'''", "no block stands before it"),
        ("<!-- file: app.py -->\n'''python\na = 1\n'''", "no later block uses app.py"),
        ("<!-- file: app.py -->\n'''python\na = 1\n'''\n'''python\nprint('happy')\n'''", "no later block uses app.py"),
        ("<!-- run -->\n'''console\nls\n'''", "opens with a `\\$ ` line"),
        ("<!-- run: quickly -->\n'''console\n$ ls\n'''", "its detail is exit N"),
        ("<!-- run -->\n'''bash\nls\n'''", "wants a ```console block"),
    ],
)
def test_a_block_that_would_go_unrun_is_refused(text: str, complaint: str) -> None:
    """A page cannot keep code from being run by a slip or a trick."""
    with pytest.raises(BlockError, match=rf"page\.md:\d+: .*{complaint}"):
        steps(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("'''python\nraise SystemExit(3)\n'''", "exited 3, not 0"),
        ("'''python\nimport app\n'''", "No module named 'app'"),
        ("<!-- run -->\n'''console\n$ false\n'''", "exited 1, not 0"),
        ("<!-- run: exit 2 -->\n'''console\n$ true\n'''", "exited 0, not 2"),
        ("<!-- run: exit 1 -->\n'''console\n$ false\n$ false\n'''", "exited 1, not 0"),
        ("<!-- run -->\n'''console\n$ echo one\ntwo\n'''", "never printed.*: two"),
        ("<!-- run -->\n'''console\n$ no-such-command\n'''", "exited 127, not 0"),
    ],
)
def test_a_page_that_is_wrong_fails(text: str, complaint: str, tmp_path: Path) -> None:
    """Whatever does not go as shown is an error that names the place."""
    with pytest.raises(BlockError, match=rf"(?s)page\.md:\d+.*{complaint}"):
        walk(text, tmp_path)


def test_a_block_that_never_ends_fails(tmp_path: Path) -> None:
    """It is ended at the limit, together with what it started, and what it printed is shown."""
    endless = Command("page.md:1", "echo begun; sleep 1000 | cat", (), 0)
    with pytest.raises(BlockError, match=r"still running after 0\.5 s\s+begun"):
        follow(endless, tmp_path, limit=0.5)


def test_settings_of_the_one_who_runs_the_tests_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page works for a reader who has set nothing, and does not write outside its directory."""
    monkeypatch.setenv("REINHARDT_TASKS_URL", "sqlite:///mine.db")
    walk(
        "'''python\nimport os\nassert 'REINHARDT_TASKS_URL' not in os.environ\nopen('here', 'w').close()\n'''", tmp_path
    )
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (["a", "c"], None),
        (["a", "...", "c"], None),
        (["b … done"], None),
        (["b 1... done"], None),
        (["  a  "], None),
        (["c", "a"], "a"),
        (["a", "a"], "a"),
        (["b"], "b"),
        (["."], "."),
    ],
)
def test_shown_lines_are_looked_for_whole_and_in_order(shown: list[str], missing: str | None) -> None:
    """An ellipsis stands for anything; nothing else does."""
    assert first_missing(shown, "a\nb 123 done\n  c\n") == missing
