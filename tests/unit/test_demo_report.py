"""The demo counts what is there: figures, complaints about a wrong count, and a page that shows both."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.demo.charts import area, bars, columns, nice, ticks
from reinhardt_tasks.demo.page import page
from reinhardt_tasks.demo.report import (
    Entry,
    Kill,
    Report,
    Run,
    ended_over_time,
    make_report,
    miscounted,
    percentiles,
    waits,
)
from reinhardt_tasks.demo.sources import FileFacts
from reinhardt_tasks.message import ErrorRecord
from reinhardt_tasks.status import TaskStatus

EVIL = "<script>alert(1)</script>\"'&"
RUN = Run(python="3.11.7", root="/lib", began_at=100.0, ended_at=104.0, workers=2)


def done(path: str, *, lines: int = 10, ended: float = 101.0, losses: int = 0, **facts: object) -> Entry:
    """A file that was indexed."""
    return Entry(
        path=path,
        id=f"id of {path}",
        status=TaskStatus.SUCCESS,
        losses=losses,
        created_at=100.0,
        started_at=ended - 0.5,
        finished_at=ended,
        facts=msgspec.convert({"path": path, "lines": lines, **facts}, FileFacts),
    )


def dead(path: str, error: str = "invalid syntax") -> Entry:
    """A file that could not be parsed."""
    return Entry(
        path=path,
        id=f"id of {path}",
        status=TaskStatus.FAILURE,
        attempts=3,
        finished_at=103.0,
        error=ErrorRecord("SyntaxError", error),
    )


def report(*entries: Entry, run: Run = RUN) -> Report:
    """The report on these."""
    return make_report(run, entries)


# Counting -----------------------------------------------------------------------------------------------------------


def test_each_file_once_is_no_complaint() -> None:
    """Results and dead letters together make the files."""
    assert miscounted(["a.py", "b.py"], [done("a.py"), dead("b.py")]) == []


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([done("a.py")], "b.py has no message"),
        ([done("a.py"), dead("b.py"), done("b.py")], "b.py has 2 messages"),
        (
            [done("a.py"), msgspec.structs.replace(dead("b.py"), id="id of a.py")],
            "the id id of a.py stands for 2 files",
        ),
        ([done("a.py"), msgspec.structs.replace(done("b.py"), facts=None)], "b.py succeeded, but its facts"),
        ([done("a.py"), msgspec.structs.replace(done("b.py"), facts=FileFacts("a.py", 1))], "b.py succeeded, but"),
        ([done("a.py"), msgspec.structs.replace(dead("b.py"), error=None)], "b.py failed without a reason"),
        ([done("a.py"), msgspec.structs.replace(done("b.py"), status=TaskStatus.RETRY)], "b.py is retry, neither"),
    ],
)
def test_every_way_to_miscount_is_told(entries: list[Entry], complaint: str) -> None:
    """Nothing missing, doubled, swapped or unfinished passes for a good count."""
    assert any(complaint in found for found in miscounted(["a.py", "b.py"], entries))


def test_figures_are_those_of_the_entries() -> None:
    """Totals, what was run again, and what ended in this run alone."""
    found = report(done("a.py"), done("b.py", losses=1), done("c.py", ended=50.0), dead("d.py"))
    assert (len(found.facts), len(found.dead), len(found.fresh), found.run_again) == (3, 1, 3, 1)
    assert found.throughput == 3 / 4


def test_lists_are_ordered_and_short() -> None:
    """Ten at most, the greatest first, equals by path."""
    files = [done(f"{number:02}.py", deepest=number % 3, longest="f", longest_lines=number) for number in range(12)]
    found = report(*files)
    assert [facts.longest_lines for facts in found.longest] == list(range(11, 1, -1))
    assert [(facts.deepest, facts.path) for facts in found.deepest][:5] == [
        (2, "02.py"),
        (2, "05.py"),
        (2, "08.py"),
        (2, "11.py"),
        (1, "01.py"),
    ]


def test_files_are_gathered_by_package() -> None:
    """A module and a directory of one name are one package."""
    found = report(done("json/a.py", lines=3), done("json/b/c.py", lines=4), done("ast.py", lines=9)).packages
    assert [(package.name, package.files, package.lines) for package in found] == [("ast", 1, 9), ("json", 2, 7)]


def test_percentiles_of_little_are_what_there_is() -> None:
    """No value, one, and many."""
    assert percentiles([]) == (0.0, 0.0, 0.0)
    assert percentiles([2.0]) == (2.0, 2.0, 2.0)
    assert percentiles(range(101)) == (50, 95, 100)


def test_times_leave_out_what_did_not_happen() -> None:
    """A dead letter has no facts, and here no start."""
    entries = [done("a.py", ended=102.0, seconds=0.25), dead("b.py")]
    assert (report(*entries).times, waits(entries)) == ([0.25], [1.5])


def test_the_course_of_the_run_counts_every_end_once() -> None:
    """Also what ended at the very last moment, and nothing from an earlier run."""
    found = report(
        done("a.py", ended=100.0), done("b.py", ended=104.0), done("c.py", ended=104.2), done("d.py", ended=9.0)
    )
    assert ended_over_time(found, 0.5) == [2.0, 0, 0, 0, 0, 0, 0, 0, 4.0]


# The page -----------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Checks that tags are closed in order, and gathers what is on the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def read(html: str) -> Reader:
    """The page, read to its end."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def whole_report() -> Report:
    """One with everything a page can show, every text of it hostile."""
    kill = Kill(worker=EVIL, pid=4711, at=101.0, held=5)
    run = msgspec.structs.replace(RUN, root=EVIL, python=EVIL, kill=kill)
    evil = done(f"{EVIL}/a.py", longest=EVIL, longest_lines=7, functions=1, deepest=3, losses=1)
    return report(evil, done("b.py", ended=5.0), dead(EVIL, EVIL), run=run)


