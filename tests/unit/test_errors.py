"""The error tree: one root, facts that survive travel, texts that say what to do."""

import copy
import inspect
import pickle
import re
from dataclasses import fields

import pytest

from reinhardt_tasks import errors
from reinhardt_tasks.errors import (
    ArgumentError,
    BackendExecutionFailedError,
    BackendTaskNotFoundError,
    ExecutionFailedError,
    LeaseLostError,
    ResultTimeoutError,
    ScheduleError,
    TaskError,
    TaskExecutionError,
    TaskNotFoundError,
)

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BaseException)]

TRAVELS = [
    pytest.param(lambda error: pickle.loads(pickle.dumps(error, 0)), id="old pickle"),
    pytest.param(lambda error: pickle.loads(pickle.dumps(error)), id="pickle"),
    pytest.param(copy.copy, id="copy"),
]


def filled(kind: type[TaskError]) -> TaskError:
    """An error of this class with every fact set."""
    facts = {fact.name: f"<{fact.name}>" for fact in fields(kind) if fact.name != "message"}
    return kind("a text of its own", **facts)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_descends_from_the_one_root(kind: type[TaskError]) -> None:
    """`except TaskError` catches whatever the package raises."""
    assert issubclass(kind, TaskError)


@pytest.mark.parametrize("travel", TRAVELS)
@pytest.mark.parametrize("kind", ALL)
def test_facts_survive_pickle_and_copy(kind: type[TaskError], travel) -> None:
    """An error that crosses a process keeps its class, text, notes and facts."""
    error = filled(kind)
    error.add_note("seen in a test")
    arrived = travel(error)
    assert type(arrived) is kind
    assert vars(arrived) == vars(error)
    assert arrived.args == ("a text of its own",) == error.args
    assert str(arrived) == "a text of its own"


@pytest.mark.parametrize("kind", ALL)
def test_an_error_without_a_text_writes_one_from_its_facts(kind: type[TaskError]) -> None:
    """Every `says` names only facts its class has, and is a whole sentence."""
    facts = {fact.name: f"<{fact.name}>" for fact in fields(kind) if fact.name != "message"}
    text = str(kind(**facts))
    assert re.findall(r"\{(\w+)\}", kind.says) == re.findall(r"<(\w+)>", text)
    assert text.endswith(".")
    assert "None" not in str(kind())


@pytest.mark.parametrize("kind", ALL)
def test_the_drawn_tree_holds_every_class_where_it_stands(kind: type[TaskError]) -> None:
    """The drawing at the top of the module is the tree itself."""
    lines = [line for line in (errors.__doc__ or "").splitlines() if re.match(r"[│├└─ ]*\w+Error\b", line)]
    depth_of = {re.search(r"\w+Error", line).group(): re.search(r"\w", line).start() // 4 for line in lines}
    parents = [base for base in kind.__mro__[1:] if base in ALL]
    assert kind.__name__ in depth_of
    assert depth_of[kind.__name__] == (depth_of[parents[0].__name__] + 1 if parents else 0)
    assert len(depth_of) == len(ALL)


@pytest.mark.parametrize(
    ("kind", "builtin"), [(ResultTimeoutError, TimeoutError), (ScheduleError, ValueError), (ArgumentError, TypeError)]
)
def test_errors_with_a_builtin_meaning_are_that_builtin_too(kind: type[TaskError], builtin: type[Exception]) -> None:
    """Code that knows only Python's own errors catches these."""
    with pytest.raises(builtin, match="said"):
        raise kind("said")


@pytest.mark.parametrize(
    ("kind", "general"),
    [(BackendExecutionFailedError, ExecutionFailedError), (BackendTaskNotFoundError, TaskNotFoundError)],
)
def test_a_backends_own_kinds_are_caught_by_both_names(kind: type[TaskError], general: type[TaskError]) -> None:
    """A caller need not know on which side of the backend a task was missed or failed."""
    assert issubclass(kind, general)
    assert issubclass(kind, TaskExecutionError)


def test_a_subclass_with_required_facts_can_be_unpickled() -> None:
    """Rebuilding never calls the constructor, so a class of the user's own travels as well."""
    arrived = pickle.loads(pickle.dumps(PickyError(7)))
    assert (arrived.message, arrived.seven) == ("picky", 7)


class PickyError(TaskError):
    def __init__(self, seven: int) -> None:
        super().__init__("picky")
        self.seven = seven


def test_a_fact_the_class_does_not_have_is_refused() -> None:
    """A misspelt fact is found where it is written."""
    with pytest.raises(TypeError, match="hodler"):
        LeaseLostError(hodler="worker-1")


def test_repr_shows_facts_but_no_traceback() -> None:
    """A log line stays one line."""
    shown = repr(ExecutionFailedError("no", task_id="1", traceback_text="Traceback\n"))
    assert "task_id='1'" in shown
    assert "Traceback" not in shown
