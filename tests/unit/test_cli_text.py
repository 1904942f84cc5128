"""Text from messages cannot command a terminal, and passwords do not leave the program."""

from __future__ import annotations

import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.cli.documents import as_json
from reinhardt_tasks.cli.logs import SafeFormatter
from reinhardt_tasks.cli.text import (
    ago,
    cell,
    censored,
    clock,
    count,
    duration,
    moment,
    one_sentence,
    shortened,
    visible,
)

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    """No control, format, separator or surrogate character survives, in one line or in several."""
    for line in [visible(text), *visible(text, keep_lines=True).split("\n")]:
        assert {unicodedata.category(letter) for letter in line} & OBEYED == set()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_plain_text_stays_as_it_is(text: str) -> None:
    """What people write in any script is shown as it was written."""
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202eevil", r"\u202eevil"),
        ("\x9b31m", r"\x9b31m"),
        ("\ud800", r"\ud800"),
        ("[bold]no markup[/bold] :smile:", "[bold]no markup[/bold] :smile:"),
    ],
)
def test_each_dangerous_character_is_shown_as_an_escape(text: str, shown: str) -> None:
    """An operator sees what is in a message."""
    assert visible(text) == shown
    assert cell(text).plain == shown


def test_lines_can_be_kept() -> None:
    """A traceback stays readable."""
    assert visible("a\n\tb\x1b", keep_lines=True) == "a\n    b\\x1b"


@pytest.mark.parametrize(
    "text",
    [
        "redis://user:hunter2@host/0",
        "write sqlite:///user:hunter2@host/tasks.db instead",
        "'sqlite:///host.db?password=hunter2' has an unknown option",
        "sqlite:///host.db?password='hunter2'",
        "at redis://:hunter2@host failed",
        "postgresql://u:hun@ter2@host/db?x=1 and amqp://a:hunter2@b",
        "postgresql://host/db?user=u&password=hunter2&x=1",
        "rediss://host?PASSWD=hunter2",
        "https://host/?api_token=hunter2",
    ],
)
def test_no_password_of_a_url_is_left(text: str) -> None:
    """The password goes, the rest stays recognisable."""
    assert "hunter2" not in censored(text)
    assert "ter2" not in censored(text)
    assert "***" in censored(text)
    assert "host" in censored(text) or "@b" in censored(text)


def test_text_without_passwords_is_not_touched() -> None:
    """A URL without one is shown whole."""
    text = "sqlite:///tasks.db and redis://host:6379/0 at 10:30, mail a@b.c"
    assert censored(text) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("two\n lines", "two lines."), ("done.", "done."), ("why?", "why?"), ("\x1b[1mloud", r"\x1b[1mloud.")],
)
def test_an_error_is_one_sentence(text: str, sentence: str) -> None:
    """One line, closed, harmless."""
    assert one_sentence(text) == sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.00085, "850 µs"),
        (0.012, "12 ms"),
        (0.9994, "999 ms"),
        (0.99999, "1.0 s"),
        (3.21, "3.2 s"),
        (59.96, "1 min"),
        (250, "4 min 10 s"),
        (7_500, "2 h 5 min"),
        (86_400 * 3 + 3_600 * 4, "3 d 4 h"),
        (-12, "-12.0 s"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """At most two units, the larger first."""
    assert duration(seconds) == text


def test_durations_may_be_rough() -> None:
    """One unit is enough for a list."""
    assert [duration(seconds, exact=False) for seconds in (0.25, 3.4, 250, 7_500)] == ["0 s", "3 s", "4 min", "2 h"]


def test_instants_are_told_from_now() -> None:
    """The past is ago, the future is in."""
    assert [ago(90.0, 100.0), ago(112.0, 100.0), ago(None, 100.0)] == ["10.0 s ago", "in 12.0 s", None]


def test_instants_in_documents_are_utc() -> None:
    """ISO 8601 with a Z, to the microsecond."""
    assert [moment(0.25), moment(None), clock(None)] == ["1970-01-01T00:00:00.250000Z", None, None]


def test_numbers_take_their_nouns() -> None:
    """Singular for one, thousands apart."""
    assert [count(1, "message"), count(0, "message"), count(1_790, "message")] == [
        "1 message",
        "0 messages",
        "1,790 messages",
    ]


def test_long_text_says_how_much_is_left_out() -> None:
    """Nobody takes a part for the whole."""
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 2_000, 5) == "aaaaa… (1,995 more characters; --json shows all)"


@given(ANY_TEXT)
def test_json_is_ascii_and_says_the_same(text: str) -> None:
    """A document is safe to print and loses nothing."""
    shown = as_json({"text": text})
    assert json.loads(shown) == {"text": text}
    assert shown.isascii()
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_a_log_entry_cannot_forge_another() -> None:
    """Every further line of an entry is indented, escapes are visible and passwords hidden."""
    logger = logging.getLogger("forger")
    try:
        raise ValueError("second\n2026-01-01 INFO forged\x1b[2J")
    except ValueError as error:
        record = logger.makeRecord(
            "forger", logging.INFO, "f.py", 1, "task=%s\n2026 forged redis://u:hunter2@h", ("\x1b[2J",), None
        )
        record.exc_info = (type(error), error, error.__traceback__)
    lines = SafeFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert lines[0] == r"INFO task=\x1b[2J"
    assert len(lines) > 4
    assert all(line.startswith("    ") for line in lines[1:])
    assert "hunter2" not in "".join(lines)
    assert "\x1b" not in "".join(lines)
