"""Registration: what can be a task, what it is called, and what is refused where it is written."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from dataclasses import InitVar

import pytest

from reinhardt_tasks.errors import ConfigurationError, QueueError
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.lifespan import Depends
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.retry import RetryStrategy
from reinhardt_tasks.task import AsyncTask, SyncTask

HERE = __file__


def test_a_function_becomes_a_task_of_its_kind() -> None:
    """Bare or with options; a coroutine function an AsyncTask, a plain one a SyncTask."""
    registry = TaskRegistry()

    @registry.task
    async def one(x: int) -> int:
        """Doubles."""
        return 2 * x

    @registry.task(priority=7, queue="mail", timeout=30, retry=RetryStrategy.no_retry(), result_ttl=0)
    def two(x: int) -> int:
        return x

    assert isinstance(one, AsyncTask)
    assert isinstance(two, SyncTask)
    assert (one.name, one.is_async, one.priority, one.queue) == (f"{__name__}.{_outer()}.one", True, 5, "default")
    assert (two.priority, two.queue, two.options.timeout, two.options.result_ttl) == (7, "mail", 30.0, 0.0)
    assert two.options.retry == RetryStrategy.no_retry()
    assert registry.tasks == {one.name: one, two.name: two}
    assert registry.find(one.name) is one
    assert registry.find("nobody") is None


def _outer() -> str:
    """The name of the calling function."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_code.co_name


def test_a_task_looks_like_its_function() -> None:
    """Name, docstring and signature stay, for readers and their tools."""

    @TaskRegistry().task
    async def resize(path: str, width: int = 800) -> str:
        """Make it small."""
        return path

    assert (resize.__name__, resize.__doc__) == ("resize", "Make it small.")
    assert str(inspect.signature(resize)) == "(path: 'str', width: 'int' = 800) -> 'str'"
    assert repr(resize) == f"<AsyncTask {resize.name}>"


def test_a_class_stays_a_class() -> None:
    """It is registered under its name, and usable as before."""
    registry = TaskRegistry()

    @registry.task(priority=3, name="mail.send")
    class SendEmail(TaskExecutor):
        to: str
        subject: str = "hi"

        async def execute(self) -> int:
            return len(self.to)

    assert SendEmail(to="a@b.c") == SendEmail(to="a@b.c", subject="hi")
    assert registry.tasks["mail.send"].priority == 3
    assert registry.tasks["mail.send"].is_async


def test_names_of_two_tasks_differ() -> None:
    """The error tells both places."""
    registry = TaskRegistry()

    @registry.task(name="same")
    def first() -> None: ...

    with pytest.raises(ConfigurationError, match=rf"two tasks are called same.*{HERE}:\d+.*{HERE}:\d+") as caught:

        @registry.task(name="same")
        def second() -> None: ...

    lines = (first.function.__code__.co_firstlineno, first.function.__code__.co_firstlineno + 5)
    assert all(f"{HERE}:{line}" in str(caught.value) for line in lines)
    assert registry.find("same") is first


def test_a_module_that_is_loaded_twice_is_told() -> None:
    """Two tasks of one name at one place: the program was imported as well."""
    registry = TaskRegistry()

    def define() -> None:
        @registry.task
        def send() -> None: ...

    define()
    with pytest.raises(ConfigurationError, match="loaded twice"):
        define()