def test_no_text_becomes_markup() -> None:
    """Hostile names, paths and errors are shown, not obeyed; the page loads nothing and has no script."""
    html = page(whole_report())
    reader = read(html)
    assert "script" not in reader.tags
    assert EVIL in reader.text
    assert re.findall(r"""(?:src|href|url)\s*[=(]""", html) == []
    assert "default-src 'none'" in html


def test_the_page_tells_the_kill_the_resumption_and_the_dead() -> None:
    """What happened on the way is part of the report."""
    text = read(page(whole_report())).text
    assert (
        "Worker process 4711 was killed with SIGKILL in the middle. Messages it held: 5; run again by others: 1."
        in text
    )
    assert "files indexed before that: 1." in text
    assert "SyntaxError: " in text


def test_a_page_without_dead_letters_says_so() -> None:
    """An empty table would leave it open."""
    assert "None: every file of this library could be parsed." in read(page(report(done("a.py")))).text


def test_a_page_about_almost_nothing_can_be_made() -> None:
    """Only dead letters, and a run of no length."""
    run = msgspec.structs.replace(RUN, ended_at=RUN.began_at)
    read(page(report(dead("a.py"), run=run)))


def test_themes_follow_the_reader() -> None:
    """Light and dark have their own colours."""
    html = page(report(done("a.py")))
    assert "prefers-color-scheme: dark" in html
    assert "color-scheme: light dark" in html


@pytest.mark.parametrize(
    "chart",
    [
        bars(EVIL, EVIL, [(EVIL, 3.0, EVIL), ("none", 0.0, "0")]),
        bars("Nothing", "there is", []),
        columns(EVIL, EVIL, [(EVIL, 3.0), ("b", 0.0)], axis=EVIL),
        columns("Nothing", "there is", [], axis="x"),
        area(EVIL, EVIL, [0.0, 4.0, 1.0], step=0.5, axis=EVIL, marker=(0.7, EVIL)),
        area("One", "value", [2.0], step=1.0, axis="x"),
    ],
)
def test_a_chart_is_sound_and_told_to_those_who_do_not_see_it(chart: str) -> None:
    """Well-formed, inside its frame, with title and description that label it."""
    svg = ET.fromstring(chart)  # noqa: S314 - our own text
    assert svg.attrib["role"] == "img"
    told = {element.attrib["id"] for element in svg if "id" in element.attrib}
    assert set(svg.attrib["aria-labelledby"].split()) == told
    assert len(told) == 2
    width, height = (float(number) for number in svg.attrib["viewBox"].split()[2:])
    for mark in svg.iter("rect"):
        assert 0 <= float(mark.attrib["x"]) <= float(mark.attrib["x"]) + float(mark.attrib["width"]) <= width
        assert 0 <= float(mark.attrib["y"]) + float(mark.attrib["height"]) <= height


@pytest.mark.parametrize(
    ("value", "top"), [(0, 4), (4, 4), (4.1, 6), (11, 12), (101, 120), (1_700, 2_000), (9_999, 10_000)]
)
def test_scales_end_at_round_numbers(value: float, top: float) -> None:
    """At or above the greatest value."""
    assert nice(value) == top


@pytest.mark.parametrize(
    ("length", "marks"),
    [
        (0.25, [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]),
        (5.0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (16.9, [0.0, 5.0, 10.0, 15.0]),
        (300.0, [0.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0]),
    ],
)
def test_time_is_marked_at_round_numbers(length: float, marks: list[float]) -> None:
    """And not more often than can be read."""
    assert ticks(length) == marks


@given(st.floats(0.25, 1e6))
def test_marks_are_few_and_on_the_axis(length: float) -> None:
    """However long a run takes."""
    marks = ticks(length)
    assert 4 <= len(marks) <= 9
    assert (marks[0], marks[-1] <= length + 1e-6) == (0.0, True)
