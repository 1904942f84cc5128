"""What is typed after `enqueue` is taken apart without guessing."""

from __future__ import annotations

import pytest

from reinhardt_tasks.cli.enqueue import find_task, parsed_json, seconds_in, split_words
from reinhardt_tasks.cli.failures import InputError
from reinhardt_tasks.errors import TaskNotFoundError
from reinhardt_tasks.queue import TaskQueue


@pytest.mark.parametrize(
    ("words", "is_set", "expected"),
    [
        (["app:queue", "resize", "1", "2"], False, ("app:queue", "resize", ["1", "2"])),
        (["app", "resize"], False, ("app", "resize", [])),
        (["app:queue", "resize", "1"], True, ("app:queue", "resize", ["1"])),
        (["app.resize", "1"], True, (None, "app.resize", ["1"])),
        (["resize"], True, (None, "resize", [])),
    ],
)
def test_the_first_word_is_target_by_a_plain_rule(
    words: list[str], is_set: bool, expected: tuple[str | None, str, list[str]]
) -> None:
    """It is one when it has a colon, or when none is set elsewhere."""
    assert split_words(words, target_is_set=is_set) == expected


@pytest.mark.parametrize(("words", "is_set"), [(["app:queue"], True), (["app"], False)])
def test_a_target_alone_is_not_enough(words: list[str], is_set: bool) -> None:
    """The task is asked for."""
    with pytest.raises(InputError, match="which task"):
        split_words(words, target_is_set=is_set)


def test_arguments_are_json() -> None:
    """Each by itself."""
    assert [parsed_json(text, "x") for text in ("1", '"1"', "[1, null]", '{"a": true}')] == [
        1,
        "1",
        [1, None],
        {"a": True},
    ]


@pytest.mark.parametrize("text", ["hello", "NaN", "-Infinity", "{", "", "1 2", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Also the numbers that JSON does not have, and nesting without end."""
    with pytest.raises(InputError, match="argument 3 is not JSON"):
        parsed_json(text, "argument 3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NaN", "; JSON has no NaN"),
        ("[1e999]", "; that number is beyond what a float can hold"),
        ("[" * 100_000, "; it is nested too deep"),
        ("--dely", "; if it is meant as an option, there is none of that name"),
        ("x" * 100_000, "…"),
    ],
)
def test_the_remedy_fits_the_mistake(text: str, said: str) -> None:
    """And what is long is not repeated whole."""
    with pytest.raises(InputError) as caught:
        parsed_json(text, "argument 1")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_text_without_quotes_is_shown_with_them() -> None:
    """The likeliest slip of all."""
    with pytest.raises(InputError, match="""a text needs its own quotes: '"hello"'"""):
        parsed_json("hello", "argument 1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("1.5", 1.5), ("250ms", 0.25), ("90s", 90.0), ("5m", 300.0), ("2h", 7_200.0), ("1d", 86_400.0)],
)
def test_times_have_units(text: str, seconds: float) -> None:
    """Seconds without one."""
    assert seconds_in(text, "--delay") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 m", "1w", "1e3", "nan", "inf"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """With the forms there are."""
    with pytest.raises(InputError, match="--delay takes a time such as 30, 90s"):
        seconds_in(text, "--delay")


def queue() -> TaskQueue:
    """Three tasks, two of them of one short name."""
    made = TaskQueue()
    for name in ("app.resize", "app.images.crop", "app.video.crop"):

        @made.task(name=name)
        def task() -> None: ...

    return made


def test_a_task_is_found_by_its_name_or_its_unambiguous_end() -> None:
    """Whole parts only."""
    tasks = queue()
    assert find_task(tasks, "app.resize").name == "app.resize"
    assert find_task(tasks, "resize").name == "app.resize"
    assert find_task(tasks, "video.crop").name == "app.video.crop"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crop", r"there is no task crop; did you mean: app\.images\.crop, app\.video\.crop\?"),
        ("app.resise", r"did you mean: app\.resize"),
        ("size", r"did you mean: "),
    ],
)
def test_an_unknown_task_gets_near_names(name: str, said: str) -> None:
    """An ambiguous one too."""
    with pytest.raises(TaskNotFoundError, match=said):
        find_task(queue(), name)


def test_a_queue_without_tasks_says_so() -> None:
    """Nothing can be meant there."""
    with pytest.raises(TaskNotFoundError, match="the target has no tasks"):
        find_task(TaskQueue(), "any")