class Tasks:
    """What stands in classes."""

    def method(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static(x: int) -> int:
        return x

    def __call__(self) -> None: ...


def generator():
    """Yields."""
    yield 1


async def async_generator():
    """Yields too."""
    yield 1


class Plain:
    async def execute(self) -> None: ...


class NoExecute(TaskExecutor):
    x: int


class SyncExecute(TaskExecutor):
    def execute(self) -> None: ...  # type: ignore[override]


class FieldExecute(TaskExecutor):
    execute: int = 3  # type: ignore[assignment]


class OwnInit(TaskExecutor):
    x: int

    def __init__(self, y: int) -> None:
        self.x = y

    async def execute(self) -> None: ...


class WithInitVar(TaskExecutor):
    x: InitVar[int]

    async def execute(self) -> None: ...


@pytest.mark.parametrize(
    ("defined", "says"),
    [
        (Tasks.method, "method"),
        pytest.param(Tasks().method, "method", id="bound"),
        (Tasks.of_class, "method"),
        (Tasks.__dict__["of_class"], "classmethod"),
        (Tasks.__dict__["static"], "@staticmethod above"),
        (Tasks(), "no function"),
        (functools.partial(generator), "no function"),
        (generator, "generator"),
        (async_generator, "generator"),
        (7, "no function"),
        (Plain, "TaskExecutor"),
        (int, "TaskExecutor"),
        (TaskExecutor, "async def execute"),
        (NoExecute, "async def execute"),
        (SyncExecute, "async def execute"),
        (FieldExecute, "async def execute"),
        (OwnInit, "something else than its fields"),
        (WithInitVar, "something else than its fields"),
    ],
)
def test_what_cannot_be_a_task_is_refused_where_it_is_defined(defined, says) -> None:
    """The error says what it is and what to write instead."""
    registry = TaskRegistry()
    with pytest.raises(ConfigurationError, match=says):
        registry.task(defined)
    assert registry.tasks == {}


def test_a_lambda_needs_a_name() -> None:
    """With one it is a task like any other."""
    registry = TaskRegistry()
    with pytest.raises(ConfigurationError, match="<lambda>"):
        registry.task(lambda: None)
    assert registry.task(name="nothing")(lambda: None).name == "nothing"


def test_a_static_function_in_a_class_is_a_task() -> None:
    """It takes no object."""
    registry = TaskRegistry()

    class Group:
        @staticmethod
        @registry.task
        def double(x: int) -> int:
            return 2 * x

    assert Group.double(4) == 8
    assert next(iter(registry.tasks)).endswith("Group.double")


def test_a_task_is_decorated_once() -> None:
    """To share one between queues is what `include` is for."""
    registry = TaskRegistry()

    @registry.task
    def one() -> None: ...

    with pytest.raises(ConfigurationError, match="already"):
        registry.task(one)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"queue": "a b"}, "queue"),
        ({"priority": 12}, "priority"),
        ({"retry": 3}, "retry"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "10s"}, "timeout"),
        ({"runs_in": "gpu"}, "runs_in"),
        ({"unique": "key"}, "unique"),
        ({"result_ttl": -1}, "result_ttl"),
        ({"name": "a b"}, "name"),
    ],
)
def test_an_impossible_option_is_refused_at_the_decorator(options, setting) -> None:
    """Not when the first message is sent."""
    with pytest.raises(ConfigurationError) as caught:
        TaskRegistry().task(**options)(lambda: None)
    assert caught.value.setting == setting


def test_a_type_that_cannot_travel_is_refused_at_the_decorator() -> None:
    """The error names task and parameter."""
    with pytest.raises(ConfigurationError, match=r"send.*'out'"):

        @TaskRegistry().task
        def send(out: type[Plain]) -> None: ...


def test_an_annotation_that_cannot_be_resolved_is_refused_at_the_decorator() -> None:
    """The worker needs the type itself."""
    with pytest.raises(ConfigurationError, match="TYPE_CHECKING"):

        @TaskRegistry().task
        def send(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_providers_are_kept_in_order_and_found_in_signatures() -> None:
    """A parameter whose default is Depends is filled in by the worker."""
    registry = TaskRegistry()

    @registry.lifespan
    async def pool() -> AsyncIterator[int]:
        yield 1

    @registry.lifespan
    async def mailer() -> AsyncIterator[str]:
        yield "m"

    @registry.task
    async def send(to: str, db: int = Depends(pool), *, by: str = Depends(mailer)) -> None: ...

    assert registry.providers == (pool, mailer)
    assert send.providers == {"db": pool, "by": mailer}


def test_a_registry_without_a_queue_cannot_send() -> None:
    """The error says what to call; calling the function itself works."""

    @TaskRegistry().task
    def double(x: int) -> int:
        return 2 * x

    assert double(3) == 6
    with pytest.raises(QueueError, match="include"):
        double.message(3)
    with pytest.raises(QueueError, match="include"):
        double.enqueue_sync(3)
